// Merges configuration line by line, as diff3(1) and `git merge-file` do.
import { isWithoutScope, openersOf } from './line-scopes.ts'
import { mergeBeside } from './merge-beside.ts'
import {
  bothChanged,
  type LineRange,
  type MergeSides,
  type TextMerge,
  type TextOutcome,
} from './merge-outcome.ts'
import { type MergeRegion, regionsOf, type SideLines } from './merge-regions.ts'

/** Of a whole file, whose blocks are looked for. */
const fileLinesMax = 1_000_000

/**
 * What each changed is in the result where it touches nothing of the other's; else ours stands there, and its lines are named. Lines that touch, and
 * those that would come to stand in another block, may mean something else there: they are a conflict.
 */
export const mergeLines: TextMerge = (texts) =>
  mergeBothWays(texts, { mergeTouching: () => undefined, isInPlace: isInItsBlocks })

/** For files of which every line stands for itself, whatever stands above it: where lines touch, both are taken if they are about different things. */
export const mergeSingleLines: TextMerge = (texts) =>
  mergeBothWays(texts, { mergeTouching: mergeBeside, isInPlace: () => true })

interface Rules {
  readonly mergeTouching: (lines: SideLines) => readonly string[] | undefined
  readonly isInPlace: (sides: SideLines, readings: readonly Reading[]) => boolean
}

/** One of the ways in which the sides can be compared. Lines have the same number in `ids` where they are one and the same. */
interface Reading {
  readonly merged: readonly string[]
  readonly ids: { readonly [side in keyof MergeSides<unknown> | 'merged']: readonly number[] }
  /** Lines of ours. */
  readonly conflicts: readonly LineRange[]
}

/**
 * Where lines are there more than once, a comparison has more than one answer: what touches in one is far apart in another. Read from the
 * beginning and from the end, it must come to the same.
 */
function mergeBothWays({ base, ours, theirs }: MergeSides<string>, rules: Rules): TextOutcome {
  if (base === undefined || ours === undefined || theirs === undefined) return bothChanged
  const sides = { base: linesOf(base), ours: linesOf(ours), theirs: linesOf(theirs) }
  if (Object.values(sides).some(({ length }) => length > fileLinesMax)) return tooLarge
  const readings: Reading[] = []
  for (const readSides of [readForwards, readBackwards]) {
    const reading = readSides(sides, rules)
    if (reading === undefined) return tooLarge
    if (reading.conflicts.length > 0) return conflictOf(reading, ours)
    readings.push(reading)
  }
  const [text, other] = readings.map(({ merged }) => merged.join(''))
  const isSure = text === other && readings.every(isOfWholeLines) && rules.isInPlace(sides, readings)
  return isSure ? { kind: 'merged', text } : bothChanged
}

/** Undefined where it would take too long. */
function readForwards(sides: SideLines, rules: Rules): Reading | undefined {
  const regions = regionsOf(sides)
  return regions && readRegions(regions, rules)
}

function readBackwards(sides: SideLines, { mergeTouching, ...rules }: Rules): Reading | undefined {
  const turnedRules = {
    ...rules,
    mergeTouching: (lines: SideLines) => mergeTouching(turned(lines))?.toReversed(),
  }
  const reading = readForwards(turned(sides), turnedRules)
  return reading && turnedBack(reading, sides.ours.length)
}

function readRegions(regions: readonly MergeRegion[], { mergeTouching }: Rules): Reading {
  const merged: string[] = []
  const ids = { base: [] as number[], ours: [] as number[], theirs: [] as number[], merged: [] as number[] }
  const conflicts: LineRange[] = []
  let nextId = 0
  const number = (lines: readonly string[], ...sides: (keyof typeof ids)[]) => {
    for (const _ of lines) {
      for (const side of sides) ids[side].push(nextId)
      nextId++
    }
  }
  for (const { changedBy, firstOfOurs, lines } of regions) {
    const isSameChange = changedBy === 'both' && isSame(lines.ours, lines.theirs)
    if (changedBy === 'nobody') number(lines.base, 'base', 'ours', 'theirs', 'merged')
    else if (isSameChange) {
      number(lines.base, 'base')
      number(lines.ours, 'ours', 'theirs', 'merged')
    } else if (changedBy === 'ours') {
      number(lines.base, 'base', 'theirs')
      number(lines.ours, 'ours', 'merged')
    } else if (changedBy === 'theirs') {
      number(lines.base, 'base', 'ours')
      number(lines.theirs, 'theirs', 'merged')
    } else {
      number(lines.base, 'base')
      number(lines.theirs, 'theirs')
      number(lines.ours, 'ours', 'merged')
    }
    const touching = changedBy === 'both' && !isSameChange ? mergeTouching(lines) : undefined
    append(merged, touching ?? (changedBy === 'theirs' ? lines.theirs : lines.ours))
    if (changedBy !== 'both' || isSameChange || touching !== undefined) continue
    conflicts.push({ first: firstOfOurs + 1, last: firstOfOurs + lines.ours.length })
  }
  return { merged, ids, conflicts }
}

