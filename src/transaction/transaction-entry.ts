// A transaction as an entry of the logbook: written when it is recorded, read when it is looked at or taken back.
import { createHash } from 'node:crypto'
import { cutText } from '../base/cut-text.ts'
import { VmlError } from '../base/failure.ts'
import { mapOrdered } from '../base/pool.ts'
import { printable } from '../base/raw-text.ts'
import type { BaseFacts, EntryDocument, Snapshot } from '../model/entry.ts'
import type { PackageSet } from '../model/packages.ts'
import { type RawPath } from '../model/raw-path.ts'
import type { Attributes, TreeNode } from '../model/tree.ts'
import type { RecordedChange } from '../model/transaction.ts'
import {
  changesBytesMax,
  encodeReadable,
  encodeTransaction,
  openChangesReader,
  parseTransaction,
  type TransactionDocument,
  writtenReason,
} from '../model/transaction-record.ts'
import {
  cutField,
  cutPackageWord,
  cutUser,
  noteCharactersMax,
  packagesMax,
  withinLimits,
} from '../model/transaction-limits.ts'
import type { PackageRecords } from '../packages/package-system.ts'
import type { Repository, Writer } from '../store/store.ts'
import {
  entryName,
  joinDescription,
  type LoggedEntry,
  openVmlFile,
  ownTags,
  readVmlFile,
} from '../engine/entries.ts'
import { readWhole } from './entry-contents.ts'
import { type FileContent, type PathToStore, storePaths } from './transaction-tree.ts'
import { storeBytes, storePieces, storeVmlFolder, type VmlFile } from '../engine/vml-folder.ts'

/** Who and where, for `/.vml/entry.json`. */
export interface RecordedMachine {
  readonly name: string
  readonly facts: BaseFacts
}

export interface TransactionToStore {
  readonly title: string
  readonly note: string
  readonly tags: readonly string[]
  readonly machine: RecordedMachine
  /** `storedBytes` is filled in. */
  readonly document: TransactionDocument
  /** Sorted by path. */
  readonly changes: readonly RecordedChange[]
  /** Content before it, of each path whose pre-image is a blob. */
  contentBefore(path: RawPath): FileContent
  /** Content after it, of each path with `afterKept`. */
  contentAfter(path: RawPath): FileContent
  /** By the names that pre-images give them. */
  readonly deltas: ReadonlyMap<string, Uint8Array>
  /** Of a folder of the machine, for the tree. */
  folderAttributes(path: RawPath): Attributes
  /** What is installed after it. */
  readonly packages?: PackageSet | undefined
  /** What package systems need to take it back, beside the paths: documents by name. */
  readonly packageRecords?: PackageRecords
  /** What the command printed. */
  readonly log?: Uint8Array | undefined
}

export interface StoredTransaction {
  readonly snapshot: Snapshot
  readonly number: number
  readonly document: TransactionDocument
}

/**
 * Order: contents after it, contents before it, documents, trees, then the snapshot, which is the commit. A content before it that is another one by
 * now (a program has the file open) is lost, and the record says so. Contents after it come first: what stands on one that is another by now is kept whole.
 */
export async function storeTransaction(
  writer: Writer,
  whole: TransactionToStore,
  { nextNumber, signal }: { nextNumber: () => Promise<number>; signal?: AbortSignal | undefined },
): Promise<StoredTransaction> {
  const transaction = cutTitle(whole)
  const { contentBefore, contentAfter, folderAttributes } = transaction
  const after = await storePaths(writer, aftersOf(transaction.changes, contentAfter), folderAttributes)
  const possible = withoutAfters(transaction.changes, new Set(after.altered))
  const { nodes, altered } = await storePaths(writer, blobsOf(possible, contentBefore), folderAttributes)
  const changes = withoutLost(possible, new Set(altered))
  const needed = new Set(changes.map(({ preImage }) => preImage.kind === 'delta' && preImage.file))
  const deltas: VmlFile[] = []
  for (const [name, bytes] of transaction.deltas)
    if (needed.has(name)) deltas.push({ name, stored: await storeBytes(writer, bytes) })
  const records: VmlFile[] = []
  for (const [name, bytes] of transaction.packageRecords ?? [])
    records.push({ name, stored: await storeBytes(writer, bytes) })
  const { pieces, leftOut } = encodeReadable(changes)
  const changesFile: VmlFile = { name: 'changes.jsonl', stored: await storePieces(writer, pieces) }
  const gaps = [...altered.map((path) => ({ path, reason: writtenReason })), ...gapOf(leftOut)]
  // What it costs is told by what lies in packs: all but a few documents.
  await writer.flush()
  const document = withinLimits({
    ...transaction.document,
    complete: transaction.document.complete && gaps.length === 0,
    gaps: [...transaction.document.gaps, ...gaps],
    storedBytes: writer.statistics().storedBytes,
  })
  const number = await nextNumber()
  const entry = entryDocumentOf(transaction, { number, nodes })
  const folder = await storeVmlFolder(
    writer,
    [
      { name: 'entry.json', bytes: await encodedEntry(entry) },
      { name: 'transaction.json', bytes: encodeTransaction(document) },
      changesFile,
      ...(deltas.length > 0 ? [{ name: 'deltas', files: deltas }] : []),
      ...(after.nodes.length > 0 ? [{ name: 'after', nodes: after.nodes }] : []),
      ...(transaction.packages ? [await packagesFile(transaction.packages)] : []),
      ...(records.length > 0 ? [{ name: 'packages', files: records }] : []),
      ...(transaction.log ? [{ name: 'log.txt', bytes: transaction.log }] : []),
    ],
    Date.parse(document.endedAt),
  )
  const tree = await writer.storeTree([...nodes, folder])
  const snapshot = await writer.commit(
    {
      time: document.startedAt,
      tree,
      paths: ['/'],
      hostname: transaction.machine.name,
      username: document.user.name,
      tags: [...ownTags(entry), ...transaction.tags],
      description: joinDescription(transaction),
    },
    { signal },
  )
  return { snapshot, number, document }
}

