// Merges files in which each line is a record with a key: sets of lines, and the small tables of dpkg, ucf and systemd.
import { mergeKeyed, mergeWords, numbered, type KeyedRecord, type RecordMerge } from './merge-keyed.ts'
import { outcomeOf, type MergeSides, type TextMerge, type TextOutcome } from './merge-outcome.ts'

export interface TableRules {
  /** What names a line; comments and lines that are none of the table's name themselves. Default: each line does, which makes the file a set. */
  readonly keyOf?: (line: string) => string
  /** For a line that both changed. */
  readonly mergeLine?: RecordMerge
  /** How many lines one record takes; the last may be shorter. */
  readonly linesPerRecord?: number
}

export const mergeLineSet: TextMerge = (sides) => mergeTable(sides)

/** deb-statoverride: `user group mode path`. */
export const mergeStatoverride: TextMerge = (sides) =>
  mergeTable(sides, { keyOf: (line) => /^\S+ \S+ \S+ (.+)$/.exec(line)?.[1] ?? line })

/** dpkg-divert(1): three lines each: the path, where it went, the package or `:`. */
export const mergeDiversions: TextMerge = (sides) =>
  mergeTable(sides, { linesPerRecord: 3, keyOf: (record) => record.split('\n', 1)[0] ?? record })

/** ucf(1): `md5sum  path` in hashfile, `package <tab> path` in registry. The path, which comes last, is the key. */
export const mergePathTable: TextMerge = (sides) =>
  mergeTable(sides, { keyOf: (line) => /^\S+\s+(.+)$/.exec(line)?.[1] ?? line })

/** deb-triggers, `Unincorp`: a trigger, then the packages that activated it. */
export const mergeUnincorporated: TextMerge = (sides) =>
  mergeTable(sides, { keyOf: (line) => firstWord(line), mergeLine: mergeTail })

/** By records of lines; the result ends with a newline if ours does, or theirs where ours is not there. */
export function mergeTable(sides: MergeSides<string>, rules: TableRules = {}): TextOutcome {
  const { records, conflicts } = mergeKeyed(
    {
      base: tableRecords(sides.base, rules),
      ours: tableRecords(sides.ours, rules),
      theirs: tableRecords(sides.theirs, rules),
    },
    rules.mergeLine,
  )
  return outcomeOf(tableText(records, sides), conflicts)
}

export function tableRecords(text: string | undefined, rules: TableRules): KeyedRecord[] {
  if (text === undefined || text === '') return []
  const lines = (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n')
  const size = rules.linesPerRecord ?? 1
  const records: KeyedRecord[] = []
  for (let at = 0; at < lines.length; at += size) {
    const record = lines.slice(at, at + size).join('\n')
    records.push({ key: (rules.keyOf ?? itself)(record), text: record })
  }
  return numbered(records)
}

/** A file of which nothing is left is empty, or gone where it was not there before k or is not now. */
export function tableText(
  records: readonly KeyedRecord[],
  { ours, theirs }: MergeSides<string>,
): string | undefined {
  if (records.length === 0) return theirs === undefined || ours === undefined ? undefined : ''
  const like = ours === undefined || ours === '' ? (theirs ?? '\n') : ours
  return records.map(({ text }) => text).join('\n') + (like.endsWith('\n') ? '\n' : '')
}

function itself(line: string): string {
  return line
}

function firstWord(line: string): string {
  return line.split(' ', 1)[0] ?? line
}

const mergeTail: RecordMerge = ({ base, ours, theirs }) => {
  if (ours === undefined) return undefined
  const words = (line: string | undefined) => (line ?? '').split(' ').slice(1)
  const left = mergeWords({ base: words(base), ours: words(ours), theirs: words(theirs) })
  return { text: left.length === 0 ? undefined : [firstWord(ours), ...left].join(' ') }
}