/** A last line without a newline would become one with that which now follows it. */
function isOfWholeLines({ merged }: Reading): boolean {
  return merged.slice(0, -1).every((line) => line.endsWith('\n'))
}

/**
 * Whether each line stands in the very block in which it was put: that of ours where this is another one than in base, else that of theirs.
 * One reading in which all do is enough, since all come to the same text.
 */
function isInItsBlocks(sides: SideLines, readings: readonly Reading[]): boolean {
  const merged = readings.at(0)?.merged ?? []
  const openers = {
    base: openersOf(sides.base),
    ours: openersOf(sides.ours),
    theirs: openersOf(sides.theirs),
    merged: openersOf(merged),
  }
  return readings.some(({ ids }) => {
    const numbers = new Map<string, number>()
    const blocks = (side: keyof typeof openers) => blocksOf(openers[side], ids[side], numbers)
    const [inBase, inOurs, inTheirs, inMerged] = [
      blocks('base'),
      blocks('ours'),
      blocks('theirs'),
      blocks('merged'),
    ]
    return merged.every((line, index) => {
      const id = ids.merged[index] ?? -1
      if (isWithoutScope(line)) return true
      const [base, ours, theirs] = [inBase[id], inOurs[id], inTheirs[id]]
      const expected = ours === undefined || ours === base ? theirs : ours
      const isDoubtful = theirs !== undefined && theirs !== base && theirs !== expected
      return !isDoubtful && inMerged[id] === expected
    })
  })
}

/** By the id of a line, the block it stands in: a number for each way of lines down to it. */
function blocksOf(
  openers: readonly number[],
  ids: readonly number[],
  numbers: Map<string, number>,
): (number | undefined)[] {
  const blocks: number[] = []
  const insideOf = new Map<number, number>()
  for (const opener of openers) {
    let block = insideOf.get(opener)
    if (block === undefined) {
      const way = `${blocks[opener] ?? ''} ${ids[opener] ?? ''}`
      block = numbers.get(way) ?? numbers.size
      numbers.set(way, block)
      insideOf.set(opener, block)
    }
    blocks.push(block)
  }
  const byId: (number | undefined)[] = []
  for (const [index, id] of ids.entries()) byId[id] = blocks[index]
  return byId
}

/** Each with its newline, if it has one: a last line without is another one. */
export function linesOf(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? []
}

function turned({ base, ours, theirs }: SideLines): SideLines {
  return { base: base.toReversed(), ours: ours.toReversed(), theirs: theirs.toReversed() }
}

function turnedBack({ merged, ids, conflicts }: Reading, length: number): Reading {
  return {
    merged: merged.toReversed(),
    ids: {
      base: ids.base.toReversed(),
      ours: ids.ours.toReversed(),
      theirs: ids.theirs.toReversed(),
      merged: ids.merged.toReversed(),
    },
    conflicts: conflicts.map(({ first, last }) => ({ first: length + 1 - last, last: length + 1 - first })),
  }
}

const tooLarge: TextOutcome = { kind: 'conflict', reason: 'too-large' }

function conflictOf({ conflicts: lines, merged }: Reading, ours: string): TextOutcome {
  const text = merged.join('')
  return { kind: 'conflict', reason: 'both-changed', lines, ...(text === ours ? {} : { partial: text }) }
}

function append(to: string[], lines: readonly string[]): void {
  for (const line of lines) to.push(line)
}

function isSame(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((line, index) => line === right[index])
}