function cutTitle(transaction: TransactionToStore): TransactionToStore {
  const { title, note, document } = transaction
  const user = cutUser(document.user)
  return {
    ...transaction,
    title: cutField(title),
    note: cutText(note, noteCharactersMax),
    document: { ...document, user },
  }
}

/** Before a commit that is refused; where the machine was changed already, it is told. One for all: a list of records reads this for each. */
function gapOf([first, ...others]: readonly RecordedChange[]): TransactionDocument['gaps'] {
  if (first === undefined) return []
  const more = others.length === 0 ? 'it is' : `it and ${others.length} more are`
  return [{ path: first.path, reason: `${more} not recorded: a record does not hold so much` }]
}

/** A recorded transaction, as its entry tells it. */
export interface ReadTransaction {
  readonly entry: LoggedEntry
  readonly document: TransactionDocument
  readonly changes: readonly RecordedChange[]
}

interface ReadOptions {
  readonly signal?: AbortSignal | undefined
}

/** `usage` for an entry of another kind. */
export async function readTransactionDocument(
  repository: Repository,
  entry: LoggedEntry,
  options: ReadOptions = {},
): Promise<TransactionDocument> {
  if (entry.kind !== 'transaction')
    throw new VmlError(
      'usage',
      `Cannot take ${entryName(entry)} for a transaction: it is of kind ${entry.kind}`,
      {
        hint: 'Nothing was changed. vml tx list shows the transactions',
      },
    )
  return parseTransaction(await requireVmlFile(repository, entry, 'transaction.json', options))
}

export async function readTransaction(
  repository: Repository,
  entry: LoggedEntry,
  options: ReadOptions = {},
): Promise<ReadTransaction> {
  const document = await readTransactionDocument(repository, entry, options)
  return { entry, document, changes: await readChanges(repository, entry, options) }
}

/** As they come: the list may be longer than any text. */
async function readChanges(
  repository: Repository,
  entry: LoggedEntry,
  { signal }: ReadOptions,
): Promise<RecordedChange[]> {
  const name = 'changes.jsonl'
  const limits = { bytesMax: changesBytesMax, signal }
  const pieces = await openVmlFile(repository, entry.snapshot, name, limits)
  if (pieces === undefined) throw notThere(entry, name)
  const reader = openChangesReader()
  for await (const piece of pieces) reader.take(piece)
  return reader.end()
}

/** Each may have tens of thousands of paths: not all of a long history are read at once. In their order. */
export async function readTransactionsOf(
  repository: Repository,
  entries: readonly LoggedEntry[],
  options: ReadOptions = {},
  /** What stands for one that cannot be read. */
  instead: (entry: LoggedEntry, error: unknown) => Promise<ReadTransaction> = rethrow,
): Promise<ReadTransaction[]> {
  return await mapOrdered(
    entries,
    readsAtOnce,
    async (entry) =>
      await readTransaction(repository, entry, options).catch((error: unknown) => instead(entry, error)),
  )
}

function rethrow(_entry: LoggedEntry, error: unknown): never {
  throw error
}

const readsAtOnce = 4

async function requireVmlFile(
  repository: Repository,
  entry: LoggedEntry,
  name: string,
  options: ReadOptions,
): Promise<Buffer> {
  const bytes = await readVmlFile(repository, entry.snapshot, name, options)
  if (bytes) return bytes
  throw notThere(entry, name)
}

function notThere(entry: LoggedEntry, name: string): VmlError {
  return new VmlError('integrity.missing', `Cannot read ${entryName(entry)}: /.vml/${name} is not there`, {
    hint: 'vml check tells whether the logbook is damaged',
  })
}

