// What the hooks of dnf and rpm ask for: dnf is begun anew in a stage where one can be had, else the run of either is recorded live.
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { isFailure, messageOf } from '../base/failure.ts'
import { asRaw, rawFromString, type RawText } from '../base/raw-text.ts'
import { isAtWork, isPartOf } from '../transaction/at-work.ts'
import type { StageEnd, TransactionParts } from '../transaction/end-stage.ts'
import { beginLive, endLive, readOpenLive } from '../transaction/live-transaction.ts'
import { planMountsNow } from '../transaction/open-stage.ts'
import { runHere } from '../transaction/run-live.ts'
import { runTransaction } from '../transaction/run-transaction.ts'
import { withOpenStage } from '../transaction/stage-lock.ts'
import { pathOfNote, readStageNote, type StageNote } from '../transaction/stage-note.ts'
import { openFolder } from '../transaction/workplace.ts'
import { dnfAgainVariable } from '../packages/rpm-hook-scripts.ts'
import { commandOf, titleOf } from './begin-package-run.ts'
import { keepRpmOut } from './packages-kept-out.ts'
import type { TransactionContext } from './transaction-context.ts'

type User = StageNote['user']

/** Whether dnf is to be begun anew in a stage: not within a transaction that is open, and not where there can be none. */
export function canStageDnf(parts: TransactionParts, processId: number): boolean {
  return !isPart(parts, processId) && planMountsNow(parts).kind === 'stage'
}

function isPart(parts: TransactionParts, processId: number): boolean {
  return isPartOf(parts, readStageNote(pathOfNote(openFolder(parts))), processId)
}

/** `part`: it is within a transaction that is open. */
export async function beginRpmRun(
  parts: TransactionParts,
  {
    source,
    processId,
    user,
  }: { readonly source: 'dnf' | 'rpm'; readonly processId: number; readonly user: User },
): Promise<'live' | 'part'> {
  if (isPart(parts, processId)) return 'part'
  const command = commandOf(processId)
  await beginLive(
    parts,
    { source, title: titleOf(withoutPython(command)), note: '', tags: [], command, user, processId },
    source === 'rpm' ? whyNotStaged(command) : whyLive(parts),
  )
  return 'live'
}

function whyNotStaged([program = asRaw('')]: readonly RawText[]): string {
  return basename(program) === 'rpm'
    ? 'rpm was called by itself, and not by dnf'
    : 'dnf5 tells when it begins to change packages, and not before'
}

function whyLive(parts: TransactionParts): string {
  const planned = planMountsNow(parts)
  return planned.kind === 'stage' ? 'dnf did not do it in a stage' : planned.reason
}

/** As it was typed: dnf is a program of Python's, and names itself by its path. */
function withoutPython(command: readonly RawText[]): RawText[] {
  const words = /\/python[\d.]*$/.test(command[0] ?? '') ? command.slice(1) : command
  return words.map((word, at) => (at === 0 ? asRaw(basename(word)) : word))
}

/** Undefined where no transaction of this process is open. */
export async function endDnfRun(parts: TransactionParts, processId: number): Promise<StageEnd | undefined> {
  return await withOpenStage(parts, async () => {
    const live = readOpenLive(parts)
    if (live?.source !== 'dnf' || live.process.id !== processId) return undefined
    return await endLive(parts, live, { kind: 'packages' })
  })
}

/**
 * rpm tells nobody that it has ended: who comes next, or who waited for it, ends its transaction, and not two at once. Undefined where there is
 * none that has ended.
 */
export async function endEndedRpm(
  parts: TransactionParts,
  processId?: number,
): Promise<StageEnd | undefined> {
  if (endedRpm(parts, processId) === undefined) return undefined
  return await withOpenStage(parts, async () => {
    const note = endedRpm(parts, processId)
    return note && (await endLive(parts, note, { kind: 'packages' }))
  })
}

function endedRpm(parts: TransactionParts, processId: number | undefined): StageNote | undefined {
  const live = readOpenLive(parts)
  if (live?.source !== 'rpm' || isAtWork(parts, live)) return undefined
  return processId === undefined || live.process.id === processId ? live : undefined
}

export interface StagedDnf {
  /** What dnf ended with. */
  readonly status: number
  readonly end?: StageEnd
}

/**
 * Runs dnf in a stage and commits what it did. Where it failed after it had begun to change packages, nothing of it is kept, and it is done again on
 * the machine itself, without asking once more; `tell` is told before.
 */
export async function runStagedDnf(
  context: TransactionContext,
  parts: TransactionParts,
  { argv, user }: { readonly argv: readonly string[]; readonly user: User },
  tell: (reason: string) => void,
): Promise<StagedDnf> {
  const { config } = context
  const command = argv.map(rawFromString)
  const folder = await mkdtemp(join(tmpdir(), 'vml-dnf-'))
  // Temporary folders are the real ones in a stage: dnf tells by it that it goes on from questions to deeds.
  const attempted = join(folder, 'attempted')
  const run = {
    argv,
    environment: { ...config.environment, [dnfAgainVariable]: attempted },
    // Where the folder was removed no relative path can be meant.
    workingFolder: config.workingFolder ?? '/',
    stdio: 'inherit' as const,
    // Where it was overtaken it is done again on the machine.
    isRepeatable: false,
  }
  // dnf's plugin then has it recorded live.
  const again = async (reason: string): Promise<StagedDnf> => {
    tell(reason)
    return { status: await runHere({}, { ...run, argv: withoutQuestion(argv) }) }
  }
  let hasRun = false
  try {
    await using locks = new AsyncDisposableStack()
    const request = {
      source: 'dnf' as const,
      title: titleOf(withoutPython(command)),
      note: '',
      tags: [],
      command,
      user,
    }
    const outcome = await runTransaction(
      parts,
      { ...request, processId: process.pid },
      run,
      async ({ exitStatus }) => {
        hasRun = true
        if (exitStatus !== 0) return 'discard'
        locks.use(await keepRpmOut(context))
        return 'commit'
      },
    )
    const { exitStatus: status } = outcome
    if (outcome.kind === 'recorded') return { status, end: outcome.end }
    if (outcome.kind !== 'discarded' || !existsSync(attempted)) return { status }
    return await again(`dnf ended with status ${status} in the stage`)
  } catch (error) {
    // Nothing of it was committed: it is done on what the machine is now.
    if (isFailure(error, 'conflict') && existsSync(attempted)) return await again(messageOf(error))
    if (hasRun || existsSync(attempted) || isFailure(error, 'store.locked') || parts.signal?.aborted)
      throw error
    // Nothing was done yet, and a broken VML is no reason to leave a hole unmended.
    if (!isFailure(error, 'unsupported')) tell(messageOf(error))
    return { status: await runHere({}, run) }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** The question was answered in the stage. */
function withoutQuestion([program = '', ...words]: readonly string[]): string[] {
  return [program, '-y', ...words]
}
