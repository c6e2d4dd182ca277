// Watches of transactions on this machine: begun with `vml tx run --validate`, taken up by whoever comes after a crash or a start of the machine.
import { join } from 'node:path'
import { isFailure, messageOf, VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { findRecord, type TransactionParts } from '../transaction/end-stage.ts'
import { workerOf } from '../transaction/at-work.ts'
import { runUndo, isNothing } from '../transaction/run-undo.ts'
import type { StoredTransaction } from '../transaction/transaction-entry.ts'
import { planUndo } from '../transaction/undo.ts'
import {
  isAbandoned,
  readProbation,
  readProbationQuietly,
  removeProbation,
  numbersOnProbation,
  type ProbationNote,
  writeProbation,
} from '../transaction/probation-note.ts'
import { describeRecovered, isLeftBehind, recoverStage } from '../transaction/recover-stage.ts'
import {
  type Hindrance,
  type ProbationEnd,
  type ProbationParts,
  runProbation,
} from '../transaction/probation.ts'
import { withOpenStage } from '../transaction/stage-lock.ts'
import { pathOfNote, readStageNote, writeStageNote } from '../transaction/stage-note.ts'
import { openFolder } from '../transaction/workplace.ts'
import { keepPackagesOut } from './packages-kept-out.ts'
import { withFileLock } from './file-lock.ts'
import type { Logbook } from './open.ts'
import { systemFolder } from './system-logbook.ts'
import type { TransactionContext } from './transaction-context.ts'
import { yieldTried } from './tried.ts'
import { openTransactionParts } from './transactions.ts'
import { openUndoRun } from './undo-run.ts'
import { installProbationTimer, removeProbationTimer } from './probation-timer.ts'

export interface BegunProbation {
  readonly number: number
  /** Whether systemd takes it up by itself when this process ends early. */
  readonly byItself: boolean
}

/** It was noted with its record: written anew here, it would come back over a confirmation that came since. */
export async function beginProbation(
  parts: TransactionParts,
  { number }: StoredTransaction,
): Promise<BegunProbation> {
  return { number, byItself: await isTakenUp(parts) }
}

/** After a crash, and where apt begins, which holds the locks that are needed for more: those whose process is gone are told, and taken up by systemd where that runs the machine. */
export async function tellAbandonedProbations(parts: TransactionParts): Promise<void> {
  for (const number of numbersOnProbation(parts)) {
    const note = readProbationQuietly(parts, number)
    if (note === undefined || !isAbandoned(parts, note)) continue
    const goesOn = (await isTakenUp(parts))
      ? 'systemd watches it'
      : `vml tx resume-probation goes on ${note.reason === undefined ? 'watching it' : 'with that'}`
    parts.reporter.warn({
      warning:
        note.reason === undefined
          ? `#${number} is on probation until ${note.until}: ${goesOn}; vml tx confirm ${number} keeps it`
          : `#${number} is to be taken back (${note.reason}): ${goesOn}`,
    })
  }
}

async function isTakenUp(parts: TransactionParts): Promise<boolean> {
  try {
    return await installProbationTimer(parts.shell, parts.signal ?? neverAborted)
  } catch (error) {
    parts.reporter.warn({ warning: messageOf(error) })
    return false
  }
}

/** To its end. */
export async function goOnWithProbation(
  context: TransactionContext,
  logbook: Logbook,
  parts: TransactionParts,
  number: number,
  { waits }: Pick<ProbationParts, 'waits'>,
): Promise<ProbationEnd> {
  const watch: ProbationParts = {
    place: parts,
    withLock: async (work) => await withProbationLock(parts, work),
    forgetAsked: async (asked) => await forgetAsked(parts, asked),
    takeBack: async (note, reason) => await takeBack(context, logbook, note, reason),
    waits,
  }
  const end = await runProbation(watch, number)
  if (numbersOnProbation(parts).length === 0) await removeProbationTimer(parts.shell, context.signal)
  return end
}

/** Those that nobody watches any more become this process's: all, or only those whose time is over. */
export async function claimProbations(
  parts: TransactionParts,
  which: 'all' | 'overdue',
): Promise<readonly number[]> {
  if (numbersOnProbation(parts).length === 0) return []
  return await withProbationLock(parts, async () => {
    const claimed: number[] = []
    for (const number of numbersOnProbation(parts)) {
      const note = readProbation(parts, number)
      if (note === undefined || !isAbandoned(parts, note)) continue
      if (which === 'overdue' && note.reason === undefined && Date.parse(note.until) > parts.clock.now())
        continue
      await writeProbation(parts, { ...note, process: workerOf(process.pid) })
      claimed.push(number)
    }
    return claimed
  })
}

/** Order: what its stage asks for, then the watch: cut off between them, it is watched still. Fails with `not-found` where it is not watched, `conflict` where it is being taken back already. */
export async function confirmProbation(parts: TransactionParts, number: number): Promise<void> {
  const wasAsked = await forgetAsked(parts, number)
  await withProbationLock(parts, async () => {
    const note = numbersOnProbation(parts).includes(number) ? readProbationQuietly(parts, number) : undefined
    if (note?.reason !== undefined && note.gaveUp === undefined)
      throw new VmlError('conflict', `Cannot confirm #${number}: it is being taken back: ${note.reason}`, {
        hint: `To bring it back afterwards: vml tx redo ${number}`,
      })
    if (!(await removeProbation(parts, number)) && !wasAsked)
      throw new VmlError('not-found', `Cannot confirm #${number}: nobody waits for that`, {
        hint: 'Nothing was changed. vml tx list tells whether it was taken back',
      })
  })
  if (numbersOnProbation(parts).length === 0)
    await removeProbationTimer(parts.shell, parts.signal ?? neverAborted)
}

/** What was cut off after its record has a stage that asks for the watch until somebody mends it. Gives whether this one did. */
async function forgetAsked(parts: TransactionParts, number: number): Promise<boolean> {
  const file = pathOfNote(openFolder(parts))
  if (readStageNote(file)?.probation === undefined) return false
  const wasAsked = await withOpenStage(parts, async () => {
    const note = readStageNote(file)
    if (note?.probation === undefined || (await findRecord(parts, note.token))?.number !== number)
      return false
    if (note.unread) throw note.unread
    await writeStageNote(file, { ...note, probation: undefined })
    return true
  })
  return wasAsked ?? false
}

/** As `vml tx undo` does it, with the reason in the record. */
async function takeBack(
  context: TransactionContext,
  logbook: Logbook,
  { number, transaction }: ProbationNote,
  reason: string,
): Promise<Hindrance | undefined> {
  let isBegun = false
  try {
    await mendFirst(openTransactionParts(context, logbook))
    const { run, listed, stateHooks } = await openUndoRun(
      context,
      logbook,
      ['vml', 'tx', 'undo', String(number)],
      new Set([transaction]),
    )
    const found = listed.find(({ entry }) => entry.id === transaction)
    if (found === undefined) return { why: `#${number} is not in the logbook`, passes: 'never' }
    if (found.undoneBy) return undefined
    await using _locks = await keepPackagesOut(context, lockWaitMs)
    const plan = await planUndo(
      { place: run, logbook, listed, contents: run.contents, stateHooks: stateHooks() },
      { kind: 'undo', subject: [found.entry], transactions: [found], data: false, needed: 'refuse' },
    )
    const { paths, conflicts } = plan.paths
    const [first] = conflicts
    // Nothing would be taken back: who asked for a watch must not read that all is as it was.
    if (first && paths.length + plan.regenerations.length === 0)
      return { why: `"${printable(first.path)}": ${first.reason}`, passes: 'never' }
    if (!isNothing(plan)) {
      await throwTriedAway(run, number)
      isBegun = true
      await runUndo({ ...run, note: reason }, plan)
    }
    if (first)
      context.reporter.warn({
        warning: `${conflicts.length === 1 ? '1 path' : `${conflicts.length} paths`} of #${number} stayed as they were, changed again since: ${conflicts.map(({ path }) => printable(path)).join(', ')}`,
      })
    return undefined
  } catch (error) {
    if (context.signal.aborted) throw error
    return {
      why: messageOf(error),
      passes: passesOf(error, isBegun),
    }
  }
}

/** What was planned, and is refused as it is done or proved, may have met somebody who was writing. */
function passesOf(error: unknown, isBegun: boolean): Hindrance['passes'] {
  if (isFailure(error, 'store.locked', 'unavailable.space', 'unavailable.network', 'unavailable.timeout'))
    return 'by itself'
  return isBegun && isFailure(error, 'conflict', 'proof') ? 'perhaps' : 'never'
}

/** What was tried would wait for its commit, for days perhaps, and who is locked out of the machine can neither take it nor throw it away. */
async function throwTriedAway(parts: TransactionParts, number: number): Promise<void> {
  const yielded = await yieldTried(parts, `#${number} is taken back now`)
  if (yielded !== undefined) parts.reporter.warn({ warning: yielded })
}

/** What was cut off since this process looked last is in the way, and may be in the list. */
async function mendFirst(parts: TransactionParts): Promise<void> {
  if (!isLeftBehind(parts)) return
  const told = describeRecovered(await recoverStage(parts))
  if (told !== undefined) parts.reporter.warn({ warning: told })
}

/** An upgrade that is under way may take that long. */
const lockWaitMs = 600_000

async function withProbationLock<Result>(
  { clock }: TransactionParts,
  work: () => Promise<Result>,
): Promise<Result> {
  return await withFileLock(join(systemFolder, 'probation.lock'), clock, work)
}

const neverAborted = new AbortController().signal
