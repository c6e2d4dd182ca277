// `vml tx run --on MACHINE -- COMMAND`: a command in a stage of a machine over ssh, and what it changed there as one transaction, committed there and recorded here.
import { isFailure, messageOf, VmlError } from '../base/failure.ts'
import { asRaw, printable } from '../base/raw-text.ts'
import { isNothingMeant } from '../model/mere-writing.ts'
import type { PathChange } from '../model/transaction.ts'
import type { ServiceAction, TakenBack, Validation } from '../model/transaction-record.ts'
import { overlaysOf, type MountPlan } from '../stage/mount-plan.ts'
import { enterAndTellScript, processesScript } from '../stage/remote-stage-script.ts'
import { singleQuoted } from '../wire/quote.ts'
import { madeBlind, madeInStage } from './boot-images.ts'
import { type CommitIntent, encodeIntended, encodeIntent } from './commit-intent.ts'
import type { OpenLogbook } from '../engine/entries.ts'
import { keepPackages, type PackagesNow, readPackagesNow } from './packages-now.ts'
import { checkRemoteStage } from './remote-checks.ts'
import { inLayer, readRemoteChanges } from './remote-changes.ts'
import {
  commitRemote,
  finishRemote,
  forgetRemote,
  type PreparedRemote,
  prepareRemote,
  remoteState,
} from './remote-commit.ts'
import {
  readRemoteFile,
  type RemoteMachine,
  remoteOpen,
  statusesOf,
  tryWork,
  work,
  writeRemoteFile,
} from './remote-machine.ts'
import { remotePlace } from './remote-place.ts'
import { makeReadyRemote } from './remote-ready.ts'
import { recordRemote } from './remote-record.ts'
import {
  dropRemote,
  lockRemote,
  openRemoteStage,
  planRemoteMounts,
  type RemoteRequest,
  type RemoteStage,
} from './remote-stage.ts'
import { remoteCommitNeeds } from './remote-space.ts'
import { requireSpace } from './space-need.ts'
import { describeValidation, notPassed, requirePassed } from './stage-checks.ts'
import type { StageNote } from './stage-note.ts'
import { readToldChanges } from './storable-changes.ts'
import type { StoredTransaction } from './transaction-entry.ts'

export interface RemoteParts {
  readonly machine: RemoteMachine
  readonly logbook: OpenLogbook
  /** What has to be done for services after the commit; tells what was done. */
  restartServices(queue: Buffer): Promise<readonly ServiceAction[]>
}

export interface RemoteRun {
  readonly argv: readonly string[]
  /** Runs a program of the machine as root, at this process's own terminal where it has one. How it ended is told by the machine itself. */
  attach(argv: readonly string[]): Promise<void>
  /** Nothing is committed where a check does not pass. */
  readonly isStrict: boolean
  /** Whether what it changed is kept. */
  decide(exitStatus: number, changes: readonly PathChange[]): 'commit' | 'discard'
}

export type RemoteOutcome =
  | { readonly kind: 'discarded' | 'nothing'; readonly exitStatus: number }
  | { readonly kind: 'recorded'; readonly exitStatus: number; readonly transaction: StoredTransaction }

const smallBytesMax = 64 * 1024
const queueBytesMax = 16 * 1024 * 1024

