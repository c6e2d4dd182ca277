// Merges users and groups: passwd(5), shadow(5), group(5), gshadow(5), subuid(5), subgid(5).
import { mergeKeyed, mergeWords, type KeyedRecord, type RecordMerge } from './merge-keyed.ts'
import { outcomeOf, threeWay, type MergeSides, type TextMerge } from './merge-outcome.ts'
import type { RawPath } from './raw-path.ts'
import { tableRecords, tableText } from './merge-table.ts'

export interface AccountFile {
  /** Fields that are lists of names. */
  readonly lists: readonly number[]
  /** The field with the number that nobody else may have, and the one that says how many there are from it on. */
  readonly number?: number
  readonly count?: number
}

/** Undefined for any other path. */
export function accountFileOf(path: RawPath): AccountFile | undefined {
  const [, name = ''] = /^\/etc\/([a-z]+)$/.exec(path) ?? []
  return Object.hasOwn(accountFiles, name) ? accountFiles[name] : undefined
}

export const accountFiles: Readonly<Record<string, AccountFile>> = {
  passwd: { lists: [], number: 2 },
  shadow: { lists: [] },
  group: { lists: [3], number: 2 },
  gshadow: { lists: [2, 3] },
  subuid: { lists: [], number: 1, count: 2 },
  subgid: { lists: [], number: 1, count: 2 },
}

/**
 * By name, field by field. Whoever came later keeps the number, even one that k's user had pushed up. Somebody whom k had removed does
 * not come back beside another one of the same number: programs would take the two for one.
 */
export function mergeAccounts(file: AccountFile): TextMerge {
  return (sides) => {
    const rules = { keyOf: nameOf }
    const ours = tableRecords(sides.ours, rules)
    const { records, conflicts } = mergeKeyed(
      { base: tableRecords(sides.base, rules), ours, theirs: tableRecords(sides.theirs, rules) },
      (line) => mergeAccount(line, file),
    )
    const taken = numbersTaken(records, ours, file)
    if (taken.size === 0) return outcomeOf(tableText(records, sides), conflicts)
    const present = new Map(ours.map((record) => [record.key, record]))
    const kept = records.flatMap((record) =>
      taken.has(record.key) ? (present.get(record.key) ?? []) : record,
    )
    return outcomeOf(tableText(kept, sides), [...conflicts, ...taken], 'number-taken')
  }
}

/** Lines without a colon, and those of `+` and `-` for NIS (`compat`), name themselves. */
function nameOf(line: string): string {
  const name = line.split(':', 1)[0] ?? ''
  return name === '' || name === '+' || name === '-' ? line : name
}

function mergeAccount(line: MergeSides<string>, { lists }: AccountFile): ReturnType<RecordMerge> {
  const [base, ours, theirs] = [line.base, line.ours, line.theirs].map((side) => side?.split(':'))
  if (base === undefined || ours === undefined || theirs === undefined) return undefined
  if (base.length !== ours.length || theirs.length !== ours.length) return undefined
  const fields: string[] = []
  for (const [index, value] of ours.entries()) {
    const sides = { base: base[index] ?? '', ours: value, theirs: theirs[index] ?? '' }
    const field = lists.includes(index) ? { value: mergeNames(sides) } : threeWay(sides)
    if (field?.value === undefined) return undefined
    fields.push(field.value)
  }
  return { text: fields.join(':') }
}

function mergeNames({ base, ours, theirs }: { base: string; ours: string; theirs: string }): string {
  const names = (list: string) => list.split(',').filter((name) => name !== '')
  return mergeWords({ base: names(base), ours: names(ours), theirs: names(theirs) }).join(',')
}

/** Keys of what would come back, or get back its number, with a number that another line of ours has. */
function numbersTaken(
  records: readonly KeyedRecord[],
  ours: readonly KeyedRecord[],
  file: AccountFile,
): Set<string> {
  const taken = new Set<string>()
  const stays = new Set(records.map((record) => record.key))
  const present = new Map(ours.map(({ key, text }) => [key, rangeOf(text, file)]))
  const ranges = [...present].flatMap(([key, range]) => (range === undefined ? [] : [{ key, ...range }]))
  for (const { key, text } of records) {
    const range = rangeOf(text, file)
    if (range === undefined) continue
    const before = present.get(key)
    if (before?.first === range.first && before.last === range.last) continue
    if (
      ranges.some(
        (other) =>
          other.key !== key && stays.has(other.key) && other.first <= range.last && range.first <= other.last,
      )
    )
      taken.add(key)
  }
  return taken
}

function rangeOf(line: string, { number, count }: AccountFile): { first: number; last: number } | undefined {
  if (number === undefined) return undefined
  const fields = line.split(':')
  const first = wholeNumber(fields[number])
  if (first === undefined) return undefined
  const many = count === undefined ? 1 : wholeNumber(fields[count])
  return { first, last: first + Math.max(1, many ?? 1) - 1 }
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined
}
