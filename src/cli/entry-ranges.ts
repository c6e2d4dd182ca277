// Names of entries that have the same of something, in the order of the logbook.
import { entryName, type LoggedEntry } from '../engine/entries.ts'
import { holdsPathsOnly } from '../model/entry.ts'

/** Of more entries than these, the ones between are left out. */
const namedMax = 6

type NamedEntry = Pick<LoggedEntry, 'id' | 'number' | 'kind'>

/** `#1–#3`: the entries in a row, or one. Of entries that have single paths, those between may have nothing of it: each is named. */
export function ranges(entries: readonly NamedEntry[]): string {
  const [first] = entries
  const last = entries.at(-1)
  if (!first || !last) return ''
  if (entries.some(({ kind }) => holdsPathsOnly(kind))) {
    const some = entries.slice(0, -1).map(entryName)
    const left = some.length < namedMax ? [] : ['…']
    return [...some.slice(0, namedMax - 1), ...left, entryName(last)].join(', ')
  }
  return first === last ? entryName(first) : `${entryName(first)}–${entryName(last)}`
}
