// A restore through a machine's own tools: what was changed since it was looked at is found right before it would be replaced.
import type { RawPath } from '../model/raw-path.ts'
import type { Attributes } from '../model/tree.ts'
import { isAsSeen, standingOf } from '../source/standing.ts'
import type { PathFailure } from '../source/source.ts'
import type { PlannedRestore } from './restore-write.ts'

/** So many paths are looked at and removed at once: few enough that the look is not old. */
const removedAtOnce = 1000

/** As it is said of a restore by this process itself, which looks within the call. */
export const cameMeanwhile = 'Something else came there meanwhile'

/** By path, and what stands there now, where that can be told. */
export type Late = Map<RawPath, Attributes | undefined>

/** Those of `paths` that stood there and are no longer as they were seen. What is gone is none: nothing is lost with it. */
export async function changedSince(
  { present, request, isNew = false }: PlannedRestore,
  paths: readonly RawPath[],
): Promise<Late> {
  const asked = paths.filter((path) => present.has(path))
  const changed: Late = new Map()
  if (asked.length === 0 || isNew) return changed
  for await (const record of request.destination.source.stat(asked, request.signal)) {
    const seen = present.get(record.path)
    if (!seen || (record.kind === 'problem' && record.problem === 'vanished')) continue
    const now = record.kind === 'item' ? record.attributes : undefined
    if (!now || !isAsSeen(standingOf(seen), standingOf(now), 'untouched')) changed.set(record.path, now)
  }
  return changed
}

/** Deepest first. What was changed since stays, and is in `late`. */
export async function removeUnchanged(prepared: PlannedRestore, late: Late): Promise<readonly PathFailure[]> {
  const { plan, request } = prepared
  const failures: PathFailure[] = []
  for (let at = 0; at < plan.removals.length; at += removedAtOnce) {
    const paths = plan.removals.slice(at, at + removedAtOnce).map(({ path }) => path)
    const changed = await changedSince(prepared, paths)
    for (const [path, now] of changed) late.set(path, now)
    const rest = paths.filter((path) => !changed.has(path))
    failures.push(...(await request.destination.source.remove(rest, request.signal)))
  }
  return failures
}
