// Merges lists of records that have keys: stanzas of a database, lines of a table, words of a set.
import { threeWay, type MergeSides } from './merge-outcome.ts'
import { compareRaw } from './raw-path.ts'

export interface KeyedRecord {
  readonly key: string
  readonly text: string
}

export interface KeyedMerge {
  readonly records: readonly KeyedRecord[]
  /** Keys that both changed; their records are as ours has them. */
  readonly conflicts: readonly string[]
}

/** For a record that both changed: what becomes of it (`text` undefined: it goes), or undefined where that is a conflict. */
export type RecordMerge = (sides: MergeSides<string>) => { readonly text: string | undefined } | undefined

const noSecondLook: RecordMerge = () => undefined

/**
 * The records of ours, without those that k added, and with those that k took out or changed as they were before. They stand in the order of ours;
 * what comes back stands where it stood: in its sorted place if both lists are `sortable` and sorted, else after the neighbour that it had.
 * Keys must be different (`numbered` makes them so). Every key of ours that differs from base is in the result as it is in ours, or was merged by `mergeRecord`.
 */
export function mergeKeyed(
  sides: { readonly [side in keyof MergeSides<unknown>]: readonly KeyedRecord[] },
  mergeRecord = noSecondLook,
  { sortable = true } = {},
): KeyedMerge {
  const base = textsOf(sides.base)
  const ours = textsOf(sides.ours)
  const theirs = textsOf(sides.theirs)
  const merged = new Map<string, string>()
  const conflicts: string[] = []
  for (const key of new Set([...ours.keys(), ...theirs.keys()])) {
    const values = { base: base.get(key), ours: ours.get(key), theirs: theirs.get(key) }
    const simple = threeWay(values)
    const text = simple === undefined ? mergeRecord(values) : { text: simple.value }
    if (text === undefined) conflicts.push(key)
    const result = text === undefined ? values.ours : text.text
    if (result !== undefined) merged.set(key, result)
  }
  const records = orderOf([...ours.keys()], [...theirs.keys()], { merged, sortable }).flatMap((key) => {
    const text = merged.get(key)
    return text === undefined ? [] : [{ key, text }]
  })
  return { records, conflicts: conflicts.map(keyWithoutNumber) }
}

/** Records whose keys occur again get different ones, so that none is lost: the second `a` is not the first. */
export function numbered(records: readonly KeyedRecord[]): KeyedRecord[] {
  const seen = new Map<string, number>()
  return records.map(({ key, text }) => {
    const count = seen.get(key) ?? 0
    seen.set(key, count + 1)
    return { key: count === 0 ? key : `${key}\0${count}`, text }
  })
}

/** As it was before `numbered`; NUL is in no text that is merged by records. */
export function keyWithoutNumber(key: string): string {
  const end = key.indexOf('\0')
  return end === -1 ? key : key.slice(0, end)
}

/** Words that are a set, such as members of a group. */
export function mergeWords(sides: {
  readonly [side in keyof MergeSides<unknown>]: readonly string[]
}): string[] {
  const records = (words: readonly string[]) => numbered(words.map((word) => ({ key: word, text: word })))
  const merged = mergeKeyed({
    base: records(sides.base),
    ours: records(sides.ours),
    theirs: records(sides.theirs),
  })
  return merged.records.map(({ text }) => text)
}

function textsOf(records: readonly KeyedRecord[]): Map<string, string> {
  return new Map(records.map(({ key, text }) => [key, text]))
}

function orderOf(
  ours: readonly string[],
  theirs: readonly string[],
  { merged, sortable }: { merged: ReadonlyMap<string, string>; sortable: boolean },
): string[] {
  const known = new Set(ours)
  const back = theirs.filter((key) => !known.has(key) && merged.has(key))
  if (back.length === 0) return [...ours]
  if (sortable && isSorted(ours) && isSorted(theirs)) return [...ours, ...back].sort(compareRaw)
  const after = new Map<string | undefined, string[]>()
  let neighbour: string | undefined
  const comesBack = new Set(back)
  for (const key of theirs) {
    if (known.has(key)) neighbour = key
    else if (comesBack.has(key)) pushTo(after, neighbour, key)
  }
  return [undefined, ...ours].flatMap((key) => [
    ...(key === undefined ? [] : [key]),
    ...(after.get(key) ?? []),
  ])
}

function pushTo(lists: Map<string | undefined, string[]>, at: string | undefined, key: string): void {
  const list = lists.get(at)
  if (list === undefined) lists.set(at, [key])
  else list.push(key)
}

function isSorted(keys: readonly string[]): boolean {
  return keys.every((key, index) => index === 0 || compareRaw(keys[index - 1] ?? '', key) <= 0)
}
