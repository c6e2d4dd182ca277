// Puts sealed blobs together into packs and stores full ones: data and trees apart (restic, doc/design.rst, "Pack Format").
import { hash } from 'node:crypto'
import { openPool } from '../base/pool.ts'
import type { BlobId, PackId, TreeId } from '../model/ids.ts'
import { sealBytes } from './cipher.ts'
import { encodePackHeader, packBlobsMax, type PackedBlob, packHeaderBytes } from './pack-format.ts'
import type { Vault } from './sealed-file.ts'
import type { BlobType } from './store.ts'

export interface Packer {
  /** Waits while too many packs are on their way; the payload is free again afterwards. */
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
  let stalled: Promise<void> | undefined
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
      let current: OpenPack | undefined
      for (;;) {
        // A full pack that waits for its turn stops everybody: each further one would hold as much memory.
        while (stalled) await stalled.catch(() => {})
        current = open.get(type)
        if (!current || hasRoom(current, length + entryBytes)) break
        stalled = close(type).finally(() => {
          stalled = undefined
        })
        await stalled
      }
      current ??= begin(length + packHeaderBytes([compressed]))
      open.set(type, current)
      vault.cipher.sealInto(current.buffer, current.used, payload)
      current.blobs.push({ type, id, offset: current.used, length, ...compressed })
      current.used += length
      current.headerBytes += entryBytes
    },
    async flush() {
      await close('data')
      await close('tree')
      await pool.drain()
    },
  }
}

function hasRoom({ used, headerBytes, buffer, blobs }: OpenPack, bytes: number): boolean {
  return used + headerBytes + bytes <= buffer.length && blobs.length < packBlobsMax
}

const packsInFlightMax = 2
