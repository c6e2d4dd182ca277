// `vml tx recover --on MACHINE`: what a transaction left on a machine over ssh is thrown away, or ended there, or taken back, and recorded here.
import { VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'
import { type CommitIntent, parseIntent } from './commit-intent.ts'
import { findRecord, isUndo } from './end-stage.ts'
import { isRemade, regenerateAfter } from './make-anew.ts'
import { provePackagesAfterCrash } from './prove-packages.ts'
import { removeMadeAnewThere } from './remote-undo.ts'
import { entryName, type LoggedEntry } from '../engine/entries.ts'
import { finishRemote, forgetRemote, remoteJournal, remoteState } from './remote-commit.ts'
import { readRemoteFile, type RemoteMachine, remoteOpen, tryWork } from './remote-machine.ts'
import { remotePlace } from './remote-place.ts'
import { readKeptPackages } from './packages-now.ts'
import { recordCommittedRemote, type RemoteParts } from './remote-run.ts'
import { dropRemote, isRemoteInUse, readRemoteNote } from './remote-stage.ts'
import type { StageNote } from './stage-note.ts'
import { readToldChanges } from './storable-changes.ts'
import type { StoredTransaction } from './transaction-entry.ts'

export type RemoteRecovered =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'discarded'; readonly title: string }
  | { readonly kind: 'recorded'; readonly title: string; readonly transaction: StoredTransaction }
  | { readonly kind: 'known'; readonly entry: LoggedEntry }

const changesBytesMax = 400 * 1024 * 1024
const resultBytesMax = 64 * 1024 * 1024

/** Fails with `store.locked` while the process that the stage is for still runs there. */
export async function recoverRemote(
  parts: RemoteParts,
  options: { readonly backward?: boolean } = {},
): Promise<RemoteRecovered> {
  const { machine } = parts
  const { status } = await tryWork(machine, { script: '[ -d "$1" ]', words: [remoteOpen(machine)] })
  if (status !== 0) return { kind: 'nothing' }
  const note = await readRemoteNote(machine)
  if (note && (await isRemoteInUse(machine, note)))
    throw new VmlError(
      'store.locked',
      `Cannot recover: process ${note.process.id} of ${machine.name} is at work on a transaction`,
      {
        hint: 'Nothing was changed. Wait until it has ended',
      },
    )
  const title = note?.title ?? 'a transaction that had not begun'
  // The record was stored right before the cut: that counts, whatever was wanted. It is taken back by an undo.
  const known =
    note && (await mayBeDone(machine))
      ? await findRecord({ logbook: parts.logbook, signal: machine.signal }, note.token)
      : undefined
  if (known) {
    const done = await remoteJournal(machine)
    if (done) await forgetRemote(machine, done)
    await dropRemote(machine, note?.plan)
    return { kind: 'known', entry: known }
  }
  const state = await endedState(machine, options)
  const journal = state && (await remoteJournal(machine))
  if (state === 'COMMITTED' && journal && note)
    return { kind: 'recorded', title, transaction: await record(parts, note, journal) }
  if (state === 'COMMITTED')
    throw new VmlError(
      'integrity.format',
      `Cannot recover: what was committed on ${machine.name} left no note of what it was`,
      {
        hint: 'The machine is as it is after it. Nothing was removed',
      },
    )
  const left = journal ?? (await remoteJournal(machine))
  // Before the journal that says so is forgotten: caches may be of what was taken back.
  if (state === 'TAKEN-BACK')
    await regenerateAfter('take-back', remotePlace(machine), (await intentOf(machine)).toMakeAnew ?? [])
  if (left) await forgetRemote(machine, left)
  await dropRemote(machine, note?.plan, note?.token)
  return { kind: 'discarded', title }
}

/** Without a state the journal may have been forgotten already. */
async function mayBeDone(machine: RemoteMachine): Promise<boolean> {
  const state = await remoteState(machine)
  return state === 'COMMITTED' || state === 'FORGOTTEN' || state === undefined
}

/** What was being committed, or taken back, is done with; what was not begun is not. */
async function endedState(machine: RemoteMachine, { backward = false }: { readonly backward?: boolean }) {
  const state = await remoteState(machine)
  switch (state) {
    case 'COMMITTING':
    case 'TAKING-BACK':
      return await finishRemote(machine, backward ? 'backward' : undefined)
    case 'COMMITTED':
      if (!backward) return state
      await makeWay(machine)
      return await finishRemote(machine, 'backward')
    default:
      return state
  }
}

/** Caches that programs have made anew since lie in the way of what comes back at their paths. */
async function makeWay(machine: RemoteMachine): Promise<void> {
  if (((await intentOf(machine)).toMakeAnew ?? []).length === 0) return
  const { steps = [] } = (await remoteJournal(machine)) ?? {}
  await removeMadeAnewThere(
    machine,
    steps.flatMap(({ kind, path }) => (kind === 'delete' && isRemade(path) ? [path] : [])),
  )
}

async function intentOf(machine: RemoteMachine): Promise<CommitIntent> {
  return parseIntent(await readRemoteFile(machine, remoteOpen(machine, 'result.json'), resultBytesMax))
}

async function record(
  parts: RemoteParts,
  note: StageNote,
  journal: Parameters<typeof forgetRemote>[1],
): Promise<StoredTransaction> {
  const { machine } = parts
  const changes = await readRemoteFile(machine, remoteOpen(machine, 'changes.jsonl'), changesBytesMax)
  if (changes === undefined)
    throw new VmlError(
      'integrity.missing',
      `Cannot recover: what was committed on ${machine.name} left no list of its changes`,
      {
        hint: 'The machine is as it is after it. Nothing was removed',
      },
    )
  const { validations = [], toMakeAnew = [], ...intent } = await intentOf(machine)
  const told = readToldChanges(machine.name, changes)
  const place = remotePlace(machine)
  const packages = await readKeptPackages(place)
  const finished = isUndo(note)
    ? [
        ...(await regenerateAfter('commit', place, toMakeAnew)),
        ...(await provePackagesAfterCrash(place, { packages, changes: told })),
      ]
    : []
  return await recordCommittedRemote(parts, {
    note,
    plan: note.plan,
    prepared: { journal },
    changes: told,
    ...intent,
    packages,
    validations: [...validations, ...finished],
  })
}

export function describeRemoteRecovered(recovered: RemoteRecovered, machine: string): string {
  switch (recovered.kind) {
    case 'nothing':
      return `Nothing was left behind on ${machine}`
    case 'known':
      return `${entryName(recovered.entry)} had been recorded; what was left of it on ${machine} was removed`
    case 'discarded':
      return `"${printableText(recovered.title)}" was cut off on ${machine}: nothing of it was kept`
    case 'recorded':
      return `"${printableText(recovered.title)}" was cut off on ${machine} when it was committed there: it was recorded`
  }
}
