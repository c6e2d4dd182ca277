// What the hooks of apt and dpkg ask for: a run of theirs begins, goes on without a stage, and ends as a transaction.
import { readFileSync } from 'node:fs'
import { isWithinProcess } from '../base/process-ancestry.ts'
import { isFailure, messageOf } from '../base/failure.ts'
import { writeFileDurable } from '../base/files.ts'
import { printable, rawFromBytes, type RawText } from '../base/raw-text.ts'
import { requireBootImages } from '../transaction/boot-images.ts'
import { discardStage, lookAtStage, type StageEnd, type TransactionParts } from '../transaction/end-stage.ts'
import { whyRedone } from '../transaction/live-reason.ts'
import { beginLive, endLive, readOpenLive, turnLive } from '../transaction/live-transaction.ts'
import { isInUse, type OpenStage, openStage, readIfThere, readOpenStage } from '../transaction/open-stage.ts'
import { commitOrDiscard } from '../transaction/run-transaction.ts'
import { pathOfNote, readStageNote, type StageNote } from '../transaction/stage-note.ts'
import { inRoot, openFolder, pathIn } from '../transaction/workplace.ts'
import { rootPath } from '../model/raw-path.ts'
import { titleCharactersMax } from '../model/transaction.ts'
import { parseAptPlan } from '../packages/apt-plan.ts'
import { readKeptCalls } from '../packages/hook-calls.ts'
import {
  livePackagesFile,
  livePatterns,
  liveRuleOf,
  type LiveRule,
  liveRules,
  parseLiveRules,
} from '../packages/live-only.ts'
import { redoCalls } from '../packages/redo-calls.ts'
import { policyScriptOf } from './transactions.ts'

export interface PackageRun {
  readonly source: 'apt' | 'dpkg'
  readonly processId: number
  readonly user: StageNote['user']
}

const dpkgProgram = '/usr/bin/dpkg'

/** `part`: it is within a transaction that is open, and becomes a part of that. */
export async function beginPackageRun(
  parts: TransactionParts,
  { source, processId, user }: PackageRun,
): Promise<'staged' | 'live' | 'part'> {
  const open = readStageNote(pathOfNote(openFolder(parts)))
  if (open && isInUse(open) && isWithinProcess(processId, open.process.id)) return 'part'
  const command = commandOf(processId)
  const policy = policyScriptOf()
  const request = {
    source,
    title: titleOf(command),
    note: '',
    tags: [],
    command,
    user,
    processId,
    ...(policy === undefined ? {} : { policy }),
  }
  if (source === 'dpkg') {
    await beginLive(parts, request, 'dpkg was called by itself, and not by apt')
    return 'live'
  }
  try {
    await openStage(parts, request)
    await writeFileDurable(pathIn(openFolder(parts), 'live-names'), livePatterns(rulesOf(parts)))
    return 'staged'
  } catch (error) {
    if (!isFailure(error, 'unsupported')) throw error
    await beginLive(parts, request, messageOf(error))
    return 'live'
  }
}

/** In one line. */
export function titleOf(command: readonly RawText[]): string {
  return command
    .map((word) => printable(word).replaceAll(/\s+/g, ' '))
    .join(' ')
    .slice(0, titleCharactersMax)
}

/** apt's plan is known, and nothing was done yet. Tells why it goes on live, if it does. */
export async function considerPlan(parts: TransactionParts, processId: number): Promise<string | undefined> {
  const stage = stageOf(parts, processId)
  const bytes = readIfThere(pathIn(openFolder(parts), 'plan'))
  if (stage === undefined || bytes === undefined) return undefined
  const rules = rulesOf(parts)
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
  const stage = stageOf(parts, processId)
  if (stage) await turnLive(parts, stage, 'dpkg was not called by its name, and so past the stage')
}

/**
 * What dpkg did in the stage until it failed is done again on the machine itself; the answer is the status of that. `tell` is told before. Where nothing can be
 * recorded nothing is done, and the status stays what it was in the stage.
 */
export async function redoLive(
  parts: TransactionParts,
  { number, status }: { readonly number: number; readonly status: number },
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
    parts.reporter.warn({ warning: `It could not be done without a stage either: ${messageOf(error)}` })
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
    if (!isFailure(error, 'conflict') || readOpenStage(parts) === undefined) throw error
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

/** One that was ended by a signal, or cut off, was not to be done. */
function isRepeatable(calls: Awaited<ReturnType<typeof readKeptCalls>>): boolean {
  return calls.length > 0 && calls.every(({ status }) => status !== undefined && status <= 128)
}

function stageOf(parts: TransactionParts, processId: number): OpenStage | undefined {
  const stage = readOpenStage(parts)
  return stage?.note.process.id === processId ? stage : undefined
}

/** The machine's own first; a list that cannot be read is told, and the others hold. */
function rulesOf(parts: TransactionParts): readonly LiveRule[] {
  const text = readIfThere(inRoot(parts, pathIn(rootPath, livePackagesFile)))
  if (text === undefined) return liveRules
  try {
    return [...parseLiveRules(text.toString('utf8')), ...liveRules]
  } catch (error) {
    parts.reporter.warn({ warning: messageOf(error) })
    return liveRules
  }
}

/** As it was started. */
export function commandOf(processId: number): RawText[] {
  try {
    const words = rawFromBytes(readFileSync(`/proc/${processId}/cmdline`)).split('\0')
    return words.slice(0, -1).map((word) => rawFromBytes(Buffer.from(word, 'latin1')))
  } catch {
    return []
  }
}
