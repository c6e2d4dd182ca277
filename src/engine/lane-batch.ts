// Files on their way to a lane, and what became of them on the way back, as columns: objects by the hundred thousand are memory that V8 takes back late.
import type { BlobId } from '../model/ids.ts'
import type { NodeType } from '../model/tree.ts'
import type { Listing } from './listing.ts'
import { fingerprintBytes, inInode, inMode, type Row, types } from './listing-row.ts'

/** A path as the scan saw it. */
export interface LaneFile {
  /** Its bytes; a view. */
  readonly path: Buffer
  readonly type: NodeType
  readonly size: number
  readonly inode: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

export interface LaneBatch {
  /** Of each file what a listing has of it (listing-row.ts), one behind the other. */
  readonly fingerprints: Uint8Array
  /** The same with the paths, and where each ends. */
  readonly paths: Uint8Array
  readonly pathEnds: Uint32Array
}

export function encodeBatch(listing: Listing, rows: readonly Row[]): LaneBatch {
  const fingerprints = new Uint8Array(rows.length * fingerprintBytes)
  const pathEnds = new Uint32Array(rows.length)
  const paths: string[] = []
  let end = 0
  for (const [index, row] of rows.entries()) {
    fingerprints.set(listing.fingerprint(row), index * fingerprintBytes)
    const path = listing.path(row)
    paths.push(path)
    end += path.length
    pathEnds[index] = end
  }
  const bytes = Buffer.allocUnsafeSlow(end)
  bytes.write(paths.join(''), 'latin1')
  return { fingerprints, paths: bytes, pathEnds }
}

export function* decodeBatch({ fingerprints, paths, pathEnds }: LaneBatch): IterableIterator<LaneFile> {
  const bytes = Buffer.from(paths.buffer, paths.byteOffset, paths.length)
  const view = new DataView(fingerprints.buffer, fingerprints.byteOffset, fingerprints.length)
  let start = 0
  for (const [index, end] of pathEnds.entries()) {
    const at = index * fingerprintBytes
    const type = types[view.getUint32(at + inMode * 4, isLittleEndian) >>> 16] ?? 'irregular'
    yield {
      path: bytes.subarray(start, end),
      type,
      size: view.getFloat64(at + 24, isLittleEndian),
      inode: view.getBigUint64(at + inInode * 4, isLittleEndian),
      mtimeNs: view.getBigInt64(at, isLittleEndian),
      ctimeNs: view.getBigInt64(at + 8, isLittleEndian),
    }
    start = end
  }
}

const isLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1
const idBytes = 32

/** Of each file: 1 where it was read and is as the scan saw it, with nothing to tell but the content; else `others` has it. */
export interface LaneResults<Other> {
  readonly plain: Uint8Array
  /** How many blobs each plain one has, and all their ids. */
  readonly counts: Uint32Array
  readonly ids: Uint8Array
  readonly others: readonly (readonly [index: number, found: Other])[]
}

export function openResults<Other>(files: number) {
  const plain = new Uint8Array(files)
  const counts = new Uint32Array(files)
  const others: [number, Other][] = []
  const content: BlobId[] = []
  return {
    addPlain(index: number, blobs: readonly BlobId[]): void {
      plain[index] = 1
      counts[index] = blobs.length
      for (const blob of blobs) content.push(blob)
    },
    addOther: (index: number, found: Other): void => void others.push([index, found]),
    end(): LaneResults<Other> {
      const ids = Buffer.allocUnsafeSlow(content.length * idBytes)
      for (const [at, id] of content.entries()) ids.write(id, at * idBytes, 'hex')
      return { plain, counts, ids, others }
    },
  }
}

/** In the order of the files: the ids of a plain one, or what else was found. */
export function* readResults<Other>({
  plain,
  counts,
  ids,
  others,
}: LaneResults<Other>): IterableIterator<Uint8Array | Other | undefined> {
  const found = new Map(others)
  let at = 0
  for (const [index, isPlain] of plain.entries()) {
    if (isPlain === 0) {
      yield found.get(index)
      continue
    }
    const end = at + (counts[index] ?? 0) * idBytes
    yield ids.subarray(at, end)
    at = end
  }
}
