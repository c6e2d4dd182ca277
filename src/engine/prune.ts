// Frees the space of what no entry needs: looks, marks, deletes what an earlier run marked. See store/prune.ts for why that is safe.
import { join } from 'node:path'
import { isFailure, VmlError } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import type { RepositoryId } from '../model/ids.ts'
import { openMarksFile, type PruneMarks } from '../store/prune-marks.ts'
import type { PrunePlan, PruneRule } from '../store/prune-plan.ts'
import type { DeleteResult } from '../store/prune-delete.ts'
import type { RepackResult } from '../store/prune-repack.ts'
import type { Repository } from '../store/store.ts'

export interface PruneRequest {
  readonly rule: PruneRule
  /** This computer's marks for this logbook. */
  readonly marks: PruneMarks
  /** Deletes what this run marks, too, instead of leaving it to the next one. */
  readonly now: boolean
  /** How long to try where others hold a lock. */
  readonly waitMs: number
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
}

export interface PruneReport {
  readonly plan: PrunePlan
  readonly repacked: RepackResult
  readonly deleted: DeleteResult
}

/** Another prune in between is rare; more than these mean that something else is wrong. */
const triesMax = 3

export function pruneMarksOf(stateFolder: string, repository: RepositoryId): PruneMarks {
  return openMarksFile(join(stateFolder, 'prune', `${repository}.json`), repository)
}

/** What a prune would do; changes nothing. */
export async function planPruning(repository: Repository, request: PruneRequest): Promise<PrunePlan> {
  await using run = await repository.beginPrune(request)
  return run.plan
}

/** `onPlan` is told what is about to be done. `store.locked` after the marking means that only the deletion is left to do. */
export async function runPruning(
  repository: Repository,
  request: PruneRequest,
  onPlan: (plan: PrunePlan) => void = () => {},
): Promise<PruneReport> {
  for (let tries = 1; tries <= triesMax; tries++) {
    await using run = await repository.beginPrune(request)
    onPlan(run.plan)
    const repacked = await run.mark()
    const deleted = await run.remove().catch((error: unknown) => {
      throw isFailure(error, 'store.locked') ? stillMarked(error) : error
    })
    if (deleted) return { plan: run.plan, repacked, deleted }
  }
  throw new VmlError(
    'store.locked',
    `Cannot prune "${repository.location}": other programs change its index all the time`,
    {
      hint: 'What can go is marked. Run vml prune again when no other prune runs',
    },
  )
}

function stillMarked(error: VmlError): VmlError {
  return new VmlError('store.locked', `Nothing was deleted: ${error.message}`, {
    cause: error,
    details: error.details,
    hint: 'What can go is marked, and the next vml prune deletes it; vml prune --wait 10m waits for its turn',
  })
}
