// Leaves packages out of an undo: in the database they are as they are now.
import { rawFromBytes, rawToBytes, asRaw } from '../base/raw-text.ts'
import type { MergeSides } from '../model/merge-outcome.ts'

/**
 * Sides of dpkg's status in which these packages were never touched: before the transaction they are as they were after it. A stanza ends
 * with an empty line (dpkg(5), deb-control).
 */
export function withoutStanzas(sides: MergeSides<Buffer>, names: ReadonlySet<string>): MergeSides<Buffer> {
  const { base, theirs } = sides
  if (names.size === 0 || base === undefined || theirs === undefined) return sides
  const before = stanzasOf(theirs)
  const after = stanzasOf(base)
  const result = new Map(before)
  for (const key of new Set([...before.keys(), ...after.keys()])) {
    const [name = ''] = key.split('\0')
    if (!names.has(name)) continue
    const stanza = after.get(key)
    if (stanza === undefined) result.delete(key)
    else result.set(key, stanza)
  }
  return {
    ...sides,
    theirs: rawToBytes(asRaw([...result.values()].map((stanza) => `${stanza}\n\n`).join(''))),
  }
}

function stanzasOf(bytes: Buffer): Map<string, string> {
  const found = new Map<string, string>()
  for (const stanza of rawFromBytes(bytes).split(/\n\n+/)) {
    if (stanza.trim() === '') continue
    found.set(`${fieldOf(stanza, 'Package')}\0${fieldOf(stanza, 'Architecture')}`, stanza.replace(/\n+$/, ''))
  }
  return found
}

function fieldOf(stanza: string, name: string): string {
  return new RegExp(`^${name}: *(.*)$`, 'm').exec(stanza)?.[1] ?? ''
}
