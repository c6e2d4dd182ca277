// Merges configuration line by line, as diff3(1) and `git merge-file` do.
import { diff3MergeRegions } from 'node-diff3'
import { bothChanged, type LineRange, type TextMerge, type TextOutcome } from './merge-outcome.ts'

/** Of what is left between the common beginning and end: finding the common lines takes time with its square (0.5 s at this number). */
export const mergeLinesMax = 20_000
/** Pairs of equal lines, of which all are looked at: a file of blank lines has as many as its lines squared (2 s at this number). */
const equalPairsMax = 1_000_000

/** What each changed is in the result where it touches nothing of the other's; else ours stands there, and its lines are named. */
export const mergeLines: TextMerge = ({ base, ours, theirs }) => {
  if (base === undefined || ours === undefined || theirs === undefined) return bothChanged
  const trimmed = trimCommon([base, ours, theirs].map(linesOf))
  const [o = [], a = [], b = []] = trimmed.middles
  if (!isBounded(o, a) || !isBounded(o, b)) return { kind: 'conflict', reason: 'too-large' }
  const lines: string[] = []
  const conflicts: LineRange[] = []
  for (const region of diff3MergeRegions(a, o, b)) {
    if (region.stable) append(lines, region.bufferContent)
    else {
      const beside = mergeBeside(region.oContent, region.aContent, region.bContent)
      append(lines, beside ?? region.aContent)
      if (beside !== undefined || isSame(region.aContent, region.bContent)) continue
      const first = trimmed.head.length + region.aStart + 1
      conflicts.push({ first, last: first + region.aLength - 1 })
    }
  }
  const text = [...trimmed.head, ...lines, ...trimmed.tail].join('')
  return conflicts.length === 0 ? { kind: 'merged', text } : conflictOf(conflicts, text, ours)
}

/**
 * One side put lines beside those of the base, the other changed only these: they touch, and neither is in doubt. Unless what was put in
 * begins like something that comes instead of the base, and so may stand for the same.
 */
function mergeBeside(base: readonly string[], ours: readonly string[], theirs: readonly string[]) {
  if (base.length === 0) return undefined
  const inOurs = placeOf(base, ours)
  const inTheirs = placeOf(base, theirs)
  if (inOurs !== undefined && isApart(base, ours, theirs))
    return [...ours.slice(0, inOurs), ...theirs, ...ours.slice(inOurs + base.length)]
  if (inTheirs !== undefined && isApart(base, theirs, ours))
    return [...theirs.slice(0, inTheirs), ...ours, ...theirs.slice(inTheirs + base.length)]
  return undefined
}

function isApart(base: readonly string[], around: readonly string[], instead: readonly string[]): boolean {
  // Lines were put in on both sides: nobody can tell which come first.
  if (instead.length > base.length) return false
  const known = new Set(base)
  const added = (lines: readonly string[]) => lines.filter((line) => !known.has(line)).map(firstWord)
  const words = new Set(added(around))
  return added(instead).every((word) => !words.has(word))
}

/** What a line is about: the name of a setting, an address, a user. */
function firstWord(line: string): string {
  return /^[\s#;]*([^\s=:]*)/.exec(line)?.[1] ?? ''
}

/** Where these lines stand in one piece; undefined where they do not, or more than once. */
function placeOf(lines: readonly string[], within: readonly string[]): number | undefined {
  let found: number | undefined
  for (let at = 0; at + lines.length <= within.length; at++) {
    if (!lines.every((line, index) => line === within[at + index])) continue
    if (found !== undefined) return undefined
    found = at
  }
  return found
}

/** Each with its newline, if it has one: a last line without is another one. */
export function linesOf(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? []
}

function conflictOf(lines: readonly LineRange[], text: string, ours: string): TextOutcome {
  return { kind: 'conflict', reason: 'both-changed', lines, ...(text === ours ? {} : { partial: text }) }
}

function trimCommon(sides: readonly string[][]): { head: string[]; middles: string[][]; tail: string[] } {
  const [first = []] = sides
  const shortest = Math.min(...sides.map((side) => side.length))
  let head = 0
  while (head < shortest && sides.every((side) => side[head] === first[head])) head++
  let tail = 0
  while (tail < shortest - head && sides.every((side) => side.at(-1 - tail) === first.at(-1 - tail))) tail++
  return {
    head: first.slice(0, head),
    middles: sides.map((side) => side.slice(head, side.length - tail)),
    tail: first.slice(first.length - tail),
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

function append(to: string[], lines: readonly string[]): void {
  for (const line of lines) to.push(line)
}

function isSame(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((line, index) => line === right[index])
}
