// The blobs of a pack as bytes, 45 for each: between threads, and until an index names them, there are very many at once.
import type { BlobId } from '../model/ids.ts'
import type { PackedBlob } from './pack-format.ts'

export interface BlobRecords {
  readonly count: number
  readonly bytes: Uint8Array
}

const idBytes = 32
const recordBytes = idBytes + 1 + 3 * 4

export function recordBlobs(blobs: readonly PackedBlob[]): BlobRecords {
  const bytes = Buffer.allocUnsafeSlow(blobs.length * recordBytes)
  let at = 0
  for (const { id, type, offset, length, plainLength } of blobs) {
    bytes.write(id, at, 'hex')
    bytes[at + idBytes] = (type === 'tree' ? 1 : 0) + (plainLength === undefined ? 0 : 2)
    bytes.writeUInt32LE(offset, at + idBytes + 1)
    bytes.writeUInt32LE(length, at + idBytes + 5)
    at = bytes.writeUInt32LE(plainLength ?? 0, at + idBytes + 9)
  }
  return { count: blobs.length, bytes }
}

/** May be gone through any number of times. */
export function recordedBlobs(records: BlobRecords): Iterable<PackedBlob> & { readonly length: number } {
  return { length: records.count, [Symbol.iterator]: () => readRecords(records) }
}

function* readRecords({ bytes: given }: BlobRecords): IterableIterator<PackedBlob> {
  const bytes = Buffer.from(given.buffer, given.byteOffset, given.length)
  for (let at = 0; at < bytes.length; at += recordBytes) {
    const kind = bytes[at + idBytes] ?? 0
    yield {
      type: kind % 2 === 1 ? 'tree' : 'data',
      id: bytes.toString('hex', at, at + idBytes) as BlobId,
      offset: bytes.readUInt32LE(at + idBytes + 1),
      length: bytes.readUInt32LE(at + idBytes + 5),
      ...(kind >= 2 ? { plainLength: bytes.readUInt32LE(at + idBytes + 9) } : {}),
    }
  }
}
