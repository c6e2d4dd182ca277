// What the threads of a restore are told and what they answer: plain columns, so that little is copied between threads.
import type { Xattr } from '../model/tree.ts'
import type { Attributes, NodeType } from '../model/tree.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { RawText } from '../base/raw-text.ts'
import type { BlobKey } from '../store/blob-decoder.ts'
import type { LocalItem } from '../source/local-write.ts'
import type { Standing } from '../source/standing.ts'

/** With what a thread begins. */
export interface ThreadData {
  readonly key: BlobKey
  readonly temporaryFolder: string
  readonly owners: boolean
  readonly run: string
  readonly thread: number
}

/** Items by their columns. */
export interface PackedItems {
  readonly paths: readonly RawPath[]
  /** Of each: type, mode, uid, gid, seconds, nanoseconds, size, whether it replaces, number of its part or -1. */
  readonly numbers: Float64Array
  /** Few have any. */
  readonly rare: readonly (readonly [number, Rare])[]
}

interface Rare {
  readonly xattrs?: readonly Xattr[]
  readonly linkTarget?: RawText
  readonly device?: bigint
  readonly seen?: Standing
}

/** What a thread writes content from. */
export type Bytes =
  | { readonly kind: 'file'; readonly path: string; readonly offset: number; readonly length: number }
  | { readonly kind: 'sealed'; readonly bytes: Uint8Array }
  /** One blob that is open already. */
  | { readonly kind: 'plain'; readonly bytes: Uint8Array }

export interface WriteJob {
  readonly do: 'write'
  readonly items: PackedItems
  readonly from: Bytes
  readonly ids: readonly string[]
  /** Of each blob: start, length, plain length or -1. */
  readonly blobs: Float64Array
  /** Of each place: number of the blob, of the item, byte in the file. By blobs, ascending. */
  readonly targets: Float64Array
}
export interface FinishJob {
  readonly do: 'finish'
  readonly items: PackedItems
}
export interface EmptyJob {
  readonly do: 'empty'
  readonly items: PackedItems
}
export interface ProveJob {
  readonly do: 'prove'
  readonly items: PackedItems
  /** Of each item: 1 where the attributes are told in full. */
  readonly told: Uint8Array
  /** The chunks of the regular files among the items, one file after the other. */
  readonly ids: readonly string[]
  readonly lengths: Float64Array
  /** Of each item: how many chunks, -1 where no content is compared. */
  readonly counts: Int32Array
  /** Where the content of the first item begins: a large file comes in several jobs. */
  readonly from: number
}
export type RestoreJob = WriteJob | FinishJob | EmptyJob | ProveJob

export interface ItemFailure {
  readonly item: number
  /** Of the system: `EPERM`. */
  readonly code: string
}

export interface Seen {
  readonly item: number
  /** Why nothing was seen, as a code of the system. */
  readonly code?: string
  readonly found?: Attributes
  readonly content?: 'equal' | 'other'
}

export interface JobResult {
  readonly failures: readonly ItemFailure[]
  /** Blobs that cannot be opened from these bytes. */
  readonly bad: readonly number[]
  /** What differs, or was to be told in full. */
  readonly seen: readonly Seen[]
}

export type ThreadAnswer =
  | { readonly kind: 'result'; readonly job: number; readonly result: JobResult }
  /** The disk is full: nothing more is written. */
  | { readonly kind: 'space'; readonly job: number; readonly message: string }
  | { readonly kind: 'defect'; readonly job: number; readonly error: unknown }

const columns = 9
const types: readonly NodeType[] = ['file', 'dir', 'symlink', 'fifo', 'dev', 'chardev', 'socket', 'irregular']
const nsPerSecond = 1_000_000_000n

export interface JobItem extends LocalItem {
  /** Content that several jobs put together under a name of its own. */
  readonly part?: number | undefined
}

export function packItems(items: readonly JobItem[]): PackedItems {
  const numbers = new Float64Array(items.length * columns)
  const rare: [number, Rare][] = []
  for (const [index, { attributes, replaces, seen, part = -1 }] of items.entries()) {
    const { type, mode, uid, gid, mtimeNs, size = 0, xattrs, linkTarget, device } = attributes
    const fraction = ((mtimeNs % nsPerSecond) + nsPerSecond) % nsPerSecond
    const seconds = Number((mtimeNs - fraction) / nsPerSecond)
    const row = [types.indexOf(type), mode, uid, gid, seconds, Number(fraction), size, Number(replaces), part]
    numbers.set(row, index * columns)
    if (xattrs !== undefined || linkTarget !== undefined || device !== undefined || seen) {
      rare.push([
        index,
        {
          ...(xattrs === undefined ? {} : { xattrs }),
          ...(linkTarget === undefined ? {} : { linkTarget }),
          ...(device === undefined ? {} : { device }),
          ...(seen ? { seen } : {}),
        },
      ])
    }
  }
  return { paths: items.map(({ path }) => path), numbers, rare }
}

export function unpackItems({ paths, numbers, rare }: PackedItems): JobItem[] {
  const more = new Map(rare)
  return paths.map((path, index) => {
    const at = index * columns
    const number = (column: number): number => numbers[at + column] ?? 0
    const part = number(8)
    const type = types[number(0)] ?? 'irregular'
    const { seen, ...told } = more.get(index) ?? {}
    return {
      path,
      ...(seen ? { seen } : {}),
      replaces: number(7) === 1,
      part: part < 0 ? undefined : part,
      attributes: {
        type,
        mode: number(1),
        uid: number(2),
        gid: number(3),
        mtimeNs: BigInt(number(4)) * nsPerSecond + BigInt(number(5)),
        ...(type === 'file' ? { size: number(6) } : {}),
        ...told,
      },
    }
  })
}
