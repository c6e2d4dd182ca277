// The face of a repair: what of a damaged repository can still be read, and the steps that make it whole again.
import type { FileRef } from '../backend/backend.ts'
import type { Reporter } from '../base/progress.ts'
import type { Snapshot } from '../model/entry.ts'
import type { BlobId, IndexId, PackId, SnapshotId, TreeId } from '../model/ids.ts'
import type { RawName } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import type { ByteRange } from './check-pack-content.ts'
import type { BlobType, CallOptions } from './store.ts'

/**
 * Another way to the bytes of a pack: recovery data, a second copy. It is healed only if they have the hash in its name; else each blob is taken
 * that is right. Undefined where there is no way.
 */
export type HealPack = (pack: PackId, damaged: readonly ByteRange[]) => Promise<Buffer | undefined>

export interface RepairOptions extends CallOptions {
  /** Reads every byte; without it packs are taken for sound whose size and header are right. */
  readonly readData: boolean
  /** Only looks: a shared lock is enough, and `run` is refused. */
  readonly look: boolean
  readonly heal?: HealPack | undefined
  /** Keeps a damaged file where the storage cannot set it aside; returns where. */
  readonly keepCopy?: ((file: FileRef, content: Buffer) => Promise<string>) | undefined
  readonly reporter: Reporter
}

export interface DamagedPack {
  readonly pack: PackId
  readonly state: 'damaged' | 'missing'
  readonly message: string
  readonly bytes: number
  /** Blobs that only this pack has and that are still right. */
  readonly salvaged: number
  /** Blobs that can be read nowhere any more. */
  readonly lost: number
  /** Its bytes came back by other means. */
  readonly healed: boolean
}

/** What was found in the files of the repository: plain data, for a plan. */
export interface RepairSurvey {
  readonly packs: readonly DamagedPack[]
  readonly damagedIndexes: readonly { readonly id: IndexId; readonly message: string }[]
  /** Whole, but they name packs that are damaged, gone, or hold other blobs. */
  readonly wrongIndexes: readonly IndexId[]
  readonly damagedSnapshots: readonly { readonly id: SnapshotId; readonly message: string }[]
  /** `renamedTo`: it still says how to open the repository, and is kept under the name that its content has. */
  readonly damagedKeys: readonly {
    readonly id: string
    readonly message: string
    readonly renamedTo?: string
  }[]
  readonly bytesRead: number
}

export interface Repair extends AsyncDisposable {
  readonly survey: RepairSurvey
  /** Those that can be read. */
  readonly snapshots: readonly Snapshot[]
  /** Whether a blob can be read after the repair. Asking for it makes its pack needed. */
  has(type: BlobType, id: BlobId | TreeId): boolean
  /** Bytes of a blob's content, also of one that is lost; undefined where no index names it. */
  blobLength(type: BlobType, id: BlobId | TreeId): number | undefined
  readBlob(id: BlobId): Promise<Buffer>
  /** Undefined for one whose bytes are right and that VML cannot read all the same: it stays as it is. */
  readTree(id: TreeId): Promise<readonly TreeNode[] | undefined>
  /** Every tree that can be read, needed or not. */
  trees(): Iterable<TreeId>
  /** How many packs that no index names are needed, by what `has` was asked. */
  readonly unindexedNeeded: number
  /**
   * In this order, each step durable before the next: what is still right of damaged packs, and what `store` adds, in new
   * packs; an index of them; the new snapshots; then the damaged files and those that these replace go. Up to there
   * everything that could be read can be read as before; after it, through the new files. Cut off anywhere, the next repair goes on.
   */
  run(work: RepairWork, options?: CallOptions): Promise<RepairResult>
}

export interface RepairWork {
  readonly store?: (target: RepairTarget) => Promise<RepairedSnapshots>
}

export interface RepairedSnapshots {
  readonly added: readonly Omit<Snapshot, 'id'>[]
  /** Readable, and replaced by one of the above or by one that is there: they are set aside. */
  readonly replaced: readonly SnapshotId[]
}

export interface TreeEdit {
  readonly drop: ReadonlySet<RawName>
  /** Folders that get another tree. */
  readonly subtrees: ReadonlyMap<RawName, TreeId>
  /** In the place of one of that name, or new. */
  readonly put: readonly TreeNode[]
}

export interface RepairTarget {
  /** Stores a blob of data, unless it is there. */
  addData(content: Uint8Array): Promise<BlobId>
  addTree(nodes: readonly TreeNode[]): Promise<TreeId>
  /** The tree with other nodes; those that stay keep every byte, whatever program wrote them. */
  editTree(id: TreeId, edit: TreeEdit): Promise<TreeId>
}

export interface RepairResult {
  readonly snapshots: readonly Snapshot[]
  readonly storedBytes: number
  /** Damaged files that were kept, and where; `undefined` for one that had to stay where it is. */
  readonly aside: readonly {
    readonly kind: FileRef['kind']
    readonly name: string
    readonly place?: string
  }[]
}
