// After a crash: what is left of a stage is thrown away, and what was being committed is committed, or taken back, and recorded.
import { writeFileSync } from 'node:fs'
import type { LoggedEntry } from '../engine/entries.ts'
import { entryName } from '../engine/entries.ts'
import { describeLeft } from '../stage/commit.ts'
import { recover } from '../stage/recover.ts'
import { endStageProcesses } from '../stage/stage-processes.ts'
import { forgetJournal } from '../stage/forget-journal.ts'
import { readJournal, readState } from '../stage/journal.ts'
import { isFailure, messageOf, VmlError } from '../base/failure.ts'
import { compareRaw, type RawPath } from '../model/raw-path.ts'
import type { PathChange } from '../model/transaction.ts'
import type { Validation } from '../model/transaction-record.ts'
import {
  findRecord,
  isUndo,
  outsideChanges,
  readCommitted,
  recordCommitted,
  type StageEnd,
  type TransactionParts,
} from './end-stage.ts'
import { reloadServices, startServices } from '../packages/services.ts'
import { isAtWork, isElsewhere, nameOfWorker } from './at-work.ts'
import { noteOrForget } from './baseline.ts'
import { describeBootLog, readBootLog } from './boot-log.ts'
import { type CommitIntent, readIntent } from './commit-intent.ts'
import { readTransaction } from './transaction-entry.ts'
import { putBackTaken } from './held-files.ts'
import { keptByJournal, tellCame } from './kept-before.ts'
import {
  dropStage,
  isOutsideOfRun,
  readIfThere,
  restoreOutside,
  stoppedPath,
  tellLeftOutside,
} from './open-stage.ts'
import { hasCaptured } from './live-files.ts'
import { endLive, isCaptured } from './live-transaction.ts'
import { noteAskedProbation } from './probation.ts'
import { isRemade, regenerateAfter, removeMadeAnew } from './make-anew.ts'
import {
  cameAnew,
  changesMadeAnew,
  keepSince,
  leaveSince,
  putBackCopies,
  readSeenBefore,
  requireMadeAnew,
  type SeenBefore,
  withSeen,
} from './before-anew.ts'
import { tellMountedFiles } from './mounted-files.ts'
import { provePackagesAfterCrash } from './prove-packages.ts'
import { withStageLock } from './stage-lock.ts'
import { pathOfNote, readStageNote, type StageNote } from './stage-note.ts'
import { openFolder, pathIn, type Workplace } from './workplace.ts'

export type Recovered =
  | { readonly kind: 'nothing' }
  /** It had changed nothing of the machine, or that was taken back. */
  | { readonly kind: 'discarded'; readonly title: string; readonly cause?: string }
  | { readonly kind: 'recorded'; readonly title: string; readonly end: StageEnd }
  | { readonly kind: 'known'; readonly entry: LoggedEntry }

/** Whether something is left that nobody works on any more. */
export function isLeftBehind(place: Workplace): boolean {
  const folder = openFolder(place)
  if (place.disk.look(folder) === undefined) return false
  const note = readStageNote(pathOfNote(folder))
  return note === undefined || (!isAtWork(place, note) && note.waiting !== true)
}

/**
 * Fails with `store.locked` while the process that opened the stage still runs, and for one that waits for its commit. `backward` takes a
 * commit back that was cut off, instead of going on with it.
 */
export async function recoverStage(
  parts: TransactionParts,
  options: RecoveryOptions = {},
): Promise<Recovered> {
  // One whose process still runs is not waited for.
  requireLeftBehind(parts)
  return await withStageLock(parts, async () => {
    const stopped = readIfThere(stoppedPath(parts))
    const recovered = await recoverOnce(parts, options)
    if (stopped) await startAgain(parts, stopped.toString('utf8').trim().split('\n'))
    return recovered
  })
}

/** What is to be mended, if there is anything. */
function requireLeftBehind(place: Workplace): StageNote | undefined {
  const note = readStageNote(pathOfNote(openFolder(place)))
  if (note && isAtWork(place, note))
    throw new VmlError(
      'store.locked',
      `Cannot recover: ${nameOfWorker(note.process)} is at work on a transaction`,
      {
        hint: `Nothing was changed. Wait until it has ended${isElsewhere(note.process) ? '. Where it cannot be seen from here, vml tx recover outside of all containers can tell whether it still runs' : ''}`,
      },
    )
  return note
}

