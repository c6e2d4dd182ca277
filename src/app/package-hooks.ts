// What the hooks of apt and dpkg ask for when a run of theirs has begun: it goes on without a stage, and ends as a transaction.
import { isFailure, messageOf, VmlError } from '../base/failure.ts'
import { requireBootImages } from '../transaction/boot-images.ts'
import { discardStage, lookAtStage, type StageEnd, type TransactionParts } from '../transaction/end-stage.ts'
import { whyRedone } from '../transaction/live-reason.ts'
import { endLive, readOpenLive, turnLive } from '../transaction/live-transaction.ts'
import { type OpenStage, readIfThere, readOpenStage } from '../transaction/open-stage.ts'
import { commitOrDiscard } from '../transaction/run-transaction.ts'
import { withOpenStage } from '../transaction/stage-lock.ts'
import { openFolder, pathIn } from '../transaction/workplace.ts'
import { parseAptPlan } from '../packages/apt-plan.ts'
import { readKeptCalls } from '../packages/hook-calls.ts'
import { liveRuleOf } from '../packages/live-only.ts'
import { redoCalls } from '../packages/redo-calls.ts'
import { liveRulesOf } from './begin-package-run.ts'

const dpkgProgram = '/usr/bin/dpkg'

/** apt's plan is known, and nothing was done yet. Tells why it goes on live, if it does. */
export async function considerPlan(parts: TransactionParts, processId: number): Promise<string | undefined> {
  return await withOpenStage(parts, async () => await planWithin(parts, processId))
}

async function planWithin(parts: TransactionParts, processId: number): Promise<string | undefined> {
  const stage = stageOf(parts, processId)
  const bytes = readIfThere(pathIn(openFolder(parts), 'plan'))
  if (stage === undefined || bytes === undefined) return undefined
  const rules = liveRulesOf(parts)
  for (const { package: name } of parseAptPlan(bytes).actions) {
    const rule = liveRuleOf(name, rules)
    if (rule === undefined) continue
    const reason = `${name} is installed on the system itself: ${rule.reason}`
    await turnLive(parts, stage, reason)
    return reason
  }
  return undefined
}

/** dpkg was started past the stage, in which nothing was done yet. */
export async function goLive(parts: TransactionParts, processId: number): Promise<void> {
  await withOpenStage(parts, async () => {
    const stage = stageOf(parts, processId)
    if (stage) await turnLive(parts, stage, 'dpkg was not called by its name, and so past the stage')
  })
}

/**
 * What dpkg did in the stage until it failed is done again on the machine itself; the answer is the status of that. `tell` is told before. Where nothing can be
 * recorded nothing is done, and the status stays what it was in the stage.
 */
export async function redoLive(
  parts: TransactionParts,
  call: RedoneCall,
  tell: (reason: string) => void,
): Promise<number> {
  return (await withOpenStage(parts, async () => await redoWithin(parts, call, tell))) ?? call.status
}

interface RedoneCall {
  readonly number: number
  readonly status: number
}

async function redoWithin(
  parts: TransactionParts,
  { number, status }: RedoneCall,
  tell: (reason: string) => void,
): Promise<number> {
  const stage = readOpenStage(parts)
  const folder = openFolder(parts)
  const calls = (await readKeptCalls(folder)).filter((call) => call.number <= number)
  if (stage === undefined || calls.length !== number) return status
  const reason = whyRedone(stage, status)
  try {
    await turnLive(parts, stage, reason)
  } catch (error) {
    parts.reporter.warn({
      warning: `It could not be done without a stage either: ${messageOf(error)}. ${onlyStaged}. ${isFailure(error, 'unavailable.space') ? 'Make room, and repeat' : 'Remove the cause, and repeat'}`,
    })
    return status
  }
  tell(reason)
  return await redoCalls({ stage: folder, calls, dpkg: dpkgProgram })
}

export interface PackageRunEnd {
  readonly end: StageEnd
  /** Of what had to be done once more without a stage, by now: another one than 0 was told to nobody yet. */
  readonly redoStatus?: number
}

/** Undefined where no transaction of this process is open. */
export async function endPackageRun(
  parts: TransactionParts,
  processId: number,
  tell: (reason: string) => void,
): Promise<PackageRunEnd | undefined> {
  return await withOpenStage(parts, async () => await endWithin(parts, processId, tell))
}

async function endWithin(
  parts: TransactionParts,
  processId: number,
  tell: (reason: string) => void,
): Promise<PackageRunEnd | undefined> {
  const live = readOpenLive(parts)
  if (live)
    return live.process.id === processId
      ? { end: await endLive(parts, live, { kind: 'packages' }) }
      : undefined
  const stage = stageOf(parts, processId)
  if (stage === undefined) return undefined
  const folder = openFolder(parts)
  const calls = await readKeptCalls(folder)
  try {
    const looked = await lookAtStage(parts, stage)
    // Asked here, too: what is refused while the stage is there is done again on the machine.
    requireBootImages(parts, looked.changeSet.changes)
    return { end: await commitOrDiscard(parts, looked, calls.at(-1)?.status ?? 0, undefined, 'keep') }
  } catch (error) {
    if (!isFailure(error, 'conflict') || readOpenStage(parts) === undefined)
      throw parts.disk.look(folder) === undefined ? withStagedWords(error) : error
    // Nothing of it was committed: it is done again on what the machine is now.
    const reason = messageOf(error)
    if (!isRepeatable(calls)) {
      await discardStage(parts, stage)
      throw error
    }
    const note = await turnLive(parts, stage, reason)
    tell(reason)
    const redoStatus = await redoCalls({ stage: folder, calls, dpkg: dpkgProgram })
    const end = await endLive(parts, note, {
      kind: 'packages',
      result: { exitStatus: redoStatus, validations: [] },
    })
    return { end, redoStatus }
  }
}

/** dpkg and apt tell what they did, and failed to do, as if it had been done to the machine. */
const onlyStaged =
  'What dpkg and apt say of it is of the stage alone: on the machine no package was changed, and none is half installed'

function withStagedWords(error: unknown): unknown {
  if (!(error instanceof VmlError)) return error
  const { code, message, details, hint = 'Repeat it' } = error
  return new VmlError(code, message, { cause: error, details, hint: `${hint}.\n${onlyStaged}` })
}

/** One that was ended by a signal, or cut off, was not to be done. */
function isRepeatable(calls: Awaited<ReturnType<typeof readKeptCalls>>): boolean {
  return calls.length > 0 && calls.every(({ status }) => status !== undefined && status <= 128)
}

function stageOf(parts: TransactionParts, processId: number): OpenStage | undefined {
  const stage = readOpenStage(parts)
  return stage?.note.process.id === processId ? stage : undefined
}
