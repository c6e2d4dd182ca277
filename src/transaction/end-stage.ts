// Ends the open stage: what was done in it is committed to the machine and recorded, or thrown away.
import { statSync } from 'node:fs'
import { isFailure, messageOf, systemErrorCode, VmlError } from '../base/failure.ts'
import { printable, type RawText, rawToBytes } from '../base/raw-text.ts'
import { compareRaw, type RawPath, rootPath } from '../model/raw-path.ts'
import { isMadeWhenMissed, type ToMakeAnew } from '../model/regeneration.ts'
import type { Attributes } from '../model/tree.ts'
import {
  type ChangeOwner,
  countChanges,
  type Fingerprint,
  type PathChange,
  type RecordedChange,
  sameState,
} from '../model/transaction.ts'
import { isMereWriting, isNothingMeant } from '../model/mere-writing.ts'
import {
  parseChanges,
  type ServiceAction,
  type TakenBack,
  type Validation,
} from '../model/transaction-record.ts'
import { type ChangeSet, readChangeSet } from '../stage/change-set.ts'
import { commit, prepareCommit } from '../stage/commit.ts'
import type { PackageSources } from '../packages/package-sources.ts'
import type { SourcedFiles } from '../packages/package-system.ts'
import type { Reference } from '../packages/package-references.ts'
import type { FileStatus } from '../wire/libc.ts'
import { outlineOf, sha256Of as hashFile, statusAt } from '../stage/fingerprint.ts'
import { lowerConflicts } from '../stage/lower-conflicts.ts'
import { processesInStage } from '../stage/run-in-stage.ts'
import { noteOrForget } from './baseline.ts'
import { noteAskedProbation } from './probation.ts'
import {
  entryIdOf,
  listEntries,
  type LoggedEntry,
  nextEntryNumber,
  type OpenLogbook,
} from '../engine/entries.ts'
import { lookTaken, putBackTaken, takenNotKept, tellTaken } from './held-files.ts'
import { type KeptBefore, keptByJournal, tellCame, withCopies } from './kept-before.ts'
import { dropStage, keptOutside, type OpenStage, readIfThere, restoreOutside } from './open-stage.ts'
import { mountedFilesWritten, tellMountedFiles } from './mounted-files.ts'
import {
  keepPackages,
  packageRecords,
  packageSetOf,
  type PackagesNow,
  readKeptPackages,
  readPackagesNow,
  sourcedFiles,
  transitionsOf,
} from './packages-now.ts'
import { pinContent } from './pins.ts'
import { ownerBy, recordChanges } from './record-changes.ts'
import { isAnothers } from './stage-lock.ts'
import type { StageNote } from './stage-note.ts'
import {
  readTransaction,
  type RecordedMachine,
  type StoredTransaction,
  storeTransaction,
} from './transaction-entry.ts'
import { changesPath, readIntent, writeIntent } from './commit-intent.ts'
import { statusOfPath } from './path-status.ts'
import { tellOpenWriters } from './tell-open-writers.ts'
import { usableRules } from './usable-rule.ts'
import { inRoot, openFolder, pathIn, type Workplace } from './workplace.ts'

export type FindReferences = (inquiry: {
  readonly changes: readonly PathChange[]
  readonly files: SourcedFiles
  /** Where the content before it lies now. */
  before(path: RawPath): RawText | undefined
}) => Promise<ReadonlyMap<RawPath, Reference>>

export interface TransactionParts extends Workplace {
  readonly logbook: OpenLogbook
  readonly machine: RecordedMachine
  /** Which contents before it a package of a source that does not forget gives; absent where no such source is configured. */
  readonly findReferences?: FindReferences | undefined
  /** Packages of sources that do not forget; absent where none is configured. */
  readonly packageSources?: PackageSources | undefined
  /** What becomes of older records once a new one is there: pins, the budget. */
  readonly afterRecord?: (() => Promise<void>) | undefined
  /** What has to be done for services after the commit; tells what was done. */
  restartServices(queue: Buffer): Promise<readonly ServiceAction[]>
}

