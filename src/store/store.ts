// The face of the store: a restic repository, seen as blobs, trees and snapshots. See docs/format.md.
import type { Snapshot } from '../model/entry.ts'
import type { BlobId, PackId, RepositoryId, SnapshotId, TreeId } from '../model/ids.ts'
import type { Segment, TreeNode } from '../model/tree.ts'
import type { Reporter } from '../base/progress.ts'
import type { ContentAccess } from './content-access.ts'
import type { PackSample } from './check-sample.ts'
import type { Parity } from './parity.ts'
import type { Repair, RepairOptions } from './repair.ts'
import type { PruneOptions, PruneRun } from './prune.ts'

export interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

export interface ReadOptions extends CallOptions {
  /** What is read will be read again: worth a copy on this computer where the storage is another one. Trees always are. */
  readonly keep?: boolean | undefined
}

export type BlobType = 'data' | 'tree'

export interface WriteOptions {
  readonly lock?: 'shared' | 'exclusive'
  /** For entries of a few MB that stay for long: smaller, for more of processor time. What is large is compressed as ever. */
  readonly thorough?: boolean
}

export interface Repository extends AsyncDisposable {
  readonly id: RepositoryId
  readonly version: 1 | 2
  /** For messages. */
  readonly location: string
  /** True for version 1 and for storage that cannot be written. */
  readonly readOnly: boolean
  /** The key file that opened it: a hint for the next time. */
  readonly keyId: string
  readonly chunker: { readonly algorithm: 'gear' | 'rabin'; readonly polynomial: bigint }

  /** Every snapshot; damaged ones fail with `integrity.*` unless `onDamage` takes them. */
  snapshots(
    options?: CallOptions & { onDamage?: (id: SnapshotId, error: unknown) => void },
  ): AsyncIterable<Snapshot>
  /** The names of all snapshots without reading them, so that a catalogue reads only what it does not know. */
  snapshotIds(options?: CallOptions): AsyncIterable<SnapshotId>
  readSnapshot(id: SnapshotId, options?: CallOptions): Promise<Snapshot>
  /** Nodes in bytewise order of their names. Loads the index at first use. */
  readTree(id: TreeId, options?: CallOptions): Promise<readonly TreeNode[]>
  readBlob(id: BlobId, options?: CallOptions): Promise<Buffer>
  /** The bytes of a tree as they were stored, for a copy that keeps every field of another program. */
  readTreeBytes(id: TreeId, options?: CallOptions): Promise<Buffer>
  /** For threads that read packs and open blobs by themselves. */
  openContents(options?: CallOptions): Promise<ContentAccess>
  /** Content of a file in order; long runs of zeros come as holes. */
  readFile(content: readonly BlobId[], options?: ReadOptions): AsyncIterable<Segment>
  /** What the index names at this moment, to ask without waiting. That a pack is gone or cut off is not noticed here. */
  indexView(options?: CallOptions): Promise<IndexView>
  /** Length of a blob's content in bytes, from the index. `integrity.missing` when no index names it. */
  blobLength(type: BlobType, id: BlobId | TreeId): Promise<number>

  /**
   * Takes a lock (shared unless asked otherwise), which is refreshed until the writer is disposed. `store.locked`
   * when another program holds the repository alone, or holds it at all where the lock is exclusive, and does so for some seconds. Under an
   * exclusive one `removeSnapshot` may be called: an edit writes the new snapshot, then removes the old.
   */
  beginWrite(options?: CallOptions & WriteOptions): Promise<Writer>
  /**
   * A lock without a writer, for reading for long or for removing. One that stands in the way and looks as if it was left behind is watched
   * for some minutes, unless `watch` is false: then it is refused like any other.
   */
  lock(
    kind: 'shared' | 'exclusive',
    options?: CallOptions & { readonly watch?: boolean | undefined },
  ): Promise<AsyncDisposable>
  /** Needs an exclusive lock held by the caller, as restic's `forget` does. */
  removeSnapshot(id: SnapshotId, options?: CallOptions): Promise<void>
  /** Looks for what no snapshot needs, under a shared lock; `waitMs` is how long to try for a lock, here and for the exclusive one later. */
  beginPrune(options: PruneOptions & { readonly waitMs?: number }): Promise<PruneRun>
  check(options: CheckOptions): Promise<CheckReport>
  /** Recovery data for packs. */
  openParity(): Promise<Parity>
  /** Takes an exclusive lock, or a shared one to look only, and finds out what is damaged and what can be done; by recovery data, too, unless `heal` is given. */
  beginRepair(options: RepairOptions): Promise<Repair>
  /** Lets one more password open the repository; returns the id of its key file. */
  addKey(key: NewKey, options?: CallOptions): Promise<string>
  /** Every key file, by what it says of itself in the clear. */
  keys(options?: CallOptions): AsyncIterable<KeyDescription>
  /** The key file that this password opens, proved by reading it back and opening the config with it; undefined where none does. */
  findKey(
    password: Uint8Array,
    options?: CallOptions & { readonly hint?: string | undefined },
  ): Promise<string | undefined>
  /** Needs an exclusive lock held by the caller, as restic's `key remove` does. */
  removeKey(id: string, options?: CallOptions): Promise<void>
  /** Every lock, with what can be told of its holder from here. */
  locks(options?: CallOptions): AsyncIterable<LockDescription>
  /** Removes locks whose holders are proved to be gone; watches those that look so for some minutes first. */
  removeStaleLocks(
    options?: CallOptions & { readonly onWatch?: LockWatch | undefined },
  ): Promise<readonly LockDescription[]>
  /** Whoever holds them: for a person who knows better. */
  removeLocks(ids: readonly string[], options?: CallOptions): Promise<void>
}