/** The machine is untouched until it is committed there; a failure before throws the stage away. */
export async function runRemoteTransaction(
  parts: RemoteParts,
  request: RemoteRequest,
  run: RemoteRun,
): Promise<RemoteOutcome> {
  const { machine } = parts
  const planned = await planRemoteMounts(machine)
  await using lock = await lockRemote(machine, request, planned.plan)
  const { note } = lock
  const discard = async () => await dropRemote(machine, planned.plan, note.token)
  let stage: RemoteStage
  let exitStatus: number
  let looked: Awaited<ReturnType<typeof readRemoteChanges>>
  let validations: readonly Validation[]
  try {
    stage = await openRemoteStage(machine, planned, note)
    await run.attach(['sh', '-c', enterAndTellScript, 'vml', remoteOpen(machine), ...run.argv])
    machine.signal?.throwIfAborted()
    exitStatus = await readExit(machine)
    await requireNobody(machine, note)
    looked = await readRemoteChanges(machine, stage)
    const isNothing = isNothingMeant(looked.changes)
    if (isNothing || run.decide(exitStatus, looked.changes) === 'discard') {
      await discard()
      return { kind: isNothing && exitStatus === 0 ? 'nothing' : 'discarded', exitStatus }
    }
    await requireBootImagesThere(machine, looked.changes)
    requireSpace(`commit the transaction on ${machine.name}`, await remoteCommitNeeds(machine, looked))
    requireNoRpm(machine, looked.changes)
    validations = await checkRemoteStage(machine, stage, looked)
    if (run.isStrict) requirePassed(validations)
    for (const bad of notPassed(validations)) machine.reporter.warn({ warning: describeValidation(bad) })
  } catch (error) {
    throw await thrownAway(machine, discard, error)
  }
  let prepared: PreparedRemote
  let packages: PackagesNow
  try {
    // From here on nobody can enter the stage.
    await work(machine, {
      script: 'rm -f "$1"',
      words: [remoteOpen(machine, 'enter')],
      doing: 'close the stage',
    })
    const places = await makeReadyRemote(machine, stage.plan, looked)
    const place = remotePlace(machine)
    packages = await readPackagesNow(place)
    await keepPackages(place, packages)
    await writeRemoteIntent(machine, looked.changes, { exitStatus, validations })
    prepared = await prepareRemote(machine, {
      changes: looked.changes,
      mountInfo: stage.mountInfo,
      places,
      readyFolders: overlaysOf(stage.plan).map((overlay) => inLayer(overlay, 'ready', overlay.path)),
      folderMtimeNs: looked.folderMtimeNs,
    })
  } catch (error) {
    throw await thrownAway(machine, discard, error)
  }
  await commitOrTakeBack(machine, prepared, discard)
  const transaction = await recordCommittedRemote(parts, {
    note,
    plan: stage.plan,
    prepared,
    changes: looked.changes,
    exitStatus,
    packages,
    validations,
  })
  return { kind: 'recorded', exitStatus, transaction }
}

export interface CommittedRemote extends Partial<TakenBack> {
  readonly note: StageNote
  readonly plan: MountPlan | undefined
  readonly prepared: Pick<PreparedRemote, 'journal'>
  readonly changes: readonly PathChange[]
  readonly exitStatus: number
  readonly packages: PackagesNow
  readonly validations: readonly Validation[]
  /** Where services were seen to already. */
  readonly services?: readonly ServiceAction[]
}

/** The machine is changed; the record is not there yet. What is needed for it stays there until it is. */
export async function recordCommittedRemote(
  parts: RemoteParts,
  committed: CommittedRemote,
): Promise<StoredTransaction> {
  const { machine, logbook } = parts
  const { note, plan, prepared, services, ...rest } = committed
  try {
    // Names of the new files in the upper folders go: what is recorded of a file is what it will be.
    await dropUppers(machine, plan)
    const queue = await readRemoteFile(machine, remoteOpen(machine, 'queue'), queueBytesMax)
    const done = services ?? (await parts.restartServices(queue ?? Buffer.alloc(0)))
    const transaction = await recordRemote(machine, logbook, {
      ...rest,
      note,
      journal: prepared.journal,
      services: done,
    })
    try {
      await forgetRemote(machine, prepared.journal)
      await dropRemote(machine, plan)
    } catch (error) {
      machine.reporter.warn({
        warning: `The transaction is recorded, but its stage could not be removed (${messageOf(error)}): vml tx recover --on ${machine.name} does it`,
      })
    }
    return transaction
  } catch (error) {
    throw new VmlError(
      isFailure(error) ? error.code : 'failed',
      `The change is made on ${machine.name}, but its record could not be written: ${messageOf(error)}`,
      {
        cause: error,
        hint: `What is needed to undo it is kept there. Remove the cause, then vml tx recover --on ${machine.name}`,
      },
    )
  }
}

/** A commit that failed changed nothing, or is taken back; where the connection was lost nobody here knows, and it is said so. */
export async function commitOrTakeBack(
  machine: RemoteMachine,
  prepared: PreparedRemote,
  discard: () => Promise<void>,
): Promise<void> {
  machine.reporter.progress({ phase: 'committing' })
  try {
    await commitRemote(machine, prepared)
  } catch (error) {
    if (isLost(error)) throw lostWhileCommitting(machine, error)
    try {
      const state = await remoteState(machine)
      if (state === 'COMMITTING' || state === 'TAKING-BACK') await finishRemote(machine, 'backward')
      await forgetRemote(machine, prepared.journal)
      await discard()
    } catch (after) {
      throw isLost(after) ? lostWhileCommitting(machine, after) : after
    }
    throw error
  }
}

function lostWhileCommitting(machine: RemoteMachine, cause: unknown): VmlError {
  return new VmlError(
    'unavailable.network',
    `The connection to ${machine.name} was lost while the transaction was being committed there: it ends there by itself, or not at all`,
    {
      cause,
      hint: `vml tx recover --on ${machine.name} tells which, and records it`,
    },
  )
}

