// One at a time takes what was tried, or throws it away.
import type { TransactionParts } from '../transaction/end-stage.ts'
import {
  type ClaimedStage,
  claimWaiting,
  discardWaiting,
  dropOutlived,
  waitingNote,
} from '../transaction/waiting-stage.ts'
import type { Validation } from '../model/transaction-record.ts'
import { withStageLock } from '../transaction/stage-lock.ts'

/** `agree` may refuse what the checks said, by a failure: then it goes on waiting. */
export async function claimTried(
  parts: TransactionParts,
  agree: (validations: readonly Validation[]) => void,
): Promise<ClaimedStage> {
  return await withStageLock(parts, async () => await claimWaiting(parts, process.pid, agree))
}

export async function discardTried(parts: TransactionParts): Promise<string> {
  return await withStageLock(parts, async () => await discardWaiting(parts))
}

/** For a run of apt or dpkg, or what is taken back by itself: the ground changes under what was tried, so that it could not be committed any more. Says so. */
export async function yieldTried(
  parts: TransactionParts,
  why = 'packages change now',
): Promise<string | undefined> {
  if (waitingNote(parts) === undefined) return undefined
  return await withStageLock(parts, async () => {
    if (waitingNote(parts) === undefined) return undefined
    return `"${await discardWaiting(parts)}", which was tried and waited for its commit, is thrown away: ${why}`
  })
}

/** One that waited when the machine was started anew is thrown away; says so. */
export async function dropOutlivedTried(parts: TransactionParts): Promise<string | undefined> {
  if (waitingNote(parts) === undefined) return undefined
  return await withStageLock(parts, async () => await Promise.resolve(dropOutlived(parts)))
}
