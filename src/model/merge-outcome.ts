// The words of a three-way merge: three sides, what came out, and the one rule that all mergers share.
import type { RawText } from '../base/raw-text.ts'

/** Taking k back: `base` is what k left, `ours` is now, `theirs` was before k. A side that is not there is undefined. */
export interface MergeSides<T> {
  readonly base: T | undefined
  readonly ours: T | undefined
  readonly theirs: T | undefined
}

/**
 * Why a merge is left to a person. `both-changed`: k and somebody later changed the same place. `too-large`: above a limit of the merger.
 * `number-taken`: what comes back has a number of a user or group that somebody else has by now. `not-together`: the package database
 * would hold two packages side by side that cannot be.
 */
export type ConflictReason = 'both-changed' | 'too-large' | 'number-taken' | 'not-together'

/** Lines of `ours`, counted from 1; `last` is before `first` where something was taken out between two lines. */
export interface LineRange {
  readonly first: number
  readonly last: number
}

/** What is said of a conflict: names of records, or lines, or neither where it is about the file as a whole. */
interface Conflict {
  readonly kind: 'conflict'
  readonly reason: ConflictReason
  readonly keys: readonly RawText[]
  readonly lines: readonly LineRange[]
}

/** Of a conflict, `partial` has all that could be taken back, and ours where it could not; absent where that would be ours as it is. */
export type MergeOutcome =
  | { readonly kind: 'merged'; readonly bytes: Buffer | undefined }
  | (Conflict & { readonly partial?: Buffer })

/** The same while it is text of one character per byte. */
export type TextOutcome =
  | { readonly kind: 'merged'; readonly text: string | undefined }
  | {
      readonly kind: 'conflict'
      readonly reason: ConflictReason
      readonly keys?: readonly string[]
      readonly lines?: readonly LineRange[]
      readonly partial?: string
    }

export type TextMerge = (sides: MergeSides<string>) => TextOutcome

export const bothChanged: TextOutcome = { kind: 'conflict', reason: 'both-changed' }

/**
 * What only one of them changed is as that one left it; undefined where both changed it, differently. What was taken out later
 * stays out, whatever k had made of it: nothing is left that could be taken back.
 */
export function threeWay<T>({ base, ours, theirs }: MergeSides<T>): { value: T | undefined } | undefined {
  if (ours === base) return { value: theirs }
  if (theirs === base || ours === theirs || ours === undefined) return { value: ours }
  return undefined
}

/** All mergers end in this: a text with conflicts is partial, one without is merged. */
export function outcomeOf(
  text: string | undefined,
  conflicts: readonly string[],
  reason: ConflictReason = 'both-changed',
): TextOutcome {
  if (conflicts.length === 0) return { kind: 'merged', text }
  return { kind: 'conflict', reason, keys: conflicts, ...(text === undefined ? {} : { partial: text }) }
}
