// Frees the space of what no snapshot needs, in two steps: looked for, rewritten and marked beside running saves; deleted alone, in moments.
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import type { PackId, SnapshotId } from '../model/ids.ts'
import type { HeldLock } from './lock.ts'
import { deletePacks, type DeleteResult } from './prune-delete.ts'
import { loadPruneIndex } from './prune-index.ts'
import type { PruneMarks } from './prune-marks.ts'
import { doomedPacks, planPrune, type PrunePlan, type PruneRule } from './prune-plan.ts'
import { repack, type RepackResult } from './prune-repack.ts'
import { choosePlaces } from './prune-usage.ts'
import type { Vault } from './sealed-file.ts'
import type { CallOptions } from './store.ts'
import { markUsed, readRoots } from './used-blobs.ts'

export interface PruneOptions extends CallOptions {
  readonly rule: PruneRule
  readonly marks: PruneMarks
  /** Deletes what this run marks, too. */
  readonly now: boolean
  readonly reporter: Reporter
}

/**
 * Holds a shared lock from before the first look until `remove` or the end. Nothing that it relies on can go meanwhile, and what others add
 * is looked at again before anything is deleted.
 */
export interface PruneRun extends AsyncDisposable {
  readonly plan: PrunePlan
  /** Rewrites what the plan says and remembers which packs are to go. Deletes nothing. */
  mark(): Promise<RepackResult>
  /**
   * After `mark`. Gives the shared lock back and takes the exclusive one, unless there is nothing to delete. `undefined` where another program
   * changed the index in between: nothing was deleted, begin again.
   */
  remove(): Promise<DeleteResult | undefined>
}

export interface PruneParts {
  readonly vault: Vault
  readonly packBytes: number
  readonly clock: Clock
  readonly lock: (kind: 'shared' | 'exclusive') => Promise<HeldLock>
}

/** Looks at everything; writes nothing but its lock. Fails with `integrity.*` where anything that a snapshot needs cannot be read or is not there. */
export async function beginPrune(
  { vault, packBytes, clock, lock: take }: PruneParts,
  { rule, marks, now, reporter, signal }: PruneOptions,
): Promise<PruneRun> {
  let lock: HeldLock | undefined = await take('shared')
  const release = async () => {
    await lock?.[Symbol.asyncDispose]()
    lock = undefined
  }
  try {
    // Snapshots before the index: whatever one names, an index that is read later knows.
    const roots = await readRoots(vault, new Set(), { signal, reporter })
    const index = await loadPruneIndex(vault, { signal, reporter })
    await markUsed(vault, index, roots, { signal, reporter })
    const marked = await marks.read()
    const usage = choosePlaces(index, marked)
    const plan = planPrune(
      {
        snapshots: roots.length,
        indexFiles: index.files.size,
        packs: index.packs,
        unindexed: index.unindexed,
        marked,
        duplicates: { blobs: usage.duplicateBlobs, bytes: usage.duplicateBytes },
      },
      rule,
    )
    const known: ReadonlySet<SnapshotId> = new Set(roots.map(({ id }) => id))
    const remember = async (packs: Iterable<PackId>) => {
      try {
        await marks.write(packs)
      } catch (error) {
        reporter.warn({
          warning: `What is to go could not be noted and is looked for again next time: ${messageOf(error)}`,
        })
      }
    }
    const doomed = doomedPacks(plan, { now })
    return {
      plan,
      async mark() {
        if (!lock) throw new Error('A prune marks before it removes')
        const done = await repack(vault, index, new Set(plan.repack.packs), {
          lock,
          packBytes,
          reporter,
          bytesTotal: plan.repack.rewriteBytes,
          signal,
        })
        await remember(doomedPacks(plan, { now: true }))
        return done
      },
      async remove() {
        await release()
        if (doomed.size === 0) return nothing
        await using alone = await take('exclusive')
        const done = await deletePacks(
          vault,
          { index, doomed, known },
          { lock: alone, clock, reporter, signal },
        )
        if (!done) return undefined
        const gone = new Set([...done.packs, ...done.back])
        await remember([...doomedPacks(plan, { now: true })].filter((pack) => !gone.has(pack)))
        return done
      },
      [Symbol.asyncDispose]: release,
    }
  } catch (error) {
    await release()
    throw error
  }
}

const nothing: DeleteResult = {
  packs: [],
  bytes: 0,
  back: [],
  indexFilesRemoved: 0,
  indexFilesWritten: 0,
  newSnapshots: 0,
}
