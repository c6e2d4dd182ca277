// Puts sealed blobs together into packs: data and trees apart (restic, doc/design.rst, "Pack Format").
import { hash } from 'node:crypto'
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

export interface PackerOptions {
  readonly cipher: Cipher
  /** A pack is closed before it grows beyond this; a single larger blob has a pack of its own. */
  readonly packBytes: number
  /** Memory of `packBytes`; this is where a packer waits while too many packs are on their way. */
  readonly takeBuffer: () => Buffer
  /** Takes over the pack, and the buffer that it lies in. */
  readonly onFull: (pack: FullPack) => void
}

interface OpenPack {
  readonly buffer: Buffer
  readonly blobs: PackedBlob[]
  used: number
  headerBytes: number
}

export function openPacker({ cipher, packBytes, takeBuffer, onFull }: PackerOptions): Packer {
  const open = new Map<BlobType, OpenPack>()
  const begin = (bytes: number): OpenPack => {
    // Fresh memory costs more than the cipher that fills it: buffers of the usual size are used again.
    const buffer = bytes <= packBytes ? takeBuffer() : Buffer.allocUnsafeSlow(bytes)
    return { buffer, blobs: [], used: 0, headerBytes: packHeaderBytes([]) }
  }
  const close = (type: BlobType) => {
    const full = open.get(type)
    open.delete(type)
    if (!full) return
    const { buffer, blobs, used } = full
    const content = buffer.subarray(0, used + encodePackHeader(cipher, blobs).copy(buffer, used))
    onFull({ pack: hash('sha256', content) as PackId, blobs, content })
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
      current.blobs.push({ type, id, offset: current.used, length, ...compressed })
      current.used += length
      current.headerBytes += entryBytes
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

function hasRoom({ used, headerBytes, buffer, blobs }: OpenPack, bytes: number): boolean {
  return used + headerBytes + bytes <= buffer.length && blobs.length < packBlobsMax
}
