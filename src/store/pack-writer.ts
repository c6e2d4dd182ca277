// Puts payloads that are compressed already into packs, data and trees apart, without threads: what a prune needs.
import { hash } from 'node:crypto'
import { openPool } from '../base/pool.ts'
import type { BlobId, PackId, TreeId } from '../model/ids.ts'
import { sealBytes } from './cipher.ts'
import { encodePackHeader, packBlobsMax, type PackedBlob, packHeaderBytes } from './pack-format.ts'
import type { Vault } from './sealed-file.ts'
import type { BlobType } from './store.ts'

export interface Payload {
  readonly type: BlobType
  readonly id: BlobId | TreeId
  readonly payload: Uint8Array
  /** Set where the payload is compressed. */
  readonly plainLength?: number | undefined
}

export interface PackWriter {
  /** The payload is free again when this returns; it waits while two packs are on their way. */
  add(payload: Payload): Promise<void>
  /** Stores what is open and waits for everything; throws the first failure. */
  flush(): Promise<void>
  /** Waits for what is on its way, and forgets what is open. */
  abandon(): Promise<void>
}

export interface PackWriterOptions {
  readonly vault: Vault
  /** A pack is closed before it grows beyond this; a single larger blob has one of its own. */
  readonly packBytes: number
  /** Called when a pack is durable. */
  readonly onStored: (stored: { pack: PackId; blobs: readonly PackedBlob[]; bytes: number }) => Promise<void>
}

const packsOnTheirWay = 2

interface OpenPack {
  readonly buffer: Buffer
  readonly blobs: PackedBlob[]
  used: number
  headerBytes: number
}

const emptyHeaderBytes = packHeaderBytes([])

/** Holds four packs at most: one of each type open, two on their way. */
export function openPackWriter({ vault, packBytes, onStored }: PackWriterOptions): PackWriter {
  const pool = openPool(packsOnTheirWay)
  const open = new Map<BlobType, OpenPack>()
  // Fresh memory of this size waits long for the collector: buffers are used again.
  const spare: Buffer[] = []

  const begin = (bytes: number): OpenPack => {
    const buffer =
      bytes <= packBytes ? (spare.pop() ?? Buffer.allocUnsafeSlow(packBytes)) : Buffer.allocUnsafeSlow(bytes)
    return { buffer, blobs: [], used: 0, headerBytes: emptyHeaderBytes }
  }
  const close = async (type: BlobType) => {
    const full = open.get(type)
    open.delete(type)
    if (!full) return
    await pool.start(async () => {
      const { buffer, blobs, used } = full
      const content = buffer.subarray(0, used + encodePackHeader(vault.cipher, blobs).copy(buffer, used))
      const pack = hash('sha256', content) as PackId
      await vault.backend.put({ kind: 'pack', name: pack }, content)
      if (buffer.length === packBytes) spare.push(buffer)
      await onStored({ pack, blobs, bytes: content.length })
    })
  }
  return {
    async add({ type, id, payload, plainLength }) {
      const length = payload.length + sealBytes
      const compressed = plainLength === undefined ? {} : { plainLength }
      const entryBytes = packHeaderBytes([compressed]) - emptyHeaderBytes
      const isFull = ({ used, headerBytes, blobs, buffer }: OpenPack) =>
        used + headerBytes + length + entryBytes > buffer.length || blobs.length >= packBlobsMax
      let current = open.get(type)
      while (current && isFull(current)) {
        await close(type)
        // Another caller may have begun one meanwhile.
        current = open.get(type)
      }
      current ??= begin(emptyHeaderBytes + length + entryBytes)
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
    async abandon() {
      open.clear()
      await pool.drain().catch(() => {})
    },
  }
}
