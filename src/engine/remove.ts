// Removes entries: their snapshots, and nothing else. The space is freed by a prune.
import { isFailure, VmlError } from '../base/failure.ts'
import type { SnapshotId } from '../model/ids.ts'
import type { LoggedEntry, OpenLogbook } from './entries.ts'
import { requireProven } from './proven-entries.ts'

export interface RemovePlan {
  readonly entries: readonly LoggedEntry[]
  /** With those that an edit which was cut off has left, and these first: a kill between them brings back no older form. */
  readonly snapshots: readonly SnapshotId[]
}

export function planRemove(entries: readonly LoggedEntry[]): RemovePlan {
  const unique = [...new Map(entries.map((entry) => [entry.id, entry])).values()]
  return { entries: unique, snapshots: unique.flatMap((entry) => [...entry.twins, entry.snapshot.id]) }
}

/**
 * Under an exclusive lock, as restic's `forget`. Each removal is whole by itself; `lookAgain` may still refuse all of them. Each snapshot is
 * read before the first one goes: what the catalogue took for another entry is not removed, and fails with `conflict`.
 */
export async function runRemove(
  logbook: OpenLogbook,
  plan: RemovePlan,
  signal?: AbortSignal,
  lookAgain?: () => Promise<void>,
): Promise<void> {
  const { repository, catalog } = logbook
  await using _lock = await repository.lock('exclusive', { signal }).catch(nothingRemoved)
  await lookAgain?.()
  await requireProven(logbook, plan.entries, { signal, damaged: 'fail' })
  for (const id of plan.snapshots) {
    signal?.throwIfAborted()
    await repository.removeSnapshot(id, { signal })
    catalog.remove([id])
  }
}

/** Who sees what is to be removed must not think that it is. */
function nothingRemoved(error: unknown): never {
  if (!isFailure(error, 'store.locked')) throw error
  const { code, message, details, hint, cause } = error
  const told = hint === undefined ? '' : `. ${hint}`
  throw new VmlError(code, message, { details, cause, hint: `Nothing was removed${told}` })
}
