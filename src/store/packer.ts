// Puts sealed blobs together into packs and stores full ones: data and trees apart (restic, doc/design.rst, "Pack Format").
import { hash } from 'node:crypto'
import { openPool } from '../base/pool.ts'
import type { BlobId, PackId, TreeId } from '../model/ids.ts'
import { sealBytes } from './cipher.ts'
import { encodePackHeader, packBlobsMax, type PackedBlob, packHeaderBytes } from './pack-format.ts'
import type { Vault } from './sealed-file.ts'
import type { BlobType } from './store.ts'

export interface Packer {
  /** Seals the payload before it returns a promise; the promise waits while too many packs are on their way. */
  add(blob: NewBlob): Promise<void>
  /** Stores what is open and waits for everything; throws the first failure. */
  flush(): Promise<void>
}

export interface NewBlob {
  readonly type: BlobType
  readonly id: BlobId | TreeId
  /** Compressed where `plainLength` is set. */
  readonly payload: Uint8Array
  readonly plainLength?: number
}

export interface PackerOptions {
  readonly vault: Vault
  /** A pack is closed before it grows beyond this; a single larger blob has a pack of its own. */
  readonly packBytes: number
  /** Called when a pack is durable. */
  readonly onStored: (stored: { pack: PackId; blobs: readonly PackedBlob[]; bytes: number }) => Promise<void>
}

interface OpenPack {
  readonly buffer: Buffer
  readonly blobs: PackedBlob[]
  used: number
  headerBytes: number
}

export function openPacker({ vault, packBytes, onStored }: PackerOptions): Packer {
  const pool = openPool(Math.max(1, Math.min(vault.backend.traits.connections, packsInFlightMax)))
  const open = new Map<BlobType, OpenPack>()
  // Fresh memory costs more than the cipher that fills it: buffers of the usual size are used again.
  const spare: Buffer[] = []

  const begin = (bytes: number): OpenPack => {
    const buffer =
      bytes <= packBytes ? (spare.pop() ?? Buffer.allocUnsafeSlow(packBytes)) : Buffer.allocUnsafeSlow(bytes)
    return { buffer, blobs: [], used: 0, headerBytes: packHeaderBytes([]) }
  }
  const store = async ({ buffer, blobs, used }: OpenPack) => {
    const bytes = used + encodePackHeader(vault.cipher, blobs).copy(buffer, used)
    const content = buffer.subarray(0, bytes)
    const pack = hash('sha256', content) as PackId
    await vault.backend.put({ kind: 'pack', name: pack }, content)
    if (buffer.length === packBytes && spare.length < packsInFlightMax) spare.push(buffer)
    await onStored({ pack, blobs, bytes })
  }
  const close = async (type: BlobType) => {
    const full = open.get(type)
    open.delete(type)
    if (full && full.blobs.length > 0) await pool.start(async () => await store(full))
  }
  return {
    async add({ type, id, payload, plainLength }) {
      const length = payload.length + sealBytes
      const compressed = plainLength === undefined ? {} : { plainLength }
      const entryBytes = packHeaderBytes([compressed]) - packHeaderBytes([])
      let waiting: Promise<void> | undefined
      let current = open.get(type)
      if (
        current &&
        (current.used + length + current.headerBytes + entryBytes > current.buffer.length ||
          current.blobs.length >= packBlobsMax)
      ) {
        waiting = close(type)
        current = undefined
      }
      current ??= begin(length + packHeaderBytes([compressed]))
      open.set(type, current)
      vault.cipher.sealInto(current.buffer, current.used, payload)
      current.blobs.push({ type, id, offset: current.used, length, ...compressed })
      current.used += length
      current.headerBytes += entryBytes
      await waiting
    },
    async flush() {
      await close('data')
      await close('tree')
      await pool.drain()
    },
  }
}

const packsInFlightMax = 2