export interface StageResult extends Partial<TakenBack> {
  /** Of the command. */
  readonly exitStatus: number
  readonly validations: readonly Validation[]
  /** What it printed. */
  readonly log?: Uint8Array | undefined
}

export type StageEnd =
  | { readonly kind: 'nothing' }
  | {
      readonly kind: 'recorded'
      readonly transaction: StoredTransaction
      readonly changes: readonly RecordedChange[]
    }

/** Looked at, and nothing was changed. */
export interface LookedStage {
  readonly stage: OpenStage
  readonly changeSet: ChangeSet
  /** Files that were written outside of it, which are as they shall be already. */
  readonly outside: readonly PathChange[]
}

/**
 * What the transaction changes. Fails with `conflict` where a process is still in the stage, or where something that it changes was
 * changed on the machine meanwhile.
 */
export async function lookAtStage(place: Workplace, stage: OpenStage): Promise<LookedStage> {
  const busy = processesInStage(stage.note.token)
  if (busy.length > 0)
    throw new VmlError(
      'conflict',
      `Cannot end the transaction: process ${busy.join(', ')} still works in its stage`,
      {
        details: { processes: busy },
        hint: 'Nothing of it is kept. End it, or have the command wait for it, and run it again',
      },
    )
  await tellMountedFiles(place)
  const { plan, index } = stage
  const changeSet = await readChangeSet({
    plan,
    index,
    libc: place.libc,
    isLeftOut: (change) => isMereWriting(change) || isNewerCache(change, index),
    report: (event) => place.reporter.progress(event),
    signal: place.signal,
  })
  const [first, ...others] = lowerConflicts(changeSet, index).filter((path) => !wasPreconfigured(place, path))
  if (first !== undefined)
    throw new VmlError(
      'conflict',
      `Cannot commit the transaction: ${printable(first)}${others.length > 0 ? ` and ${others.length} more were` : ' was'} changed on the machine meanwhile`,
      {
        details: { paths: [first, ...others].map(printable) },
        hint: 'Nothing of it was committed. Repeat it',
      },
    )
  return { stage, changeSet, outside: await outsideChanges(place) }
}

const none: ReadonlySet<string> = new Set()

/** The machine's own is newer than the one of the stage, and either is made anew by whoever misses it: apt's caches change with each `apt-get update`. */
function isNewerCache(change: PathChange, index: OpenStage['index']): boolean {
  // Nearly nothing is: that is asked first, of each path of a change.
  return (
    lowerConflicts({ changes: [change], linked: none }, index).length > 0 && isMadeWhenMissed(change.path)
  )
}

/**
 * Order: what it changes is written down, the journal is made, the root is changed by it; services; then the record is an entry of
 * the logbook; then the journal, with the pre-images, is forgotten, and the stage goes. Cut off before the commit, nothing was changed;
 * after it, `vml tx recover`, or the next transaction, goes on here.
 */
export async function commitStage(
  parts: TransactionParts,
  { stage, changeSet, outside }: LookedStage,
  result: StageResult,
): Promise<StageEnd> {
  if (isNothingMeant(changeSet.changes) && outside.length === 0) {
    tellTaken(parts, lookTaken(parts))
    dropStage(parts, stage.note, stage.plan)
    return { kind: 'nothing' }
  }
  const packages = await readPackagesNow(parts, outsideContents(parts))
  // dpkg's checksums are read when they are asked for, and are other ones after the commit.
  const files = sourcedFiles(packages)
  if (parts.findReferences) for (const { path } of changeSet.changes) files.fileOf(path)
  // From here on nobody can enter the stage, and what is written down is what the commit will find.
  const changes = changeSet.seal()
  const folder = openFolder(parts)
  const { log: _, ...intent } = result
  const kept = await keepPackages(parts, packages)
  writeIntent(parts, intent, changes, (change) => ownerBy(change, packages))
  const prepared = prepareCommit(parts.disk, {
    root: parts.root,
    folder: pathIn(folder, 'journal'),
    changes,
    prepared: changeSet.prepared,
  })
  commit(parts.disk, prepared)
  return await recordCommitted(parts, {
    note: stage.note,
    plan: stage.plan,
    kept: withCopies(
      parts.disk,
      keptByJournal(parts.disk, prepared.journal),
      new Map([...prepared.moved].map(([created, removed]) => [removed, changeSet.prepared(created)])),
    ),
    changes,
    outside,
    packages: kept,
    result,
  })
}

