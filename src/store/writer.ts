// Writes blobs, trees and snapshots, in an order in which a crash at any line is harmless.
import { hash } from 'node:crypto'
import { type Clock, systemClock } from '../base/clock.ts'
import { VmlError } from '../base/failure.ts'
import type { BlobId, PackId, TreeId } from '../model/ids.ts'
import type { TreeNode } from '../model/tree.ts'
import { comparePacks, readUnindexed } from './adoption.ts'
import { openByteGate } from './byte-gate.ts'
import { type Chunker, openChunker } from './chunker.ts'
import type { Config } from './config.ts'
import { findZeroChunk, openFileSink, type ZeroChunk } from './file-sink.ts'
import { indexBlobsMax, type IndexedPack, writeIndexFile } from './index-file.ts'
import type { LoadedIndex } from './loaded-index.ts'
import type { HeldLock } from './lock.ts'
import { openPacker } from './packer.ts'
import type { Vault } from './sealed-file.ts'
import { writeSnapshotFile } from './snapshot-file.ts'
import type { BlobType, CallOptions, Writer } from './store.ts'
import { decodeTree, encodeTree } from './tree-codec.ts'
import { openCompressor } from './zstd.ts'

export interface WriterOptions {
  readonly vault: Vault
  readonly index: LoadedIndex
  /** Released by the writer. */
  readonly lock: HeldLock
  readonly config: Config
  readonly packBytes?: number | undefined
  readonly clock?: Clock | undefined
}

export const packBytesDefault = 16 * 1024 * 1024
// Below this, handing a blob to another thread costs more than compressing it here.
const syncBytesMax = 32 * 1024
/** Chunks that wait for a free thread; a few of average size per core. */
const compressingBytesMax = 24 * 1024 * 1024
const copyStepBytes = 512 * 1024
const spareBytesMax = 2 * 1024 * 1024
const sparesMax = 8
// The longer a save takes, the less often it writes an index: they all are read at the next start.
const indexEveryMsMin = 30 * 1000
const indexEveryMsMax = 10 * 60 * 1000

/**
 * Packs, then index, then snapshot, each durable before the next: a snapshot never names a blob that is not there, and
 * a kill between any two of them leaves packs or an index that nothing needs yet, which the next writer takes in.
 */
