// Removes entries: their snapshots, and nothing else. The space is freed by a prune.
import type { SnapshotId } from '../model/ids.ts'
import type { LoggedEntry, OpenLogbook } from './entries.ts'

export interface RemovePlan {
  readonly entries: readonly LoggedEntry[]
  /** With those that an edit which was cut off has left. */
  readonly snapshots: readonly SnapshotId[]
}

export function planRemove(entries: readonly LoggedEntry[]): RemovePlan {
  const unique = [...new Map(entries.map((entry) => [entry.id, entry])).values()]
  return { entries: unique, snapshots: unique.flatMap((entry) => [entry.snapshot.id, ...entry.twins]) }
}

/** Under an exclusive lock, as restic's `forget`. Each removal is whole by itself. */
export async function runRemove(logbook: OpenLogbook, plan: RemovePlan, signal?: AbortSignal): Promise<void> {
  const { repository, catalog } = logbook
  await using _lock = await repository.lock('exclusive', { signal })
  for (const id of plan.snapshots) {
    signal?.throwIfAborted()
    await repository.removeSnapshot(id, { signal })
    catalog.remove([id])
  }
}
