// Of entries that go by a plan: the folders that no entry which stays was of, since saves of other folders took their places.
import { rawFromString } from '../base/raw-text.ts'
import { nearestIn, parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { LoggedEntry } from './entries.ts'
import type { Decision } from './retain.ts'

/** By what snapshots name; only of the same machine and host, and of environment entries: a safety entry is of single paths. */
export function uncoveredRoots(decisions: readonly Decision[]): ReadonlyMap<LoggedEntry, readonly RawPath[]> {
  const ofEnvironment = decisions.filter(({ entry }) => entry.kind === 'environment')
  const kept = new Map<string, Set<RawPath>>()
  for (const { entry } of ofEnvironment.filter(({ stays }) => stays)) {
    const roots = kept.get(placeOf(entry)) ?? new Set()
    for (const path of rootsOf(entry)) roots.add(path)
    kept.set(placeOf(entry), roots)
  }
  const uncovered = new Map<LoggedEntry, readonly RawPath[]>()
  for (const { entry } of ofEnvironment.filter(({ stays }) => !stays)) {
    const roots = kept.get(placeOf(entry)) ?? new Set()
    const alone = rootsOf(entry).filter((path) => nearestIn(path, roots) === undefined)
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