/** For whoever records it after a crash: what was to be done, beside the journal. */
export async function writeRemoteIntent(
  machine: RemoteMachine,
  changes: readonly PathChange[],
  intent: CommitIntent,
): Promise<void> {
  const intended = encodeIntended(changes)
  // What could not be recorded must not be committed: most of it is what the machine said.
  readToldChanges(machine.name, intended)
  await writeRemoteFile(machine, remoteOpen(machine, 'changes.jsonl'), intended)
  await writeRemoteFile(machine, remoteOpen(machine, 'result.json'), encodeIntent(intent))
}

export async function dropUppers(machine: RemoteMachine, plan: MountPlan | undefined): Promise<void> {
  const folders = (plan ? overlaysOf(plan) : []).flatMap(({ layer }) => [
    `${layer}/upper`,
    `${layer}/work`,
    `${layer}/links`,
  ])
  if (folders.length === 0) return
  await work(machine, {
    script: `rm -rf --one-file-system ${folders.map(singleQuoted).join(' ')}`,
    doing: 'remove what was staged',
  })
}

/** rpm's database is one file: taken back with later work in it, it would be the whole of it or a conflict, and say other things than the files. */
function requireNoRpm(machine: RemoteMachine, changes: readonly PathChange[]): void {
  const database = changes.find(({ path }) => rpmDatabase.test(path))
  if (database === undefined) return
  throw new VmlError(
    'unsupported',
    `Cannot make a transaction of this on ${machine.name}: it changes packages of rpm (${printable(database.path)}), which VML takes back only where it is itself`,
    { hint: 'Nothing of it was kept. On the machine itself: vml tx run, or vml tx enable for dnf' },
  )
}

const rpmDatabase = /^\/(?:var\/lib|usr\/lib\/sysimage)\/rpm\//

/** As `requireBootImages` has it for this host. */
async function requireBootImagesThere(machine: RemoteMachine, changes: readonly PathChange[]): Promise<void> {
  const unsure = madeBlind(changes)
  if (unsure && (!unsure.dependsOn || (await statusesOf(machine, [unsure.dependsOn])).size > 0))
    throw madeInStage(unsure.path)
}

/** How the command ended, as the machine wrote it down: what does not stand there was cut off. */
async function readExit(machine: RemoteMachine): Promise<number> {
  const refusal = await readRemoteFile(machine, remoteOpen(machine, 'refusal'), smallBytesMax)
  if (refusal !== undefined)
    throw new VmlError('unsupported', `Cannot enter the stage on ${machine.name}: ${textOf(refusal)}`, {
      hint: 'Nothing was run',
    })
  const told = await readRemoteFile(machine, remoteOpen(machine, 'exit'), smallBytesMax)
  const status = /^(\d{1,3})\n$/.exec(told?.toString('latin1') ?? '')?.[1]
  if (status !== undefined) return Number(status)
  throw new VmlError(
    'unavailable.network',
    `The command on ${machine.name} was cut off, or the connection to it`,
    {
      hint: 'Nothing was changed there. Repeat it',
    },
  )
}

async function requireNobody(machine: RemoteMachine, { token }: StageNote): Promise<void> {
  const { stdout } = await tryWork(machine, { script: processesScript, words: [token] })
  const busy = stdout.split('\n').filter((line) => /^\d+$/.test(line))
  if (busy.length === 0) return
  throw new VmlError(
    'conflict',
    `Cannot end the transaction: process ${busy.join(', ')} of ${machine.name} still worked in its stage`,
    {
      details: { processes: busy.map(Number) },
      hint: 'Nothing was changed, and it was ended with the stage. A command must not leave anything behind that runs on',
    },
  )
}

/** What went wrong, and what became of the stage. */
async function thrownAway(
  machine: RemoteMachine,
  discard: () => Promise<void>,
  error: unknown,
): Promise<unknown> {
  try {
    await discard()
    return error
  } catch (cause) {
    return new VmlError(
      isFailure(error) ? error.code : 'failed',
      `${messageOf(error)}; what is left of the stage on ${machine.name} could not be removed (${messageOf(cause)})`,
      {
        cause: error,
        hint: `The machine itself was not changed. vml tx recover --on ${machine.name} throws away what is left`,
      },
    )
  }
}

function isLost(error: unknown): boolean {
  return isFailure(error, 'unavailable.network', 'unavailable.timeout')
}

function textOf(bytes: Buffer): string {
  return printable(asRaw(bytes.toString('latin1').trim()))
}
