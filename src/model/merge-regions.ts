// A three-way comparison of lines: what stands one after the other, and who changed it.
import { diffIndices } from 'node-diff3'
import type { MergeSides } from './merge-outcome.ts'

/** Of what is left between the common beginning and end: finding the common lines takes time with its square (1 s at this number). */
export const mergeLinesMax = 20_000
/** Pairs of equal lines, of which all are looked at: a file of blank lines has as many as its lines squared (4 s at this number). */
const equalPairsMax = 1_000_000

export type SideLines = { readonly [side in keyof MergeSides<unknown>]: readonly string[] }

/** Lines that stand together. Changes of both between which no line is left as it was touch, and are one region. */
export interface MergeRegion {
  readonly changedBy: 'nobody' | 'ours' | 'theirs' | 'both'
  readonly lines: SideLines
  /** How many lines of ours stand before it. */
  readonly firstOfOurs: number
}

/** From the first line to the last; undefined where that would take too long. */
export function regionsOf(sides: SideLines): MergeRegion[] | undefined {
  const trimmed = trimCommon([sides.base, sides.ours, sides.theirs])
  const [base = [], ours = [], theirs = []] = trimmed.middles
  if (!isBounded(base, ours) || !isBounded(base, theirs)) return undefined
  const regions: MergeRegion[] = []
  let end = { base: 0, ours: 0, theirs: 0 }
  const add = (changedBy: MergeRegion['changedBy'], lengths: typeof end) => {
    const start = end
    end = {
      base: start.base + lengths.base,
      ours: start.ours + lengths.ours,
      theirs: start.theirs + lengths.theirs,
    }
    const lines = {
      base: sides.base.slice(start.base, end.base),
      ours: sides.ours.slice(start.ours, end.ours),
      theirs: sides.theirs.slice(start.theirs, end.theirs),
    }
    regions.push({ changedBy, lines, firstOfOurs: start.ours })
  }
  const addUnchanged = (upTo: number) => {
    const length = upTo - end.base
    if (length > 0) add('nobody', { base: length, ours: length, theirs: length })
  }
  for (const { first, last, hunks } of touching([
    ...hunksOf(base, ours, 'ours'),
    ...hunksOf(base, theirs, 'theirs'),
  ])) {
    addUnchanged(trimmed.head + first)
    const lengths = { base: last - first, ours: last - first, theirs: last - first }
    for (const { by, grownBy } of hunks) lengths[by] += grownBy
    const [changedBy = 'both', ...others] = new Set(hunks.map(({ by }) => by))
    add(others.length === 0 ? changedBy : 'both', lengths)
  }
  addUnchanged(sides.base.length)
  return regions
}

/** Lines of base from `first` up to before `last`; one side has others there, `grownBy` more of them. */
interface Hunk {
  readonly by: 'ours' | 'theirs'
  readonly first: number
  readonly last: number
  readonly grownBy: number
}

function hunksOf(base: string[], side: string[], by: Hunk['by']): Hunk[] {
  return diffIndices(base, side).map(({ buffer1: [first, removed], buffer2: [, added] }) => ({
    by,
    first,
    last: first + removed,
    grownBy: added - removed,
  }))
}

function touching(hunks: readonly Hunk[]): { first: number; last: number; hunks: Hunk[] }[] {
  const groups: { first: number; last: number; hunks: Hunk[] }[] = []
  for (const hunk of hunks.toSorted((one, two) => one.first - two.first)) {
    const group = groups.at(-1)
    if (group === undefined || hunk.first > group.last)
      groups.push({ first: hunk.first, last: hunk.last, hunks: [hunk] })
    else {
      group.hunks.push(hunk)
      group.last = Math.max(group.last, hunk.last)
    }
  }
  return groups
}

function trimCommon(sides: readonly (readonly string[])[]): { head: number; middles: string[][] } {
  const [first = []] = sides
  const shortest = Math.min(...sides.map((side) => side.length))
  let head = 0
  while (head < shortest && sides.every((side) => side[head] === first[head])) head++
  let tail = 0
  while (tail < shortest - head && sides.every((side) => side.at(-1 - tail) === first.at(-1 - tail))) tail++
  return {
    head,
    middles: sides.map((side) => side.slice(head, side.length - tail)),
  }
}

function isBounded(left: readonly string[], right: readonly string[]): boolean {
  if (left.length > mergeLinesMax || right.length > mergeLinesMax) return false
  const counts = new Map<string, number>()
  for (const line of left) counts.set(line, (counts.get(line) ?? 0) + 1)
  let pairs = 0
  for (const line of right) pairs += counts.get(line) ?? 0
  return pairs <= equalPairsMax
}
