// Of entries that go by a plan: the folders that no entry which stays was of, since saves of other folders took their places.
import { rawFromString } from '../base/raw-text.ts'
import { isWithin, parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { LoggedEntry } from './entries.ts'
import type { Decision } from './retain.ts'

/** By what snapshots name; only of the same machine and host, and of environment entries: a safety entry is of single paths. */
export function uncoveredRoots(decisions: readonly Decision[]): ReadonlyMap<LoggedEntry, readonly RawPath[]> {
  const ofEnvironment = decisions.filter(({ entry }) => entry.kind === 'environment')
  const kept = new Map<string, RawPath[]>()
  for (const { entry } of ofEnvironment.filter(({ stays }) => stays)) {
    const roots = kept.get(placeOf(entry)) ?? []
    kept.set(placeOf(entry), [...roots, ...rootsOf(entry)])
  }
  const uncovered = new Map<LoggedEntry, readonly RawPath[]>()
  for (const { entry } of ofEnvironment.filter(({ stays }) => !stays)) {
    const roots = kept.get(placeOf(entry)) ?? []
    const alone = rootsOf(entry).filter((path) => !roots.some((root) => isWithin(path, root)))
    if (alone.length > 0) uncovered.set(entry, alone)
  }
  return uncovered
}

function placeOf({ machine, facts }: LoggedEntry): string {
  return JSON.stringify([machine, facts?.host ?? null])
}

function rootsOf({ snapshot }: LoggedEntry): RawPath[] {
  return snapshot.paths.flatMap((path) => parseRawPath(rawFromString(path)) ?? [])
}