export interface IndexView {
  has(type: BlobType, id: BlobId | TreeId): boolean
  /** Bytes that a blob takes up in its pack; 0 for one that no index names. */
  storedBytes(type: BlobType, id: BlobId | TreeId): number
}

export interface KeyDescription {
  readonly id: string
  readonly username: string
  readonly hostname: string
  /** RFC 3339, as the computer that made it said. */
  readonly created: string
  /** What a try costs: `cheap` where the password is random bytes that nobody can guess. */
  readonly cost: NewKey['cost']
  /** Opened the repository just now. */
  readonly current: boolean
  /** Why it cannot be used; its other fields are empty then. */
  readonly damage?: string
}

/**
 * `held`: refreshed lately, or its process is there. `ended`: its process on this computer is proved to be gone. `missing`: its process is
 * not on the computer of that name that this is; another one of the same name may have it. `silent`: not refreshed for half an
 * hour, by its holder's clock and ours. `unreadable`: its content says nothing.
 */
export type LockState = 'held' | 'ended' | 'missing' | 'silent' | 'unreadable'

/** Hears of locks that are watched, and for how long, before they are removed. */
export type LockWatch = (watched: readonly LockDescription[], ms: number) => void

export interface LockDescription {
  readonly id: string
  readonly state: LockState
  readonly exclusive: boolean
  readonly hostname: string
  readonly username: string
  readonly pid: number
  /** RFC 3339: when it was last refreshed, by the clock of its holder. */
  readonly time: string
}

/** A password and what it may cost to try one: `cheap` for 32 random bytes, `strong` for what a person may have chosen. */
export interface NewKey {
  readonly password: Uint8Array
  readonly cost: 'cheap' | 'strong'
  /** For people who list the keys; not encrypted. */
  readonly username: string
  readonly hostname: string
}

export interface StoredFile {
  readonly content: readonly BlobId[]
  readonly size: number
}

/** Takes the content of one file in order. */
export interface FileSink {
  write(segment: Segment): Promise<void>
  finish(): Promise<StoredFile>
  /** Forgets the file; blobs that were already stored stay and are found again. */
  abort(): void
}

export interface WriterStatistics {
  readonly newBlobs: number
  readonly knownBlobs: number
  /** Bytes before compression of blobs that were not there yet. */
  readonly newBytes: number
  /** Bytes added to the repository. */
  readonly storedBytes: number
}

/**
 * Writes packs, then index, then the snapshot: a snapshot never names a blob that is not durable.
 * What was stored is indexed from time to time, so that after a crash or a lost connection the next save reuses it;
 * disposing without `commit` flushes what is there and leaves no snapshot.
 */
export interface Writer extends AsyncDisposable {
  /** One sink at a time; the next one may be opened while `finish` of the last is under way. `size` helps to choose a thread. */
  openFile(options?: { readonly size?: number | undefined }): FileSink
  /** Nodes may come in any order; they are sorted bytewise. Two of the same name are a defect of the caller. */
  storeTree(nodes: readonly TreeNode[]): Promise<TreeId>
  /** Stores a blob of another repository as it was cut there; its id is the SHA-256 of the bytes. A tree's blobs come before it. */
  copyBlob(type: BlobType, bytes: Uint8Array): Promise<void>
  hasBlob(type: BlobType, id: BlobId | TreeId): boolean
  /** Index files that are known by now, with those that this writer wrote. */
  indexes(): ReadonlySet<string>
  /** True where all these index files still count and every pack of the logbook is there: then nothing was lost since. */
  hasAll(indexes: ReadonlySet<string>): boolean
  /** Threads that `run` may have at work; more tasks than some per thread gain nothing. At least one runs in any case. */
  readonly lanes: number
  /** Says what is about to come, so that threads are started and have room; to be called while nothing is under way. */
  expect(coming: { readonly blobs: number; readonly bytes: number }): Promise<void>
  /**
   * Runs work that reads and stores by itself in one of the writer's threads: the export `run` of a module, a
   * `LaneHandler` (lane-messages.ts). Task and result are cloned. A failure ends the writer: nothing can be committed.
   */
  run(handler: URL, task: unknown): Promise<unknown>
  /** Makes everything stored so far durable and readable through the repository; it costs a pack that is not full. */
  flush(): Promise<void>
  /**
   * Makes content durable and ends the threads that stored it, which hold most of a writer's memory: trees are stored in
   * the caller's. They begin anew where much content follows. False where there were none: then nothing was done.
   */
  endLanes(): Promise<boolean>
  statistics(): WriterStatistics
  /** May be called more than once, each time for another snapshot. */
  commit(snapshot: Omit<Snapshot, 'id'>, options?: CallOptions): Promise<Snapshot>
}

export interface CheckOptions extends CallOptions {
  /** Reads, decrypts and hashes every pack, or a sample of them. */
  readonly readData: boolean | PackSample
  /** From 0 up to 1, to choose a sample. */
  readonly random?: () => number
  readonly reporter: Reporter
}

export interface CheckFinding {
  readonly severity: 'damage' | 'notice'
  readonly what: 'key' | 'snapshot' | 'index' | 'pack' | 'tree' | 'blob' | 'lock' | 'parity' | 'entry'
  readonly id: string
  readonly message: string
  /** Snapshots that cannot be read whole because of it. */
  readonly affects: readonly { readonly snapshot: SnapshotId; readonly paths: readonly string[] }[]
}

export interface CheckReport {
  readonly snapshots: number
  readonly packs: number
  readonly blobs: number
  readonly bytesRead: number
  readonly packsRead: number
  readonly findings: readonly CheckFinding[]
  readonly unusedPacks: readonly PackId[]
}