export interface CommittedStage {
  readonly note: StageNote
  readonly plan: OpenStage['plan'] | undefined
  readonly kept: KeptBefore
  readonly changes: readonly PathChange[]
  /** As it was written down before the commit; after it, nothing tells it any more. */
  readonly removedOwners?: ReadonlyMap<RawPath, ChangeOwner>
  readonly outside: readonly PathChange[]
  readonly packages: PackagesNow
  readonly result: StageResult
  /** Where services were seen to already. */
  readonly services?: readonly ServiceAction[]
}

/** The machine is changed; the record is not there yet, or was stored right before a crash. The caller holds the lock of the stage. */
export async function recordCommitted(parts: TransactionParts, committed: CommittedStage): Promise<StageEnd> {
  const end = (await endStored(parts, committed)) ?? (await record(parts, committed))
  // Whatever becomes of older ones, and nobody writes into the logbook any more.
  try {
    await parts.afterRecord?.()
  } catch (error) {
    parts.reporter.warn({
      warning: `The transaction is recorded, but older ones could not be looked after (${messageOf(error)}): the next transaction does it`,
    })
  }
  return end
}

async function record(parts: TransactionParts, committed: CommittedStage): Promise<StageEnd> {
  const { note, kept, outside, packages: before } = committed
  const { log, ...told } = committed.result
  const folder = openFolder(parts)
  const queue = readIfThere(pathIn(folder, 'queue')) ?? Buffer.alloc(0)
  const services = committed.services ?? (await parts.restartServices(queue))
  // What runs anew has opened its files anew.
  if (kept.journal) tellOpenWriters(parts, kept.journal, 'kept')
  parts.reporter.progress({ phase: 'recording the transaction' })
  const { after, manager, packages, untold } = await packagesAfter(parts, before)
  const written = await withOutside(parts, committed.changes, outside)
  const taken = lookTaken(parts)
  const all = [...written, ...taken.logFolders].toSorted((one, other) => compareRaw(one.path, other.path))
  const outsideBefore = keptOutside(parts)
  const keptOf = (path: RawPath): RawText | undefined =>
    outsideBefore.has(path) ? outsideBefore.get(path) : kept.at(path)
  const live = (path: RawPath) => inRoot(parts, path)
  const recorded = await recordChanges(all, {
    references: await findReferencesFor(parts, all, before, keptOf),
    before: keptOf,
    lost: (path) => kept.lost(path),
    after: live,
    packagesBefore: before,
    packagesAfter: after,
    removedOwners: committed.removedOwners,
    ruleOf: usableRules(parts, all, before),
    pin: async (path, sha256) => await pinContent(parts, path, sha256),
  })
  const { changes, deltas, preImageBytes } = recorded
  const gaps = [...recorded.gaps, ...untold]
  tellTaken(parts, taken)
  const notKept = [...(await mountedFilesWritten(parts)), ...takenNotKept(taken)]
  const looked = new Map<RawPath, FileStatus>()
  const settled: RecordedChange[] = []
  for (const change of changes) settled.push(withoutPlace(await settle(parts, change, looked)))
  await using writer = await parts.logbook.repository.beginWrite({ signal: parts.signal, thorough: true })
  const transaction = await storeTransaction(
    writer,
    {
      title: note.title,
      note: note.note,
      tags: [...note.tags, `${tokenTag}${note.token}`],
      machine: parts.machine,
      document: {
        schema: 1,
        source: note.source,
        // An undo is committed whole, too.
        mode: note.scan === undefined ? 'staged' : 'live',
        ...(note.modeReason === undefined ? {} : { modeReason: note.modeReason }),
        command: note.command,
        user: userOf(note),
        startedAt: note.startedAt,
        endedAt: new Date(parts.clock.now()).toISOString(),
        ...told,
        ...(manager === undefined ? {} : { manager }),
        packages,
        services,
        complete: gaps.length === 0,
        gaps,
        ...(notKept.length === 0 ? {} : { notKept }),
        counts: countChanges(all),
        storedBytes: 0,
        preImageBytes,
      },
      changes: settled,
      contentBefore(path) {
        const file = keptOf(path)
        if (file === undefined) throw new TypeError('A pre-image that was not kept was to be stored')
        return { file }
      },
      contentAfter: (path) => ({ file: live(path) }),
      deltas,
      folderAttributes: (path) => folderAttributes(parts, path),
      packages: packageSetOf(after, manager),
      packageRecords: await packageRecords(parts, before, after),
      log,
    },
    {
      nextNumber: async () => await nextEntryNumber(parts.logbook, { signal: parts.signal }),
      signal: parts.signal,
    },
  )
  await noteOrForget(parts, settled, looked)
  const { number, snapshot } = transaction
  await noteAskedProbation(parts, note, { number, transaction: entryIdOf(snapshot) })
  endRecorded(parts, committed)
  return { kind: 'recorded', transaction, changes: settled }
}

