// What a comparison could not tell, in words: a path that an entry does not have is not one that is equal.
import { printable } from '../base/raw-text.ts'
import type { Comparison, NotCompared } from '../model/compare.ts'
import type { RawPath } from '../model/raw-path.ts'
import { plural } from './format.ts'

const differencesStatus = 21
/** As of a save that could not read all. */
const incompleteStatus = 3

/** The exit status of `--exit-code`: only what was compared can be called equal. */
export function comparisonStatus(is: { readonly different: boolean; readonly incomplete: boolean }): number {
  return is.different ? differencesStatus : is.incomplete ? incompleteStatus : 0
}

/** `2 paths lost to damage in #1, 1 path unreadable in #1 and now`. Empty where everything was compared. */
export function summarizeNotCompared(comparison: Comparison): string {
  const counts = new Map<string, number>()
  for (const { why } of notComparedPaths(comparison)) counts.set(why, (counts.get(why) ?? 0) + 1)
  return [...counts].map(([why, count]) => `${plural(count, 'path')} ${why}`).join(', ')
}

/** Each path once, with what each side has to say. */
export function notComparedLines(comparison: Comparison): readonly string[] {
  return notComparedPaths(comparison).map(({ path, why }) => `${printable(path)}  ${why}`)
}

function notComparedPaths(
  comparison: Comparison,
): readonly { readonly path: RawPath; readonly why: string }[] {
  const paths = new Map<RawPath, NotCompared[]>()
  for (const each of comparison.notCompared) {
    const known = paths.get(each.path)
    if (known) known.push(each)
    else paths.set(each.path, [each])
  }
  return [...paths].map(([path, told]) => {
    const reasons = new Map<string, string[]>()
    for (const { reason, side } of told)
      reasons.set(reason, [...(reasons.get(reason) ?? []), comparison[side]])
    const why = [...reasons].map(([reason, labels]) => `${wordsOf(reason)} in ${labels.join(' and ')}`)
    return { path, why: why.join(', ') }
  })
}

export function wordsOf(reason: string): string {
  return reason === 'lost' ? 'lost to damage' : reason
}
