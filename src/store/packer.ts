// Puts sealed blobs together into packs: data and trees apart (restic, doc/design.rst, "Pack Format").
import { createHash, hash, type Hash } from 'node:crypto'
import { writeStaged } from '../backend/staged-file.ts'
import type { BlobId, PackId, TreeId } from '../model/ids.ts'
import { type Cipher, sealBytes } from './cipher.ts'
import { encodePackHeader, packBlobsMax, type PackedBlob, packHeaderBytes } from './pack-format.ts'
import type { BlobType } from './store.ts'

export interface Packer {
  /** The payload is free again afterwards. */
  add(blob: NewBlob): void
  /** Whether `add` would close a pack to make room for it. */
  isFullFor(blob: NewBlob): boolean
  close(type: BlobType): void
  /** Closes what is open. */
  flush(): void
}

export interface NewBlob {
  readonly type: BlobType
  readonly id: BlobId | TreeId
  /** Compressed where `plainLength` is set. */
  readonly payload: Uint8Array
  readonly plainLength?: number | undefined
}

/** A pack that is whole and not stored yet. */
export interface FullPack {
  readonly pack: PackId
  readonly blobs: readonly PackedBlob[]
  readonly content: Uint8Array
}

/** A pack that is whole and lies in a staged file. */
export interface StagedPack {
  readonly pack: PackId
  readonly blobs: readonly PackedBlob[]
  readonly bytes: number
  readonly descriptor: number
}

/** For packs that are written as they grow: of a large one little more than one blob is in memory. */
export interface PackStaging {
  /** A descriptor for one pack; this is where a packer waits while too many packs are on their way. */
  readonly takeFile: () => number
  /** Takes over the file. */
  readonly onWritten: (pack: StagedPack) => void
}

export interface PackerOptions {
  readonly cipher: Cipher
  /** A pack is closed before it grows beyond this; a single larger blob has a pack of its own. */
  readonly packBytes: number
  /** Memory of `packBytes`; this is where a packer waits while too many packs are on their way. */
  readonly takeBuffer: () => Buffer
  /** Takes over the pack, and the buffer that it lies in. */
  readonly onFull: (pack: FullPack) => void
  /** Without it, and below a megabyte, packs stay in memory until they are full. */
  readonly staging?: PackStaging | undefined
}

interface OpenPack {
  readonly buffer: Buffer
  readonly blobs: PackedBlob[]
  /** What of the pack lies in the buffer. */
  used: number
  headerBytes: number
  /** What was written before that. */
  written: number
  file?: { readonly descriptor: number; readonly digest: Hash }
}

/** So much is written at once. */
const pieceBytes = 1024 * 1024

export function openPacker({ cipher, packBytes, takeBuffer, onFull, staging }: PackerOptions): Packer {
  const open = new Map<BlobType, OpenPack>()
  /** Of packs that were written to files. */
  const spare: Buffer[] = []
  const begin = (bytes: number): OpenPack => {
    // Fresh memory costs more than the cipher that fills it: buffers of the usual size are used again.
    const buffer = bytes <= packBytes ? (spare.pop() ?? takeBuffer()) : Buffer.allocUnsafeSlow(bytes)
    return { buffer, blobs: [], used: 0, headerBytes: packHeaderBytes([]), written: 0 }
  }
  const write = (pack: OpenPack, { takeFile }: PackStaging) => {
    pack.file ??= { descriptor: takeFile(), digest: createHash('sha256') }
    const piece = pack.buffer.subarray(0, pack.used)
    writeStaged(pack.file.descriptor, piece, pack.written)
    pack.file.digest.update(piece)
    pack.written += pack.used
    pack.used = 0
  }
  const close = (type: BlobType) => {
    const full = open.get(type)
    open.delete(type)
    if (!full) return
    const { buffer, blobs, file } = full
    full.used += encodePackHeader(cipher, blobs).copy(buffer, full.used)
    if (!file || !staging) {
      const content = buffer.subarray(0, full.used)
      onFull({ pack: hash('sha256', content) as PackId, blobs, content })
      return
    }
    write(full, staging)
    if (buffer.length === packBytes) spare.push(buffer)
    const pack = file.digest.digest('hex') as PackId
    staging.onWritten({ pack, blobs, bytes: full.written, descriptor: file.descriptor })
  }
  const isFullFor = (blob: NewBlob): boolean => {
    const current = open.get(blob.type)
    return current !== undefined && !hasRoom(current, blob.payload.length + sealBytes + entryBytesOf(blob))
  }
  return {
    add(blob) {
      const { type, id, payload, plainLength } = blob
      const length = payload.length + sealBytes
      const compressed = plainLength === undefined ? {} : { plainLength }
      const entryBytes = entryBytesOf(blob)
      if (isFullFor(blob)) close(type)
      const current = open.get(type) ?? begin(length + entryBytes + packHeaderBytes([]))
      open.set(type, current)
      cipher.sealInto(current.buffer, current.used, payload)
      current.blobs.push({ type, id, offset: current.written + current.used, length, ...compressed })
      current.used += length
      current.headerBytes += entryBytes
      if (staging && current.used >= pieceBytes) write(current, staging)
    },
    isFullFor,
    close,
    flush() {
      close('data')
      close('tree')
    },
  }
}

function entryBytesOf({ plainLength }: NewBlob): number {
  return packHeaderBytes([plainLength === undefined ? {} : { plainLength }]) - packHeaderBytes([])
}

function hasRoom({ written, used, headerBytes, buffer, blobs }: OpenPack, bytes: number): boolean {
  return written + used + headerBytes + bytes <= buffer.length && blobs.length < packBlobsMax
}