interface PackagesAfter extends ReturnType<typeof transitionsOf> {
  readonly after: PackagesNow
  /** Which packages changed, where nobody can tell. */
  readonly untold: readonly { readonly path: RawPath; readonly reason: string }[]
}

/** The change is made: a list of packages that VML does not understand is no reason to have no record of it. */
async function packagesAfter(parts: TransactionParts, before: PackagesNow): Promise<PackagesAfter> {
  let after = before
  try {
    after = await readPackagesNow(parts)
    return { after, ...transitionsOf(parts, before, after), untold: [] }
  } catch (error) {
    if (!isFailure(error, 'integrity.format')) throw error
    const reason = `which packages changed is not recorded (${messageOf(error)})`
    parts.reporter.warn({ warning: `The record is incomplete: ${reason}` })
    return { after, packages: [], untold: [{ path: rootPath, reason }] }
  }
}

/** Its journal stays, with all that is needed for the record. `what` begins the sentence. */
export function notRecorded(error: unknown, what: string): VmlError {
  return new VmlError('failed', `${what} is made, but its record could not be written: ${messageOf(error)}`, {
    cause: error,
    hint: 'What is needed to undo it is kept. Remove the cause, then vml tx recover',
  })
}

/** The record is durable: what was kept for it may go. Whatever stops that, the transaction is done and recorded. */
function endRecorded(parts: TransactionParts, { note, kept, plan }: CommittedStage): void {
  try {
    tellCame(parts, kept.forget())
    dropStage(parts, note, plan)
  } catch (error) {
    parts.reporter.warn({
      warning: `The transaction is recorded, but its stage could not be removed (${messageOf(error)}): vml tx recover does it`,
    })
  }
}

/** Sources that cannot be asked cost room, not the record. */
async function findReferencesFor(
  { findReferences, reporter }: TransactionParts,
  changes: readonly PathChange[],
  packages: PackagesNow,
  before: (path: RawPath) => RawText | undefined,
): Promise<ReadonlyMap<RawPath, Reference>> {
  if (findReferences === undefined) return new Map()
  try {
    return await findReferences({ changes, files: sourcedFiles(packages), before })
  } catch (error) {
    reporter.warn({
      warning: `Sources that do not forget could not be asked (${messageOf(error)}): what was there before is kept here`,
    })
    return new Map()
  }
}

export function isUndo({ source }: Pick<StageNote, 'source'>): boolean {
  return source === 'undo' || source === 'redo'
}

/** By it a record is found again that was stored right before a crash. */
export const tokenTag = 'vml:tx='

