// One process at a time opens, ends, commits, records, throws away or mends the open transaction: by a lock that goes with the process.
import { mkdirSync } from 'node:fs'
import { messageOf, systemErrorCode, VmlError } from '../base/failure.ts'
import { isWithinProcess } from '../base/process-ancestry.ts'
import { rawToBytes } from '../base/raw-text.ts'
import { type LockHolder, tryRecordLock } from '../wire/record-lock.ts'
import { pathOfNote, readStageNote, type StageNote } from './stage-note.ts'
import { openFolder, pathIn, type Workplace } from './workplace.ts'

type LockedPlace = Pick<Workplace, 'state' | 'clock' | 'reporter' | 'signal'>

/** As long as the longest that is done under it: to record a million paths, to wait for a service that does not come up. */
const lockWaitMs = 600_000
const lockPollMs = 250

/**
 * That the process of a stage is gone does not say that nobody is at work on it: the hook of an apt that was killed goes on. So whoever changes what lies in `stage/open`, or
 * the machine from there, holds this lock, and who has waited looks again whether it is the same transaction. Locks of package managers are taken before it, never after. What is
 * started meanwhile, such as a service, does not inherit it (fcntl(2)). `recover.sh` does not know it: it is for when no VML runs, as at the start of a machine. Fails with
 * `store.locked` after a bounded wait; at once where who holds it is what this process was started by, and waits for us.
 */
export async function withStageLock<Result>(
  place: LockedPlace,
  work: () => Promise<Result>,
): Promise<Result> {
  await using _lock = await lockStage(place)
  return await work()
}

/** For work on the transaction that is open now. Undefined, and nothing is done, where none is, or another process has ended it by the time the lock is there. */
export async function withOpenStage<Result>(
  place: LockedPlace,
  work: () => Promise<Result>,
): Promise<Result | undefined> {
  const came = readOpenNote(place)?.token
  if (came === undefined) return undefined
  return await withStageLock(place, async () =>
    readOpenNote(place)?.token === came ? await work() : undefined,
  )
}

/** What this process does under the lock is about its own transaction. `failed` where another process has ended that one. */
export function requireStillOpen(place: Pick<Workplace, 'state'>, { token }: Pick<StageNote, 'token'>): void {
  if (readOpenNote(place)?.token === token) return
  throw new VmlError('failed', 'Cannot end the transaction: another process has ended it', {
    hint: 'Nothing was changed by this. vml tx list tells whether it was recorded',
  })
}

/** A stage that was cut off while it was opened has no note yet, and is anybody's. */
export function isAnothers(
  place: Pick<Workplace, 'state'>,
  note: Pick<StageNote, 'token'> | undefined,
): boolean {
  const open = readOpenNote(place)
  return open !== undefined && open.token !== note?.token
}

function readOpenNote(place: Pick<Workplace, 'state'>): StageNote | undefined {
  return readStageNote(pathOfNote(openFolder(place)))
}

async function lockStage({ state, clock, reporter, signal }: LockedPlace): Promise<AsyncDisposable> {
  const path = pathIn(state, 'stage.lock')
  mkdirSync(rawToBytes(state), { recursive: true, mode: 0o700 })
  const deadline = clock.now() + lockWaitMs
  for (let tries = 0; ; tries++) {
    const attempt = await tryRecordLock(path).catch((error: unknown) => {
      throw cannotLock(path, error)
    })
    if (attempt.taken) return attempt.lock
    const { holder } = attempt
    if (clock.now() >= deadline || isWithinProcess(process.pid, holder.pid)) throw locked(holder)
    if (tries === 0) reporter.note?.(`Waiting for ${nameOf(holder)}, which is at work on a transaction`)
    await clock.sleep(lockPollMs, { signal })
  }
}

function locked(holder: LockHolder): VmlError {
  return new VmlError('store.locked', `Cannot go on: ${nameOf(holder)} is at work on a transaction`, {
    details: { process: holder.pid },
    hint: 'Nothing was changed by this. Wait until it has ended, then repeat',
  })
}

function nameOf({ pid }: LockHolder): string {
  return pid === 0 ? 'a vml of another container' : `another vml (process ${pid})`
}

function cannotLock(path: string, error: unknown): VmlError {
  return new VmlError('failed', `Cannot lock "${path}": ${messageOf(error)}`, {
    cause: error,
    details: { path, code: systemErrorCode(error) ?? null },
    hint: 'Nothing was changed by this. Remove the cause, and repeat',
  })
}
