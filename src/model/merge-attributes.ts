// Merges mode, owner and extended attributes of a path, each by itself; content is another matter.
import { asRaw, printable } from '../base/raw-text.ts'
import { threeWay, type MergeSides } from './merge-outcome.ts'
import type { Attributes, Xattr } from './tree.ts'

/** What a merge decides of a path's attributes. */
export type MergedAttributes = Pick<Attributes, 'mode' | 'uid' | 'gid' | 'xattrs'>

export type AttributeName = 'type' | 'mode' | 'uid' | 'gid' | `xattr ${string}`

/** With conflicts, `attributes` has all that could be taken back, and ours where it could not. */
export interface AttributeMerge {
  readonly attributes: MergedAttributes
  readonly conflicts: readonly AttributeName[]
}

/**
 * A path that is another type of thing now than k left, or than it was before k, keeps what it has: rights of a file say nothing about a folder.
 * An extended attribute that was taken off later stays off.
 */
export function mergeAttributes(sides: {
  readonly [side in keyof MergeSides<unknown>]: Attributes
}): AttributeMerge {
  const { base, ours, theirs } = sides
  const types = new Set([base.type, ours.type, theirs.type])
  if (types.size > 1) return { attributes: own(ours), conflicts: ['type'] }
  const conflicts: AttributeName[] = []
  const pick = (name: 'mode' | 'uid' | 'gid'): number => {
    const merged = threeWay({ base: base[name], ours: ours[name], theirs: theirs[name] })
    if (merged === undefined) conflicts.push(name)
    return merged?.value ?? ours[name]
  }
  const [mode, uid, gid] = [pick('mode'), pick('uid'), pick('gid')]
  const xattrs = mergeXattrs({ base: byName(base), ours: byName(ours), theirs: byName(theirs) }, conflicts)
  return { attributes: { mode, uid, gid, ...(xattrs.length === 0 ? {} : { xattrs }) }, conflicts }
}

function own({ mode, uid, gid, xattrs }: Attributes): MergedAttributes {
  return { mode, uid, gid, ...(xattrs === undefined ? {} : { xattrs }) }
}

function byName({ xattrs = [] }: Attributes): Map<string, Xattr> {
  return new Map(xattrs.map((xattr) => [xattr.name, xattr]))
}

function mergeXattrs(
  sides: { readonly [side in keyof MergeSides<unknown>]: ReadonlyMap<string, Xattr> },
  conflicts: AttributeName[],
): Xattr[] {
  return [...new Set([...sides.ours.keys(), ...sides.theirs.keys()])].sort().flatMap((name) => {
    const [base, ours, theirs] = [sides.base.get(name), sides.ours.get(name), sides.theirs.get(name)]
    const merged = threeWay({ base: valueOf(base), ours: valueOf(ours), theirs: valueOf(theirs) })
    if (merged === undefined && !ofContent.has(name)) conflicts.push(`xattr ${name}`)
    if (merged === undefined || merged.value === valueOf(ours)) return ours ?? []
    return merged.value === undefined ? [] : (theirs ?? [])
  })
}

/** Sums that the kernel makes of content and rights: whoever writes changes them, and they say nothing of what anybody wants. */
const ofContent: ReadonlySet<string> = new Set(['security.ima', 'security.evm'])

/** What each side of a conflict has, for who has to decide: base is what a transaction left, theirs what was there before it. */
export function describeAttribute(
  name: AttributeName,
  { base, ours, theirs }: { readonly [side in keyof MergeSides<unknown>]: Attributes },
): string {
  const [now, before, by] = [ours, theirs, base].map((side) => valueIn(name, side))
  const what = words[name] ?? printable(asRaw(name.replace(/^xattr/, 'attribute')))
  return `${what} changed since, too: ${now} now, ${before} before the transaction, ${by} by it`
}

const words: { readonly [name: string]: string } = { mode: 'rights', uid: 'owner', gid: 'group' }

function valueIn(name: AttributeName, side: Attributes): string {
  switch (name) {
    case 'type':
    case 'uid':
    case 'gid':
      return String(side[name])
    case 'mode':
      return side.mode.toString(8).padStart(3, '0')
    default: {
      const value = valueOf(byName(side).get(asRaw(name.slice('xattr '.length))))
      if (value === undefined) return 'none'
      return shownValue.test(value) ? `"${value}"` : `${value.length} bytes`
    }
  }
}

/** Access lists and capabilities are numbers that nobody reads. */
const shownValue = /^[ -~]{0,64}$/

function valueOf(xattr: Xattr | undefined): string | undefined {
  return xattr === undefined ? undefined : Buffer.from(xattr.value).toString('latin1')
}
