// `vml tx run -- COMMAND`: a command in a stage, and what it changed as one transaction.
import type { StdioOptions } from 'node:child_process'
import { isFailure, messageOf, VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { runInStage } from '../stage/run-in-stage.ts'
import { requireBootImages } from './boot-images.ts'
import {
  commitStage,
  discardStage,
  lookAtStage,
  type LookedStage,
  notRecorded,
  type StageEnd,
  type TransactionParts,
} from './end-stage.ts'
import { forgetIntent } from './commit-intent.ts'
import { type OpenStage, openStage, type StageRequest } from './open-stage.ts'
import { commitNeeds, requireSpace } from './space-need.ts'
import { requireNoVmlPath, requireRecordable } from './storable-changes.ts'
import { checkStage, describeValidation, notPassed } from './stage-checks.ts'
import { requireStillOpen, withStageLock } from './stage-lock.ts'
import { openFolder, pathIn } from './workplace.ts'
import type { Validation } from '../model/transaction-record.ts'

export interface CommandRun {
  readonly argv: readonly string[]
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly workingFolder: string
  readonly stdio: StdioOptions
  /** It reads nothing that is gone when it has read it. */
  readonly isRepeatable: boolean
}

export interface RunDecision {
  readonly exitStatus: number
  readonly looked: LookedStage
  /** Asks the checks, once: what they say is recorded with the transaction. */
  readonly check: () => Promise<readonly Validation[]>
}

export type RunOutcome =
  | { readonly kind: 'discarded'; readonly exitStatus: number }
  /** What `decide` did with it. */
  | { readonly kind: 'kept'; readonly exitStatus: number }
  | { readonly kind: 'nothing'; readonly exitStatus: number }
  | {
      readonly kind: 'recorded'
      readonly exitStatus: number
      readonly end: Extract<StageEnd, { kind: 'recorded' }>
    }

/**
 * Runs the command in a stage and asks `decide` what becomes of it; the machine is untouched until then. A failure throws the stage away. Where something
 * that it changes was changed on the machine meanwhile, it is run once more on what the machine is now.
 */
export async function runTransaction(
  parts: TransactionParts,
  request: StageRequest,
  run: CommandRun,
  decide: (decision: RunDecision) => Promise<'commit' | 'discard' | 'keep'>,
): Promise<RunOutcome> {
  try {
    return await runOnce(parts, request, run, decide)
  } catch (error) {
    if (!run.isRepeatable || !isOvertaken(error)) throw error
    parts.reporter.warn({ warning: `${messageOf(error)}. It is run once more on what the machine is now` })
    return await runOnce(parts, request, run, decide)
  }
}

/**
 * By others than what was run: a process of its own that still works would be there the next time, too. What took something out
 * of a folder that is the real one had an effect already: whether it may have it twice is for who ran it.
 */
function isOvertaken(error: unknown): boolean {
  return (
    isFailure(error, 'conflict') &&
    error.details['processes'] === undefined &&
    error.details['marks'] === undefined &&
    error.details['putBack'] === undefined
  )
}

/** The error, with what was put back: a run that was overtaken is not repeated then. */
async function throwAway(parts: TransactionParts, stage: OpenStage, error: unknown): Promise<unknown> {
  const back = await discardStage(parts, stage)
  if (back.length === 0 || !isFailure(error, 'conflict')) return error
  const { code, message, details } = error
  return new VmlError(code, message, {
    cause: error,
    details: { ...details, putBack: back.map(printable) },
    hint: `Nothing of it was committed. It is not run once more by itself, since it had removed, or moved away, what no stage holds. That was put back: look at it, and repeat the command`,
  })
}

async function runOnce(
  parts: TransactionParts,
  request: StageRequest,
  run: CommandRun,
  decide: (decision: RunDecision) => Promise<'commit' | 'discard' | 'keep'>,
): Promise<RunOutcome> {
  const stage = await openStage(parts, request)
  let exitStatus: number
  let looked: LookedStage
  let checking: Promise<readonly Validation[]> | undefined
  try {
    const outcome = await runInStage({
      folder: stage.folder,
      command: run.argv,
      environment: run.environment,
      workingFolder: run.workingFolder,
      stdio: run.stdio,
      signal: parts.signal,
      // Of a terminal, the command has them itself; it decides what they mean.
      forward: ['SIGHUP'],
    })
    exitStatus = outcome.status
    const seen = await lookAtStage(parts, stage)
    looked = seen
    const check = async () => await (checking ??= checkStage(parts, seen))
    const decision = await decide({ exitStatus, looked, check })
    if (decision === 'discard') {
      await withStageLock(parts, async () => await discardStage(parts, stage))
      return { kind: 'discarded', exitStatus }
    }
    if (decision === 'keep') return { kind: 'kept', exitStatus }
  } catch (error) {
    throw await withStageLock(parts, async () => await throwAway(parts, stage, error))
  }
  const end = await withStageLock(
    parts,
    async () => await commitOrDiscard(parts, looked, exitStatus, await checking),
  )
  return end.kind === 'nothing' ? { kind: 'nothing', exitStatus } : { kind: 'recorded', exitStatus, end }
}

/**
 * With the checks, where they were not made yet: what fails is told, and stands in the record. A commit that failed changed nothing; what was committed and could
 * not be recorded stays for `vml tx recover`. `overtaken`: what becomes of the stage where something was changed on the machine meanwhile; kept, it cannot be
 * entered any more. The caller holds the lock of the stage.
 */
export async function commitOrDiscard(
  parts: TransactionParts,
  looked: LookedStage,
  exitStatus: number,
  known?: readonly Validation[],
  overtaken: 'discard' | 'keep' = 'discard',
): Promise<StageEnd> {
  requireStillOpen(parts, looked.stage.note)
  try {
    requireBootImages(parts, looked.changeSet.changes)
    requireNoVmlPath(looked.changeSet.changes)
    requireRecordable(looked.changeSet.changes)
    requireSpace('commit the transaction', commitNeeds(parts, looked))
    const validations = known ?? (await checkStage(parts, looked))
    for (const bad of notPassed(validations)) parts.reporter.warn({ warning: describeValidation(bad) })
    return await commitStage(parts, looked, { exitStatus, validations })
  } catch (error) {
    if (isCommitted(parts)) throw notRecorded(error, 'The change')
    if (overtaken === 'keep' && isOvertaken(error)) {
      forgetIntent(parts)
      throw error
    }
    throw await throwAway(parts, looked.stage, error)
  }
}

function isCommitted(parts: TransactionParts): boolean {
  return parts.disk.look(journalFolder(parts)) !== undefined
}

function journalFolder(parts: TransactionParts) {
  return pathIn(openFolder(parts), 'journal')
}
