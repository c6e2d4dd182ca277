// The header at the end of a pack, which says what blobs it holds (restic, doc/design.rst, "Pack Format").
import { isFailure, VmlError } from '../base/failure.ts'
import type { BlobId, TreeId } from '../model/ids.ts'
import { type Cipher, sealBytes } from './cipher.ts'
import type { BlobType } from './store.ts'

/** Where a blob lies in a pack. `plainLength` is set for a compressed blob only. */
export interface PackedBlob {
  readonly type: BlobType
  readonly id: BlobId | TreeId
  readonly offset: number
  /** Sealed bytes. */
  readonly length: number
  readonly plainLength?: number
}

export const headerLengthBytes = 4
/** restic's bound; 400,000 blobs at most. */
export const headerBytesMax = 16 * 1024 * 1024
/** Entries that fit; a pack is closed before. */
export const packBlobsMax = Math.floor((headerBytesMax - sealBytes) / 41)

// Type, sealed length, SHA-256; a compressed blob has its plain length in between.
const plainEntryBytes = 1 + 4 + 32
const compressedEntryBytes = plainEntryBytes + 4

/** The sealed header followed by its length in four bytes, little-endian. */
export function encodePackHeader(cipher: Cipher, blobs: readonly PackedBlob[]): Buffer {
  const plain = Buffer.allocUnsafe(blobs.length * compressedEntryBytes)
  let at = 0
  for (const blob of blobs) {
    const compressed = blob.plainLength !== undefined
    plain[at] = (blob.type === 'tree' ? 1 : 0) + (compressed ? 2 : 0)
    at = plain.writeUInt32LE(blob.length, at + 1)
    if (compressed) at = plain.writeUInt32LE(blob.plainLength, at)
    at += plain.write(blob.id, at, 'hex')
  }
  const sealed = Buffer.allocUnsafe(at + sealBytes + headerLengthBytes)
  const length = cipher.sealInto(sealed, 0, plain.subarray(0, at))
  sealed.writeUInt32LE(length, length)
  return sealed
}

/** Bytes that the header takes at the end of a pack with these blobs. */
export function packHeaderBytes(blobs: Iterable<Pick<PackedBlob, 'plainLength'>>): number {
  let bytes = sealBytes + headerLengthBytes
  for (const blob of blobs) bytes += blob.plainLength === undefined ? plainEntryBytes : compressedEntryBytes
  return bytes
}

/** From the last four bytes of a pack: how many bytes the sealed header before them has. */
export function parseHeaderLength(tail: Buffer, packBytes: number): number {
  const length = tail.readUInt32LE(0)
  if (
    length < sealBytes + plainEntryBytes ||
    length > headerBytesMax ||
    length + headerLengthBytes > packBytes
  ) {
    throw new VmlError('integrity.format', `the header cannot have ${length} bytes in a pack of ${packBytes}`)
  }
  return length
}

/** The blobs in order. They must fill the pack to the byte, which a cut-off or foreign file does not. */
export function decodePackHeader(cipher: Cipher, sealed: Buffer, packBytes: number): PackedBlob[] {
  const plain = openHeader(cipher, sealed)
  const blobs: PackedBlob[] = []
  let offset = 0
  for (let at = 0; at < plain.length;) {
    const kind = plain[at] ?? 0
    const entryBytes = kind >= 2 ? compressedEntryBytes : plainEntryBytes
    if (kind > 3 || at + entryBytes > plain.length) {
      throw new VmlError('integrity.format', 'the header of the pack is not what restic writes')
    }
    const length = plain.readUInt32LE(at + 1)
    if (length < sealBytes) throw new VmlError('integrity.format', 'a blob in the header is too short')
    const type = kind % 2 === 1 ? 'tree' : 'data'
    const id = plain.toString('hex', at + entryBytes - 32, at + entryBytes) as BlobId
    blobs.push({
      type,
      id,
      offset,
      length,
      ...(kind >= 2 ? { plainLength: plain.readUInt32LE(at + 5) } : {}),
    })
    offset += length
    at += entryBytes
  }
  if (offset + sealed.length + headerLengthBytes !== packBytes) {
    throw new VmlError('integrity.truncated', 'the blobs in the header do not add up to the size of the pack')
  }
  return blobs
}

function openHeader(cipher: Cipher, sealed: Buffer): Buffer {
  try {
    return cipher.open(sealed)
  } catch (error) {
    if (!isFailure(error)) throw error
    throw new VmlError(error.code, 'the header of the pack was changed', { cause: error })
  }
}
