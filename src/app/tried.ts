// One at a time takes what was tried, or throws it away.
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { TransactionParts } from '../transaction/end-stage.ts'
import { type ClaimedStage, claimWaiting, discardWaiting, waitingNote } from '../transaction/waiting-stage.ts'
import type { Validation } from '../model/transaction-record.ts'
import { withFileLock } from './file-lock.ts'
import { systemFolder } from './system-logbook.ts'

/** `agree` may refuse what the checks said, by a failure: then it goes on waiting. */
export async function claimTried(
  parts: TransactionParts,
  agree: (validations: readonly Validation[]) => void,
): Promise<ClaimedStage> {
  return await withTriedLock(parts.clock, async () => await claimWaiting(parts, process.pid, agree))
}

export async function discardTried(parts: TransactionParts): Promise<string> {
  return await withTriedLock(parts.clock, async () => await discardWaiting(parts))
}

/** For a run of apt or dpkg: the ground changes under what was tried, so that it could not be committed any more. Says so. */
export async function yieldTried(parts: TransactionParts): Promise<string | undefined> {
  if (waitingNote(parts) === undefined) return undefined
  return await withTriedLock(parts.clock, async () => {
    if (waitingNote(parts) === undefined) return undefined
    return `"${await discardWaiting(parts)}", which was tried and waited for its commit, is thrown away: packages change now`
  })
}

async function withTriedLock<Result>(clock: Clock, work: () => Promise<Result>): Promise<Result> {
  return await withFileLock(join(systemFolder, 'tried.lock'), clock, work)
}
