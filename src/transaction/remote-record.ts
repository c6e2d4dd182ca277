// The record of a transaction of a machine over ssh: what was there before travels here from where its journal keeps it, into the logbook that was given.
import { VmlError } from '../base/failure.ts'
import type { BaseFacts } from '../model/entry.ts'
import { parseOsRelease } from '../model/os-release.ts'
import { asRaw } from '../base/raw-text.ts'
import { type RawPath, rootPath } from '../model/raw-path.ts'
import { countChanges, type Fingerprint, type PathChange, type RecordedChange } from '../model/transaction.ts'
import type { ServiceAction, TakenBack, Validation } from '../model/transaction-record.ts'
import type { Attributes } from '../model/tree.ts'
import { keptAt } from '../stage/commit.ts'
import type { Journal } from '../stage/journal.ts'
import { withFoldersAbove } from '../stage/listed-disk.ts'
import { nulTerminated } from '../source/guest-script.ts'
import type { StoredFile } from '../store/store.ts'
import { tokenTag } from './end-stage.ts'
import { nextEntryNumber, type OpenLogbook } from '../engine/entries.ts'
import {
  packageRecords,
  packageSetOf,
  type PackagesNow,
  readPackagesNow,
  transitionsOf,
} from './packages-now.ts'
import { recordChanges } from './record-changes.ts'
import { type ContentToStore, storeRemoteContents } from './remote-contents.ts'
import { readRemoteFile, type RemoteMachine, statusesOf, work } from './remote-machine.ts'
import { remotePlace } from './remote-place.ts'
import type { StageNote } from './stage-note.ts'
import { type StoredTransaction, storeTransaction } from './transaction-entry.ts'
import type { FileContent } from './transaction-tree.ts'
import { servingRules, standsIn } from './usable-rule.ts'
import { pathIn } from './workplace.ts'

export interface RemoteRecord extends Partial<TakenBack> {
  readonly note: StageNote
  readonly journal: Journal
  readonly changes: readonly PathChange[]
  readonly exitStatus: number
  /** Before it, as far as it is known. */
  readonly packages: PackagesNow
  readonly validations: readonly Validation[]
  readonly services: readonly ServiceAction[]
}

/** What one transaction may replace: more than a system has. A machine that says otherwise is not believed. */
const preImageBytesMax = 256 * 1024 * 1024 * 1024
const osReleaseBytesMax = 64 * 1024

/** Nothing is kept in the stage any more but the journal; the machine is changed. */
export async function recordRemote(
  machine: RemoteMachine,
  logbook: OpenLogbook,
  record: RemoteRecord,
): Promise<StoredTransaction> {
  machine.reporter.progress({ phase: 'recording the transaction' })
  const { note, journal, changes, exitStatus, packages, validations, services, ...takenBack } = record
  const place = remotePlace(machine)
  const after = await readPackagesNow(place)
  const { manager, packages: transitions } = transitionsOf(place, packages, after)
  const changesOf = new Map(changes.map((change) => [change.path, change]))
  const folders = await statusesOf(machine, [
    ...new Set([...changes.flatMap(({ path }) => [...withFoldersAbove(path)])]),
  ])
  const isMadeAnew = await rulesThere(machine, changes, after)
  await using writer = await logbook.repository.beginWrite({ signal: machine.signal, thorough: true })
  const wanted = changes.flatMap((change): ContentToStore[] => {
    const { path, before } = change
    const place = before && keptAt(journal, path)
    if (before?.type !== 'file' || before.sha256 === undefined || place === undefined) return []
    if (isMadeAnew(change) !== undefined) return []
    return [{ place: place as string as RawPath, size: before.size ?? 0, sha256: before.sha256 }]
  })
  if (wanted.reduce((sum, { size }) => sum + size, 0) > preImageBytesMax)
    throw new VmlError(
      'unsupported',
      `Cannot record the transaction: it replaces more than ${preImageBytesMax} bytes`,
    )
  const stored = await storeRemoteContents(machine, writer, wanted)
  const decided = await recordChanges(changes, {
    references: new Map(),
    withoutDeltas: true,
    before: (path) => {
      const sha256 = changesOf.get(path)?.before?.sha256
      return sha256 !== undefined && stored.has(sha256) ? path : undefined
    },
    lost: () => 'what was kept of it is not what was there',
    after: (path) => path,
    packagesBefore: packages,
    packagesAfter: after,
    ruleOf: isMadeAnew,
    pin: async () => await Promise.resolve(false),
  })
  const kept = await storeRemoteContents(
    machine,
    writer,
    decided.changes.flatMap(({ path, after: state, afterKept }): ContentToStore[] =>
      afterKept && state?.sha256 !== undefined
        ? [{ place: path, size: state.size ?? 0, sha256: state.sha256 }]
        : [],
    ),
  )
  const settled = decided.changes.map((change) => settle(change, folders, kept))
  const contentOf = (found: ReadonlyMap<string, StoredFile>, sha256: string | undefined): FileContent => {
    const file = found.get(sha256 ?? '')
    if (file === undefined) throw new TypeError('A content that was not stored was to be recorded')
    return { stored: file }
  }
  return await storeTransaction(
    writer,
    {
      title: note.title,
      note: note.note,
      tags: [...note.tags, `${tokenTag}${note.token}`],
      machine: { name: machine.name, facts: await factsOf(machine) },
      document: {
        schema: 1,
        source: note.source,
        mode: 'staged',
        command: note.command,
        user: {
          name: note.user.name,
          uid: note.user.uid,
          ...(note.user.login === undefined ? {} : { login: note.user.login }),
        },
        startedAt: note.startedAt,
        endedAt: new Date(machine.clock.now()).toISOString(),
        exitStatus,
        ...takenBack,
        ...(manager === undefined ? {} : { manager }),
        packages: transitions,
        validations,
        services,
        complete: decided.gaps.length === 0,
        gaps: decided.gaps,
        counts: countChanges(changes),
        storedBytes: 0,
        preImageBytes: decided.preImageBytes,
      },
      changes: settled,
      contentBefore: (path) => contentOf(stored, changesOf.get(path)?.before?.sha256),
      contentAfter: (path) => contentOf(kept, changesOf.get(path)?.after?.sha256),
      deltas: decided.deltas,
      folderAttributes: (path) => folders.get(path) ?? goneFolder,
      packages: packageSetOf(after, manager),
      packageRecords: await packageRecords(place, packages, after),
    },
    {
      nextNumber: async () => await nextEntryNumber(logbook, { signal: machine.signal }),
      signal: machine.signal,
    },
  )
}

