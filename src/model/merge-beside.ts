// Merges lines that touch, of files in which every line stands for itself: hosts, modules, sources of packages.
import type { SideLines } from './merge-regions.ts'

/**
 * One side put lines beside those of the base, the other changed only these: they touch, and neither is in doubt. Unless what was put in
 * begins like something that comes instead of the base, and so may stand for the same.
 */
export function mergeBeside({ base, ours, theirs }: SideLines): readonly string[] | undefined {
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
