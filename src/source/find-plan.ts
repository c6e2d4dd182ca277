// The words that tell find where to start, where to stop, and how to show that it came to its end.
import type { RawPath } from '../model/raw-path.ts'
import { endMark, walkFormat } from './scan-records.ts'

export interface WalkPlan {
  readonly starts: readonly RawPath[]
  /** Listed, not entered. */
  readonly prune: readonly RawPath[]
  /** Other file systems are entered, too. */
  readonly across?: boolean
}

/** GNU find prints `walkFormat` behind the verdict: p pruned, u cannot be entered, i anything else. */
export function gnuFindWords(plan: WalkPlan): string[] {
  return [
    ...startWords(plan),
    ...['(', ...pruneTests(plan), ')', '-printf', `p${walkFormat}`, '-prune', '-o'],
    // Asked of the system, not read from messages: what find would fail to open is known before it tries.
    ...[
      '-type',
      'd',
      '(',
      '!',
      '-readable',
      '-o',
      '!',
      '-executable',
      ')',
      '-printf',
      `u${walkFormat}`,
      '-prune',
      '-o',
    ],
    ...['-printf', `i${walkFormat}`],
  ]
}

/** Any other find prints names, each ended by NUL. */
export function plainFindWords(plan: WalkPlan): string[] {
  return [...startWords(plan), '(', ...pruneTests(plan), ')', '-print0', '-prune', '-o', '-print0']
}

function startWords({ starts, across = false }: WalkPlan): string[] {
  return [...starts, endMark, ...(across ? [] : ['-xdev'])]
}

function pruneTests({ prune }: WalkPlan): string[] {
  return [endMark, ...prune].flatMap((path, index) => [
    ...(index > 0 ? ['-o'] : []),
    '-path',
    escapeGlob(path),
  ])
}

/** `-path` takes a pattern (POSIX, "Pattern Matching Notation"): a backslash takes the meaning from the next character. */
function escapeGlob(path: string): string {
  return path.replace(/[*?[\]\\]/g, '\\$&')
}