/** Whether what makes a file is there, nobody asks: then the content is kept. */
async function rulesThere(
  machine: RemoteMachine,
  changes: readonly PathChange[],
  packages: PackagesNow,
): Promise<(change: PathChange) => string | undefined> {
  const { always } = servingRules(() => false, packages)
  const ruled = changes.flatMap((change) => {
    const rule = always(change.path)
    return rule && change.before?.type === 'file' ? [{ change, rule }] : []
  })
  const grown = ruled.filter(({ change, rule }) => standsIn(rule, change, () => true))
  const logs = grown.flatMap(({ change, rule }) => (rule.standsFor === 'growth' ? [change] : []))
  const begin = await beginningsOf(machine, logs)
  const rules = new Map(
    grown.map(({ change, rule }) => [
      change.path,
      standsIn(rule, change, () => begin.get(change.path) === change.before?.sha256) ? rule.name : undefined,
    ]),
  )
  return ({ path }) => rules.get(path)
}

/** Hashes of what lies there now, as far as it was long before. */
async function beginningsOf(
  machine: RemoteMachine,
  changes: readonly PathChange[],
): Promise<ReadonlyMap<RawPath, string>> {
  if (changes.length === 0) return new Map()
  const said = await work(machine, {
    script: `xargs -0 -n 2 sh -c 'head -c "$1" -- "$2" 2>/dev/null | sha256sum' sh`,
    stdin: nulTerminated(changes.flatMap(({ path, before }) => [asRaw(String(before?.size ?? 0)), path])),
    doing: 'compare logs',
  })
  const sums = said.split('\n').map((line) => line.slice(0, 64))
  return new Map(changes.map(({ path }, at) => [path, sums[at] ?? '']))
}

/** A folder that is gone stands above a path that is gone, too. */
const goneFolder: Attributes = { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n }

/** Numbers of inodes and times of change, once everything is in its place: by them a path is known to be untouched later. */
function settle(
  change: RecordedChange,
  now: ReadonlyMap<RawPath, Attributes>,
  kept: ReadonlyMap<string, StoredFile>,
): RecordedChange {
  if (change.after === undefined) return change
  const status = now.get(change.path)
  const afterKept = change.afterKept && kept.has(change.after.sha256 ?? '')
  const { inode: _, ctimeNs: __, deviceId: ___, ...after } = change.after
  // What was written there since the commit is not what the transaction made of it.
  if (status === undefined || !isStill(after, status)) return { ...change, afterKept, after }
  const { inode, ctimeNs, deviceId } = status
  return {
    ...change,
    afterKept,
    after: {
      ...after,
      ...(inode === undefined ? {} : { inode }),
      ...(ctimeNs === undefined ? {} : { ctimeNs }),
      ...(deviceId === undefined ? {} : { deviceId }),
    },
  }
}

/** A commit keeps the times of files. */
function isStill(after: Fingerprint, now: Attributes): boolean {
  return (
    after.type === now.type &&
    (after.type === 'symlink' || after.mode === now.mode) &&
    after.uid === now.uid &&
    after.gid === now.gid &&
    (after.type !== 'file' || (after.size === now.size && after.mtimeNs === now.mtimeNs))
  )
}

async function factsOf(machine: RemoteMachine): Promise<BaseFacts> {
  const bytes = await readRemoteFile(machine, pathIn(rootPath, '/etc/os-release'), osReleaseBytesMax).catch(
    () => undefined,
  )
  const hostname = asRaw(machine.name)
  return { hostname, ...(bytes ? { os: parseOsRelease(bytes.toString('utf8')) } : {}) }
}