export async function findRecord(
  { logbook, signal }: Pick<TransactionParts, 'logbook' | 'signal'>,
  token: string,
): Promise<LoggedEntry | undefined> {
  const entries = await listEntries(logbook, { signal })
  return entries.findLast(({ snapshot }) => snapshot.tags.includes(`${tokenTag}${token}`))
}

/** A record that is there already is not made twice: what was left to do after it is done. */
async function endStored(parts: TransactionParts, committed: CommittedStage): Promise<StageEnd | undefined> {
  const entry = await findRecord(parts, committed.note.token)
  if (entry?.number === undefined) return undefined
  const { document, changes } = await readTransaction(parts.logbook.repository, entry, parts)
  await noteOrForget(parts, changes)
  await noteAskedProbation(parts, committed.note, { number: entry.number, transaction: entry.id })
  endRecorded(parts, committed)
  return {
    kind: 'recorded',
    transaction: { snapshot: entry.snapshot, number: entry.number, document },
    changes,
  }
}

/**
 * Throws the stage away: the machine is as it was. Order: what was taken out of the real folders is put back; then the layers go, which may hold the only copy. Gives what was put
 * back. The caller holds its lock; what another process has opened by now stays.
 */
export async function discardStage(place: Workplace, stage: OpenStage): Promise<readonly RawPath[]> {
  if (isAnothers(place, stage.note)) return []
  const back = putBackTaken(place)
  await restoreOutside(place)
  dropStage(place, stage.note, stage.plan)
  return back
}

/** What was committed when the process ended, as it was written down before. */
export async function readCommitted(place: Workplace): Promise<
  | (Pick<CommittedStage, 'changes' | 'removedOwners' | 'result' | 'packages'> & {
      readonly toMakeAnew: readonly ToMakeAnew[]
      readonly isProven: boolean
    })
  | undefined
> {
  const changes = readIfThere(changesPath(place))
  if (changes === undefined) return undefined
  const { validations = [], toMakeAnew = [], isProven = false, ...intent } = readIntent(place)
  const written = parseChanges(changes)
  return {
    changes: written,
    removedOwners: new Map(
      written.flatMap(({ path, after, owner }) => (after === undefined ? [[path, owner] as const] : [])),
    ),
    result: { ...intent, validations },
    toMakeAnew,
    isProven,
    packages: await readKeptPackages(place),
  }
}

/** What lay at a path before it was written outside of the stage, such as apt's marks. */
export function outsideContents(place: Workplace): (path: RawPath) => Buffer | undefined {
  const outside = keptOutside(place)
  return (path) => {
    const kept = outside.get(path)
    return kept === undefined ? undefined : readIfThere(kept)
  }
}

/** What was written outside before the stage changed it, too: it was not as the stage found it, but as it was before all. */
async function withOutside(
  place: Workplace,
  changes: readonly PathChange[],
  outside: readonly PathChange[],
): Promise<PathChange[]> {
  const kept = keptOutside(place)
  const known = new Set(changes.map(({ path }) => path))
  const all: PathChange[] = outside.filter(({ path }) => !known.has(path))
  for (const change of changes) {
    const file = kept.get(change.path)
    if (!kept.has(change.path)) all.push(change)
    else if (file !== undefined)
      all.push({
        ...change,
        before: { ...(change.before ?? change.after ?? rootFile), ...(await contentOf(file)) },
      })
    else {
      const { before: _, ...created } = change
      if (created.after) all.push(created)
    }
  }
  return all.toSorted((one, other) => compareRaw(one.path, other.path))
}

/** dpkg-preconfigure writes debconf's files between the begin of apt's run and its first call of dpkg. */
function wasPreconfigured(place: Workplace, path: RawPath): boolean {
  if (!keptOutside(place).has(path)) return false
  const firstCall = statusAt(place.libc, pathIn(openFolder(place), 'calls', '0001', 'argv'))
  const live = statusAt(place.libc, asPath(inRoot(place, path)))
  return firstCall === undefined || live === undefined || live.ctimeNs <= firstCall.ctimeNs
}