async function startAgain(
  { shell, clock, reporter }: TransactionParts,
  units: readonly string[],
): Promise<void> {
  await reloadServices(shell)
  const stoppedAt = clock.now()
  const standings = await startServices(
    shell,
    units.map((unit) => ({ unit, stoppedAt })),
    clock,
  )
  for (const { failure } of standings) if (failure !== undefined) reporter.warn({ warning: failure })
}

interface RecoveryOptions {
  readonly backward?: boolean
  readonly waiting?: boolean
}

async function recoverOnce(parts: TransactionParts, options: RecoveryOptions): Promise<Recovered> {
  const folder = openFolder(parts)
  if (parts.disk.look(folder) === undefined) return { kind: 'nothing' }
  const note = requireLeftBehind(parts)
  const title = note?.title ?? 'a transaction that had not begun'
  if (note?.unread) {
    // Nothing else tells what is kept of which paths.
    if (note.scan === undefined && hasCaptured(parts)) throw note.unread
    parts.reporter.warn({ warning: `${messageOf(note.unread)}. It is ended by what can be told of it` })
  }
  const bootLog = readBootLog(parts)
  if (bootLog !== undefined) parts.reporter.warn({ warning: describeBootLog(bootLog) })
  if (note?.waiting && !options.waiting)
    throw new VmlError('store.locked', `Cannot recover: "${title}" was tried and waits for its commit`, {
      hint: 'Nothing was changed. vml tx commit takes it, vml tx discard throws it away',
    })
  const recordOf = async () => note && (await findRecord(parts, note.token))
  // What a record says stays so.
  const direction = options.backward && (await recordOf()) === undefined ? 'backward' : undefined
  // The machine first, whatever becomes of the logbook.
  const seen = readSeenBefore(parts)
  const toMakeAnew = beginTakeBack(parts, direction, seen)
  const recovery = recover(parts.disk, pathIn(folder, 'journal'), direction)
  const { journal, left } = recovery
  if (left) parts.reporter.warn({ warning: describeLeft(left) })
  const entry = await recordOf()
  if (entry) {
    // It was stored right before the crash; its journal may be forgotten already.
    await noteOrForget(parts, (await readTransaction(parts.logbook.repository, entry, parts)).changes)
    if (journal) tellCame(parts, forgetJournal(parts.disk, journal))
    if (note && entry.number !== undefined)
      await noteAskedProbation(parts, note, { number: entry.number, transaction: entry.id })
    dropStage(parts, note, note?.plan ?? note?.scan)
    return { kind: 'known', entry }
  }
  if (journal && note) {
    const committed = await readCommitted(parts)
    if (committed) {
      const finished = isUndo(note) ? await finishUndo(parts, committed, seen) : []
      const end = await recordCommitted(parts, {
        ...committed,
        changes: [...committed.changes, ...(await changesMadeAnew(parts, seen))].toSorted((one, other) =>
          compareRaw(one.path, other.path),
        ),
        result: {
          ...committed.result,
          validations: [...committed.result.validations, ...finished],
          log: bootLog,
        },
        note,
        plan: note.plan,
        kept: withSeen(keptByJournal(parts.disk, journal), seen),
        outside: await outsideOfRun(parts, committed.changes),
      })
      return { kind: 'recorded', title, end }
    }
  }
  if (note && isCaptured(parts, note)) {
    const end = await endLive(parts, note, { kind: 'cut off' })
    return end.kind === 'nothing' ? { kind: 'nothing' } : { kind: 'recorded', title, end }
  }
  if (toMakeAnew) {
    const since = await keepSince(parts, seen)
    await regenerateAfter('take-back', parts, toMakeAnew)
    await leaveSince(parts, since)
    await putBackCopies(parts, seen)
  }
  if (note?.source === 'apt' || note?.unread) await restoreOutside(parts)
  // What still works in it would tell of things as done that are gone.
  if (note?.plan) await endStageProcesses(note.token, parts.clock)
  await tellMountedFiles(parts)
  putBackTaken(parts)
  dropStage(parts, note, note?.plan ?? note?.scan)
  const cause = recovery.cause === undefined ? undefined : messageOf(recovery.cause)
  return { kind: 'discarded', title, ...(cause === undefined ? {} : { cause }) }
}