export async function openWriter(
  { vault, index, lock, config, packBytes = packBytesDefault, clock = systemClock }: WriterOptions,
  { signal }: CallOptions = {},
): Promise<Writer> {
  const table = await index.refresh({ signal })
  const { unusable, unindexed } = await comparePacks(vault, table, { signal })
  const compressor = openCompressor()
  const gate = openByteGate(compressingBytesMax)
  const copies = openCopies()
  /** Blobs on their way into a pack that is not durable yet. */
  const claimed = new Set<string>()
  const unwritten: IndexedPack[] = []
  let unwrittenBlobs = 0
  let indexEveryMs = indexEveryMsMin
  let indexedAt = clock.now()
  let writingIndex: Promise<void> = Promise.resolve()
  let cutting: { readonly chunker: Chunker; readonly zero: ZeroChunk } | undefined
  let fileIsOpen = false
  let broken: { readonly error: unknown } | undefined
  const counts = { newBlobs: 0, knownBlobs: 0, newBytes: 0, storedBytes: 0 }

  const name = (type: BlobType, id: string) => `${type === 'tree' ? 't' : 'd'}${id}`
  const hasStored = (type: BlobType, id: BlobId | TreeId) =>
    unusable.size === 0
      ? table.has(type, id)
      : table.findAll(type, id).some(({ pack }) => !unusable.has(pack))
  const has = (type: BlobType, id: BlobId | TreeId) => claimed.has(name(type, id)) || hasStored(type, id)

  const writeIndex = async () => {
    if (unwritten.length === 0) return
    const packs = unwritten.splice(0)
    unwrittenBlobs = 0
    await lock.ensureHeld()
    index.wrote(await writeIndexFile(vault, packs))
    indexedAt = clock.now()
  }
  /** One at a time, so that none is under way when the last one has been waited for. */
  const writeIndexInTurn = async () => {
    writingIndex = writingIndex.then(writeIndex)
    await writingIndex
  }
  const addPack = async (pack: PackId, blobs: IndexedPack['blobs']) => {
    table.add(pack, blobs)
    // A reader of the same process may have loaded the index anew meanwhile.
    if (index.current !== table) index.current.add(pack, blobs)
    unwritten.push({ pack, blobs })
    unwrittenBlobs += blobs.length
    const due = clock.now() - indexedAt > indexEveryMs
    if (!due && unwrittenBlobs < indexBlobsMax) return
    if (due) indexEveryMs = Math.min(indexEveryMs * 2, indexEveryMsMax)
    await writeIndexInTurn()
  }
  const packer = openPacker({
    vault,
    packBytes,
    onStored: async ({ pack, blobs, bytes }) => {
      counts.storedBytes += bytes
      for (const { type, id } of blobs) claimed.delete(name(type, id))
      await addPack(pack, blobs)
    },
  })
  /** After a failure here nothing may be committed any more: a claimed blob may be missing. */
  const guarded = async <T>(task: () => Promise<T>): Promise<T> => {
    refuseIfEnded()
    try {
      return await task()
    } catch (error) {
      broken ??= { error }
      throw error
    }
  }
  const refuseIfEnded = () => {
    if (broken) throw broken.error
    signal?.throwIfAborted()
  }
  /** Returns when the bytes are free again; they may still be on their way. */
  const storeBlob = async (type: BlobType, id: BlobId | TreeId, bytes: Uint8Array): Promise<void> => {
    if (has(type, id)) {
      counts.knownBlobs++
      return
    }
    claimed.add(name(type, id))
    counts.newBlobs++
    counts.newBytes += bytes.length
    const pack = async (compressed: Uint8Array | undefined, plain: Uint8Array) =>
      await packer.add({
        type,
        id,
        payload: compressed ?? plain,
        ...(compressed ? { plainLength: plain.length } : {}),
      })
    if (bytes.length <= syncBytesMax) {
      await pack(compressor.compressSync(bytes), bytes)
    } else {
      // The chunker's memory is written over meanwhile.
      const copy = copies.take(bytes)
      await gate.start(bytes.length, async () => {
        await pack(await compressor.compress(copy), copy)
        copies.giveBack(copy)
      })
    }
  }
  // Only where nobody else writes: their packs are about to be indexed by themselves.
  if (unindexed.size > 0 && !lock.shared) {
    for await (const { pack, blobs } of readUnindexed(vault, unindexed, { signal }))
      await addPack(pack, blobs)
  }

  return {
    openFile() {
      if (fileIsOpen) throw new Error('Another file is open')
      if (!cutting) {
        const chunker = openChunker({ algorithm: config.chunker, polynomial: config.polynomial })
        cutting = { chunker, zero: findZeroChunk(chunker) }
      }
      fileIsOpen = true
      const sink = openFileSink({
        ...cutting,
        store: {
          async storeChunk(bytes) {
            const id = hash('sha256', bytes) as BlobId
            await guarded(async () => await storeBlob('data', id, bytes))
            return id
          },
        },
        onEnd: () => {
          fileIsOpen = false
        },
      })
      return {
        async write(segment) {
          refuseIfEnded()
          await sink.write(segment)
        },
        finish: async () => await sink.finish(),
        abort: () => sink.abort(),
      }
    },
    async storeTree(nodes) {
      for (const node of nodes) assertNodeStored(node, has)
      const bytes = encodeTree(nodes)
      const id = hash('sha256', bytes) as TreeId
      await guarded(async () => await storeBlob('tree', id, bytes))
      return id
    },
    async copyBlob(type, bytes) {
      if (type === 'tree') {
        for (const node of decodeTree(bytes)) assertNodeStored(node, has)
      }
      const id = hash('sha256', bytes) as BlobId | TreeId
      await guarded(async () => await storeBlob(type, id, bytes))
    },
    hasBlob: has,
    async flush() {
      await guarded(async () => {
        await gate.drain()
        await packer.flush()
        await writeIndexInTurn()
      })
    },
    statistics: () => ({ ...counts }),
    async commit(snapshot, options = {}) {
      assertStored('tree', snapshot.tree, has)
      return await guarded(async () => {
        await gate.drain()
        await packer.flush()
        await writeIndexInTurn()
        options.signal?.throwIfAborted()
        await lock.ensureHeld()
        return await writeSnapshotFile(vault, snapshot)
      })
    },
    async [Symbol.asyncDispose]() {
      // What is there is kept for the next save, as far as it goes: no snapshot was promised, so that a failure here,
      // which may be the one that the caller knows already, takes nothing away.
      for (const step of [gate.drain, packer.flush, writeIndexInTurn]) await step().catch(() => {})
      await lock[Symbol.asyncDispose]()
    },
  }
}

/** Memory for chunks that wait: fresh memory costs more than the copy into it, so what was given back is used again. */
function openCopies() {
  const spare: Buffer[] = []
  return {
    take(bytes: Uint8Array): Buffer {
      const fitting = spare.findIndex(({ length }) => length >= bytes.length)
      const [found] = fitting < 0 ? [] : spare.splice(fitting, 1)
      const buffer = found ?? Buffer.allocUnsafeSlow(Math.ceil(bytes.length / copyStepBytes) * copyStepBytes)
      buffer.set(bytes)
      return buffer.subarray(0, bytes.length)
    },
    giveBack(copy: Buffer): void {
      if (copy.buffer.byteLength <= spareBytesMax && spare.length < sparesMax)
        spare.push(Buffer.from(copy.buffer))
    },
  }
}

function assertNodeStored(node: TreeNode, has: (type: BlobType, id: BlobId | TreeId) => boolean): void {
  for (const id of node.content ?? []) assertStored('data', id, has)
  if (node.subtree !== undefined) assertStored('tree', node.subtree, has)
}

/** A tree or snapshot that names what is not there would look whole and could never be restored. */
function assertStored(
  type: BlobType,
  id: BlobId | TreeId,
  has: (type: BlobType, id: BlobId | TreeId) => boolean,
) {
  if (has(type, id)) return
  throw new VmlError(
    'integrity.missing',
    `Cannot refer to ${type} blob ${id.slice(0, 8)}: it is not stored`,
    {
      details: { blob: id, type },
      hint: 'Save again with --full, which stores it again',
    },
  )
}