/** What apt wrote outside of the stage meanwhile. */
export async function outsideChanges(place: Workplace): Promise<PathChange[]> {
  const changes: PathChange[] = []
  for (const [path, kept] of keptOutside(place)) {
    const live = inRoot(place, path)
    const [was, is] = [kept === undefined ? undefined : readIfThere(kept), readIfThere(live)]
    if (was === undefined ? is === undefined : is?.equals(was)) continue
    const after = await fingerprintOf(place, path)
    // The copy is root's; apt keeps the owner of the file.
    const before = kept === undefined ? undefined : { ...(after ?? rootFile), ...(await contentOf(kept)) }
    changes.push({ path, ...(before ? { before } : {}), ...(after ? { after } : {}) })
  }
  return changes
}

const rootFile: Fingerprint = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n }

async function contentOf(file: RawPath): Promise<Pick<Fingerprint, 'mode' | 'size' | 'sha256'>> {
  const { size, mode } = statSync(rawToBytes(file))
  return { mode: mode & 0o7777, size, sha256: await hashFile(file, () => {}) }
}

/** What lies at a path now, with the hash of its content. */
export async function fingerprintOf(place: Workplace, path: RawPath): Promise<Fingerprint | undefined> {
  const status = statusOfPath(place, path)
  if (status === undefined) return undefined
  const at = asPath(inRoot(place, path))
  const outline = outlineOf(place.libc, at, status)
  return outline.type === 'file' ? { ...outline, sha256: await hashFile(at, () => {}) } : outline
}

function asPath(path: RawText): RawPath {
  return path as RawPath
}

/**
 * Numbers of inodes and times of change, once everything is in its place: by them a path is known to be untouched later. Only of what is still what the
 * transaction made of it: services, and whoever else, write there since the commit, and what they wrote is found by the next look.
 */
async function settle(
  place: Workplace,
  change: RecordedChange,
  looked: Map<RawPath, FileStatus>,
): Promise<RecordedChange> {
  if (change.after === undefined) return change
  const { inode: _, ctimeNs: __, deviceId: ___, ...after } = change.after
  const at = asPath(inRoot(place, change.path))
  const status = statusAt(place.libc, at)
  if (status === undefined || !(await isStill(place, { at, status, after }))) return { ...change, after }
  looked.set(change.path, status)
  const { inode, ctimeNs, deviceId } = status
  return { ...change, after: { ...after, inode, ctimeNs, deviceId } }
}

/** A commit keeps the times of files; where one differs, its content decides. What goes while it is looked at is not it any more. */
async function isStill(
  { libc }: Workplace,
  { at, status, after }: { at: RawPath; status: FileStatus; after: Fingerprint },
): Promise<boolean> {
  try {
    const now = outlineOf(libc, at, status)
    // The size of anything but a file says nothing.
    const { size: _, ...sizeless } = after
    if (now.type !== 'file') return sameState(now, sizeless)
    const sha256 = now.mtimeNs === after.mtimeNs ? after.sha256 : await hashFile(at, () => {})
    return sameState({ ...now, ...(sha256 === undefined ? {} : { sha256 }) }, after)
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
    return false
  }
}

/**
 * What was there before is gone: which inode it was, and since when, tells nobody anything, but for the names that one file had together. In an upgrade of forty
 * packages it is a twentieth of the list.
 */
function withoutPlace(change: RecordedChange): RecordedChange {
  const { before } = change
  if (before === undefined || (before.links ?? 1) > 1) return change
  const { inode: _, ctimeNs: __, deviceId: ___, links: ____, ...rest } = before
  return { ...change, before: rest }
}

function userOf({ user: { name, uid, login } }: StageNote): { name: string; uid: number; login?: string } {
  return { name, uid, ...(login === undefined ? {} : { login }) }
}

export function folderAttributes(place: Workplace, path: RawPath): Attributes {
  const at = asPath(inRoot(place, path))
  const status = statusAt(place.libc, at)
  // A folder that is gone stands above a path that is gone, too.
  return status
    ? outlineOf(place.libc, at, status)
    : { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n }
}