/** Where an undo was cut off, whatever it did after its commit may not have been done, or not to its end. */
async function finishUndo(
  parts: TransactionParts,
  committed: NonNullable<Awaited<ReturnType<typeof readCommitted>>>,
  seen: SeenBefore,
): Promise<Validation[]> {
  const since = await keepSince(parts, seen)
  const failed = await regenerateAfter('commit', parts, committed.toMakeAnew)
  await leaveSince(parts, since)
  if (failed.length === 0) failed.push(...(await toldMadeAnew(parts, seen)))
  return committed.isProven ? failed : [...failed, ...(await provePackagesAfterCrash(parts, committed))]
}

/** A program that ends well and makes nothing is no success; but nothing is taken back for it any more. */
async function toldMadeAnew(parts: TransactionParts, seen: SeenBefore): Promise<Validation[]> {
  try {
    await requireMadeAnew(parts, seen)
    return []
  } catch (error) {
    if (!isFailure(error, 'proof')) throw error
    parts.reporter.warn({ warning: error.message })
    return [{ name: 'made anew', outcome: 'failed', message: error.message }]
  }
}

/**
 * Of an undo whose commit had ended, programs may have made caches anew already: those are in the way of what comes back at their paths, and others are to be made of
 * what is back. What: undefined where that cannot be. It is noted first: the journal, which tells how far all was, is forgotten before it is done.
 */
function beginTakeBack(
  parts: TransactionParts,
  direction: 'backward' | undefined,
  seen: SeenBefore,
): CommitIntent['toMakeAnew'] {
  const folder = pathIn(openFolder(parts), 'journal')
  const state = readState(folder)
  const hadEnded = state === 'COMMITTED' && direction === 'backward'
  const isBegun = hadEnded || state === 'TAKING-BACK' || state === 'TAKEN-BACK'
  const { toMakeAnew = [] } = readIntent(parts)
  if (toMakeAnew.length === 0 || !(isBegun || parts.disk.look(takenBackPath(parts)))) return undefined
  try {
    writeFileSync(takenBackPath(parts), '', { mode: 0o600 })
    parts.disk.syncFolder(openFolder(parts))
  } catch {
    // On a disk that is full the note is missed only by who is killed now, too.
  }
  // Half taken back, what lies there may be the old one already.
  if (hadEnded)
    removeMadeAnew(parts, [
      ...cameAnew(seen),
      ...(readJournal(folder)?.steps ?? []).flatMap(({ kind, path }) =>
        kind === 'delete' && isRemade(path) ? [path] : [],
      ),
    ])
  return toMakeAnew
}

function takenBackPath(place: Workplace): RawPath {
  return pathIn(openFolder(place), 'taken-back')
}

/** What is written there by somebody else since is not in the record: it would be undone with it. */
async function outsideOfRun(
  place: Workplace,
  committed: readonly PathChange[],
): Promise<readonly PathChange[]> {
  const known = new Set(committed.map(({ path }) => path))
  const outside = (await outsideChanges(place)).filter(({ path }) => !known.has(path))
  const left = outside.map(({ path }) => path).filter((path) => !isOutsideOfRun(place, path))
  tellLeftOutside(place, left)
  return outside.filter(({ path }) => !left.includes(path))
}

export function describeRecovered(recovered: Recovered): string | undefined {
  switch (recovered.kind) {
    case 'nothing':
      return undefined
    case 'known':
      return `${entryName(recovered.entry)} had been recorded; what was left of it was removed`
    case 'discarded':
      return `"${recovered.title}" was cut off: nothing of it was kept${recovered.cause === undefined ? '' : ` (${recovered.cause})`}`
    case 'recorded':
      if (recovered.end.kind === 'recorded' && recovered.end.transaction.document.mode === 'live')
        return `"${recovered.title}" was cut off: what had changed until now is recorded as #${recovered.end.transaction.number}`
      return `"${recovered.title}" was cut off while it was committed: it was finished and recorded`
  }
}
