// Puts blobs that a repair keeps into new packs: sealed ones byte for byte as they were, new ones compressed and sealed.
import { hash } from 'node:crypto'
import { zstdCompressSync } from 'node:zlib'
import type { BlobId, PackId, TreeId } from '../model/ids.ts'
import { type IdSet, openIdSet } from '../base/id-set.ts'
import { sealBytes } from './cipher.ts'
import type { IndexedPack } from './index-file.ts'
import { encodePackHeader, packBlobsMax, type PackedBlob } from './pack-format.ts'
import type { Vault } from './sealed-file.ts'
import type { BlobType } from './store.ts'

export interface RepairPacker {
  /** Bytes that were proved to be the blob; the key is the same, so they need not be sealed anew. */
  addSealed(blob: Pick<PackedBlob, 'type' | 'id' | 'plainLength'>, sealed: Uint8Array): Promise<void>
  /** `isThere`: whether it need not be stored. */
  add(
    type: BlobType,
    content: Uint8Array,
    isThere: (id: BlobId | TreeId) => boolean,
  ): Promise<BlobId | TreeId>
  /** Stores what is open, and returns every pack that was stored. */
  finish(): Promise<readonly IndexedPack[]>
  readonly storedBytes: number
}

/** As a writer's. */
const packBytes = 16 * 1024 * 1024

interface OpenPack {
  parts: Uint8Array[]
  blobs: PackedBlob[]
  bytes: number
}

/** Holds one open pack of each type. `beforePut` is asked before each write, for the lock. */
export function openRepairPacker(vault: Vault, beforePut: () => Promise<void>): RepairPacker {
  const open: Record<BlobType, OpenPack> = { data: emptyPack(), tree: emptyPack() }
  const known: Record<BlobType, IdSet> = { data: openIdSet(), tree: openIdSet() }
  const stored: IndexedPack[] = []
  let storedBytes = 0

  const close = async (type: BlobType) => {
    const { parts, blobs } = open[type]
    open[type] = emptyPack()
    if (blobs.length === 0) return
    const content = Buffer.concat([...parts, encodePackHeader(vault.cipher, blobs)])
    const pack = hash('sha256', content) as PackId
    await beforePut()
    await vault.backend.put({ kind: 'pack', name: pack }, content)
    stored.push({ pack, blobs })
    storedBytes += content.length
  }
  const addSealed: RepairPacker['addSealed'] = async ({ type, id, plainLength }, sealed) => {
    if (!known[type].add(id)) return
    const pack = open[type]
    const compressed = plainLength === undefined ? {} : { plainLength }
    pack.blobs.push({ type, id, offset: pack.bytes, length: sealed.length, ...compressed })
    // A copy: a part of a pack that was read would keep all of it in memory.
    pack.parts.push(Buffer.from(sealed))
    pack.bytes += sealed.length
    if (pack.bytes >= packBytes || pack.blobs.length >= packBlobsMax) await close(type)
  }
  return {
    addSealed,
    async add(type, content, isThere) {
      const id = hash('sha256', content) as BlobId | TreeId
      if (known[type].has(id) || isThere(id)) return id
      const frame = zstdCompressSync(content)
      const plainLength = frame.length + sealBytes < content.length ? content.length : undefined
      const blob = { type, id, ...(plainLength === undefined ? {} : { plainLength }) }
      await addSealed(blob, vault.cipher.seal(plainLength === undefined ? content : frame))
      return id
    },
    async finish() {
      await close('data')
      await close('tree')
      return stored
    },
    get storedBytes() {
      return storedBytes
    },
  }
}

function emptyPack(): OpenPack {
  return { parts: [], blobs: [], bytes: 0 }
}