/** What package systems noted of it; empty where they did not. */
export async function readPackageRecords(
  repository: Repository,
  { snapshot }: LoggedEntry,
  options: ReadOptions = {},
): Promise<PackageRecords> {
  const found = new Map<string, Uint8Array>()
  let tree: TreeNode['subtree'] = snapshot.tree
  for (const name of ['.vml', 'packages']) {
    if (tree === undefined) return found
    tree = (await repository.readTree(tree, options)).find((node) => node.name === name)?.subtree
  }
  if (tree === undefined) return found
  for (const node of await repository.readTree(tree, options)) {
    if (node.type !== 'file') continue
    if ((node.size ?? 0) > packageRecordBytesMax)
      throw new VmlError(
        'integrity.format',
        `Cannot read /.vml/packages/${printable(node.name)}: it is too large`,
      )
    found.set(printable(node.name), await readWhole(repository, node, options))
  }
  return found
}

/** A header of each of some thousand packages, of 20 KiB each and a few of megabytes. */
const packageRecordBytesMax = 1024 * 1024 * 1024

function* blobsOf(
  changes: readonly RecordedChange[],
  contentBefore: TransactionToStore['contentBefore'],
): Generator<PathToStore> {
  for (const { path, before, preImage } of changes)
    if (preImage.kind === 'blob' && before)
      yield { path, attributes: before, content: contentBefore(path), sha256: before.sha256 }
}

function* aftersOf(
  changes: readonly RecordedChange[],
  contentAfter: TransactionToStore['contentAfter'],
): Generator<PathToStore> {
  for (const { path, after, afterKept } of changes)
    if (afterKept && after)
      yield { path, attributes: after, content: contentAfter(path), sha256: after.sha256 }
}

/** Nothing pins what the entry itself was to have: a delta against it would never be undone. */
function withoutAfters(
  changes: readonly RecordedChange[],
  altered: ReadonlySet<RawPath>,
): readonly RecordedChange[] {
  if (altered.size === 0) return changes
  return changes.map((change) => {
    if (!altered.has(change.path)) return change
    const { preImage, after } = change
    const isBase = preImage.kind === 'delta' && preImage.base === after?.sha256
    return { ...change, preImage: isBase ? { kind: 'blob' } : preImage, afterKept: false }
  })
}

function withoutLost(
  changes: readonly RecordedChange[],
  altered: ReadonlySet<RawPath>,
): readonly RecordedChange[] {
  if (altered.size === 0) return changes
  return changes.map((change) =>
    altered.has(change.path) ? { ...change, preImage: { kind: 'lost', reason: writtenReason } } : change,
  )
}

function entryDocumentOf(
  { title, note, machine, document, changes }: TransactionToStore,
  { number, nodes }: { number: number; nodes: readonly TreeNode[] },
): EntryDocument {
  const files = changes.filter(({ before }) => before?.type === 'file')
  const base64 = Buffer.from('/root').toString('base64')
  return {
    schema: 1,
    kind: 'transaction',
    title,
    note,
    machine: machine.name,
    number,
    mode: 'full',
    startedAt: document.startedAt,
    user: { name: document.user.name, uid: document.user.uid, gid: 0, home: '/root', homeRaw: base64 },
    // It speaks for no folder: what it has lies at the paths' own places.
    roots: [],
    facts: machine.facts,
    scan: { startedNs: (BigInt(Date.parse(document.startedAt)) * 1_000_000n).toString(), resolutionNs: 1 },
    fidelity: {
      timeResolutionNs: 1,
      ctime: true,
      inode: true,
      ownerNames: false,
      xattrs: true,
      acls: true,
      sparse: true,
      notes: [],
    },
    rules: { exclude: [], defaults: false },
    excluded: [],
    problems: [],
    mounts: [],
    cvmfs: [],
    caches: [],
    outcome: document.complete ? 'complete' : 'partial',
    statistics: {
      files: files.length,
      folders: nodes.length,
      others: changes.length - files.length,
      bytes: document.preImageBytes,
      filesRead: files.length,
      bytesRead: document.preImageBytes,
    },
  }
}

async function encodedEntry(document: EntryDocument): Promise<Uint8Array> {
  const { encodeEntryDocument } = await import('../model/documents.ts')
  return encodeEntryDocument(document)
}

async function packagesFile(packages: PackageSet): Promise<VmlFile> {
  const { encodePackages } = await import('../model/documents.ts')
  const readable = packages.packages.slice(0, packagesMax).map(({ name, version, architecture }) => ({
    name: cutPackageWord(name),
    version: cutPackageWord(version),
    architecture: cutPackageWord(architecture),
  }))
  return { name: 'packages.json', bytes: encodePackages({ ...packages, packages: readable }) }
}

/** SHA-256 in lower-case hex, as fingerprints have it. */
export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
