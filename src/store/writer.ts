// Writes blobs, trees and snapshots, in an order in which a crash at any line is harmless.
import { hash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { type Clock, systemClock } from '../base/clock.ts'
import { VmlError } from '../base/failure.ts'
import { openPool } from '../base/pool.ts'
import type { BlobId, IndexId, PackId, TreeId } from '../model/ids.ts'
import type { TreeNode } from '../model/tree.ts'
import { comparePacks, readUnindexed } from './adoption.ts'
import { type BlobIndex, openBlobIndex } from './blob-index.ts'
import type { MasterKey } from './cipher.ts'
import type { Config } from './config.ts'
import { type BlobRecords, recordBlobs, recordedBlobs } from './blob-records.ts'
import { indexBlobsMax, writeIndexFile } from './index-file.ts'
import { openLane } from './lane.ts'
import { openCrew } from './lane-crew.ts'
import type { Recorded } from './lane-messages.ts'
import type { LaneFeed } from './lane-feed.ts'
import { type LaneThread, startLane } from './lane-thread.ts'
import type { LoadedIndex } from './loaded-index.ts'
import type { HeldLock } from './lock.ts'
import { openPackStages } from './pack-stages.ts'
import type { FullPack, StagedPack } from './packer.ts'
import type { Vault } from './sealed-file.ts'
import { writeSnapshotFile } from './snapshot-file.ts'
import type { BlobType, CallOptions, FileSink, Writer, WriterStatistics } from './store.ts'
import { decodeTree, encodeTree } from './tree-codec.ts'

/** Sizes that a writer has defaults for. */
export interface WriterLimits {
  readonly packBytes?: number | undefined
  /** As much is stored in the caller's thread before others are started. */
  readonly ownBytesMax?: number | undefined
}

export interface WriterOptions extends WriterLimits {
  readonly vault: Vault
  readonly masterKey: MasterKey
  readonly index: LoadedIndex
  /** Released by the writer. */
  readonly lock: HeldLock
  readonly config: Config
  readonly clock?: Clock | undefined
  /** What is stored in the caller's thread is compressed as small as can be in a short time. */
  readonly thorough?: boolean | undefined
}

export const packBytesDefault = 16 * 1024 * 1024
const lanesMax = 4
/** Threads take 0.2 s of CPU time to start, as much as it takes to store this, and some 50 MiB each. */
const ownBytesMaxDefault = 16 * 1024 * 1024
// The longer a save takes, the less often it writes an index: they all are read at the next start.
const indexEveryMsMin = 30 * 1000
const indexEveryMsMax = 10 * 60 * 1000

/**
 * Packs, then index, then snapshot, each durable before the next: a snapshot never names a blob that is not there, and
 * a kill between any two of them leaves packs or an index that nothing needs yet, which the next writer takes in.
 */
export async function openWriter(options: WriterOptions, { signal }: CallOptions = {}): Promise<Writer> {
  const {
    vault,
    index,
    lock,
    config,
    clock = systemClock,
    packBytes = packBytesDefault,
    ownBytesMax = ownBytesMaxDefault,
    thorough = false,
  } = options
  const loaded = await index.refresh({ signal })
  const { unusable, unindexed } = await comparePacks(vault, loaded, { signal })
  // Nor on packs that a damaged index named: an entry that needs them could only be read by guessing.
  const unreliable = new Set([...unusable, ...index.unnamed])
  const table = unreliable.size === 0 ? loaded : withoutPacks(loaded, unreliable)
  const unwritten: { readonly pack: PackId; readonly blobs: BlobRecords }[] = []
  let unwrittenBlobs = 0
  let indexEveryMs = indexEveryMsMin
  let indexedAt = clock.now()
  let writingIndex: Promise<void> = Promise.resolve()
  let storedBytes = 0
  let ownBytes = 0
  let fileIsOpen = false
  let broken: { readonly error: unknown } | undefined
  let isCommitted = false
  const breakOff = (error: unknown) => {
    broken ??= { error }
  }

  const writeIndex = async () => {
    if (unwritten.length === 0) return
    const packs = unwritten.splice(0)
    unwrittenBlobs = 0
    await lock.ensureHeld()
    const named = packs.map(({ pack, blobs }) => ({ pack, blobs: recordedBlobs(blobs) }))
    index.wrote(await writeIndexFile(vault, named))
    indexedAt = clock.now()
  }
  /** One at a time, so that none is under way when the last one has been waited for. */
  const writeIndexInTurn = async () => {
    writingIndex = writingIndex.then(writeIndex)
    await writingIndex
  }
  const addPack = async (pack: PackId, blobs: BlobRecords) => {
    table.add(pack, recordedBlobs(blobs))
    // A reader of the same process may have loaded the index anew meanwhile.
    if (index.current !== table) index.current.add(pack, recordedBlobs(blobs))
    unwritten.push({ pack, blobs })
    unwrittenBlobs += blobs.count
    const due = clock.now() - indexedAt > indexEveryMs
    if (!due && unwrittenBlobs < indexBlobsMax / 2) return
    if (due) indexEveryMs = Math.min(indexEveryMs * 2, indexEveryMsMax)
    await writeIndexInTurn()
  }
  const putting = openPool(Math.max(1, vault.backend.traits.connections))
  /** Resolves when the pack is durable and known, or when the writer is broken; the pool keeps the failure. */
  const storeBy = async (
    put: () => Promise<void>,
    { pack, blobs, bytes }: { pack: PackId; blobs: BlobRecords; bytes: number },
  ) => {
    const stored = Promise.withResolvers<void>()
    try {
      await putting.start(async () => {
        try {
          if (broken) return
          await put()
          storedBytes += bytes
          await addPack(pack, blobs)
        } catch (error) {
          breakOff(error)
          throw error
        } finally {
          stored.resolve()
        }
      })
    } catch (error) {
      breakOff(error)
      return
    }
    await stored.promise
  }
  const storePack = async ({ content, ...full }: Recorded<FullPack>) =>
    await storeBy(async () => await vault.backend.put({ kind: 'pack', name: full.pack }, content), {
      ...full,
      bytes: content.length,
    })
  const stages = openPackStages(vault.backend)
  const staging = stages && {
    ...stages,
    store: async (pack: Recorded<StagedPack>) => await storeBy(async () => await stages.put(pack), pack),
  }

  // This thread's own lane takes trees, and content while there is little of it.
  const ownBuffers: Buffer[] = []
  const ownPacks = new Set<Promise<void>>()
  const own = openLane({
    masterKey: options.masterKey,
    chunker: config.chunker,
    polynomial: config.polynomial,
    packBytes,
    thorough,
    claims: () => table,
    takeBuffer: () => ownBuffers.pop() ?? Buffer.allocUnsafeSlow(packBytes),
    onFull: (full) => {
      const done: Promise<void> = storePack({ ...full, blobs: recordBlobs(full.blobs) }).finally(() => {
        ownPacks.delete(done)
        if (full.content.buffer.byteLength === packBytes) ownBuffers.push(Buffer.from(full.content.buffer))
      })
      ownPacks.add(done)
    },
    staging: staging && {
      takeFile: staging.open,
      onWritten: (written) => {
        const done: Promise<void> = staging
          .store({ ...written, blobs: recordBlobs(written.blobs) })
          .finally(() => ownPacks.delete(done))
        ownPacks.add(done)
      },
    },
  })
  const crew = openCrew({
    size: Math.min(availableParallelism(), lanesMax),
    table,
    start: () =>
      startLane(
        { masterKey: options.masterKey, chunker: config.chunker, polynomial: config.polynomial, packBytes },
        { store: storePack, staging },
      ),
    onFailure: breakOff,
  })
  /** A pack that waits for its turn stops everybody: each further one would hold as much memory. */
  const settleOwn = async () => {
    while (ownPacks.size > 1) await Promise.race(ownPacks)
    refuseIfEnded()
  }
  const refuseIfEnded = () => {
    if (broken) throw broken.error
    signal?.throwIfAborted()
  }
  /** After a failure here nothing may be committed any more: a claimed blob may be missing. */
  const guarded = async <T>(task: () => T | Promise<T>): Promise<T> => {
    refuseIfEnded()
    try {
      const result = await task()
      if (broken) throw broken.error
      return result
    } catch (error) {
      breakOff(error)
      throw error
    }
  }
  /** No pack is on its way any more. */
  const settlePuts = async () => {
    while (ownPacks.size > 0) await Promise.race(ownPacks)
    await putting.drain()
  }
  /** Everything that was handed over lies in packs that are durable. */
  const settle = async () => {
    await crew.flush()
    own.flush()
    await settlePuts()
    if (broken) throw broken.error
  }
  /** A tree or snapshot that names what is not there would look whole and could never be restored. */
  const assertStored = async (blobs: Iterable<readonly [BlobType, BlobId | TreeId]>) => {
    const missing = [...blobs].filter(([type, id]) => !table.isKnown(type, id))
    if (missing.length === 0) return
    // What a lane could not claim, since the memory for it was full, is known when its pack is stored.
    if (crew.started) await settle()
    for (const [type, id] of missing) {
      if (table.isKnown(type, id)) continue
      throw new VmlError(
        'integrity.missing',
        `Cannot refer to ${type} blob ${id.slice(0, 8)}: it is not stored`,
        {
          details: { blob: id, type },
          hint: 'Save again with --full, which stores it again',
        },
      )
    }
  }
  // Only where nobody else writes: their packs are about to be indexed by themselves.
  if (unindexed.size > 0 && !lock.shared) {
    for await (const { pack, blobs } of readUnindexed(vault, unindexed, { signal }))
      await addPack(pack, recordBlobs(blobs))
  }

  /** Whether so much more is still done in this thread. */
  const isLittle = (bytes: number) => {
    ownBytes += bytes
    return !crew.started && ownBytes <= ownBytesMax
  }
  const ownSink = (): FileSink => ({
    write: async (segment) =>
      await guarded(async () => {
        ownBytes += segment.kind === 'data' ? segment.bytes.length : 0
        if (segment.kind === 'data') own.cutter.write(segment.bytes)
        else own.cutter.hole(segment.length)
        await settleOwn()
      }),
    finish: async () => await guarded(() => own.cutter.finish()),
    abort: () => own.cutter.abort(),
  })
  const feedSink = (feed: LaneFeed): FileSink => ({
    async write(segment) {
      refuseIfEnded()
      if (segment.kind === 'data') await feed.data(segment.bytes)
      else feed.hole(segment.length)
    },
    finish: async () => await feed.finish(),
    abort: () => feed.abort(),
  })

  return {
    openFile({ size = 0 } = {}) {
      if (fileIsOpen) throw new Error('Another file is open')
      refuseIfEnded()
      fileIsOpen = true
      let ended = false
      const end = () => {
        if (ended) throw new Error('This file is finished')
        ended = true
        fileIsOpen = false
      }
      let sink = isLittle(size) ? ownSink() : undefined
      return {
        async write(segment) {
          if (ended) throw new Error('This file is finished')
          sink ??= feedSink(await crew.leastBusy())
          await sink.write(segment)
        },
        async finish() {
          sink ??= ownSink()
          end()
          return await sink.finish()
        },
        abort() {
          if (ended) return
          end()
          sink?.abort()
        },
      }
    },
    async storeTree(nodes) {
      await assertStored(namedBy(nodes))
      const bytes = encodeTree(nodes)
      return await guarded(async () => {
        const id = own.storeBlob('tree', bytes) as TreeId
        await settleOwn()
        return id
      })
    },
    async copyBlob(type, bytes) {
      if (type === 'tree') await assertStored(namedBy(decodeTree(bytes)))
      await guarded(async () => {
        if (type === 'tree' || isLittle(bytes.length)) {
          own.storeBlob(type, bytes)
          await settleOwn()
          return
        }
        const id = hash('sha256', bytes) as BlobId
        if (table.claim(type, id)) await (await crew.leastBusy()).blob(type, id, bytes)
      })
    },
    hasBlob: (type, id) => table.isKnown(type, id),
    indexes: () => new Set<string>(index.files),
    hasAll(indexes) {
      const { files } = index
      return unreliable.size === 0 && [...indexes].every((id) => files.has(id as IndexId))
    },
    get lanes() {
      return crew.size
    },
    async expect({ blobs, bytes }) {
      if (!isLittle(bytes)) await guarded(async () => await crew.expect(blobs))
    },
    async run(handler, task) {
      return await guarded(async () => {
        if (crew.started) return await (await crew.leastBusyThread()).run(handler, task)
        const { run } = (await import(handler.href)) as { run: (lane: typeof own, task: unknown) => unknown }
        const result = await run(own, task)
        await settleOwn()
        return result
      })
    },
    async flush() {
      await guarded(async () => {
        await settle()
        await writeIndexInTurn()
      })
    },
    async endLanes() {
      if (!crew.started) return false
      await guarded(async () => {
        await settle()
        await crew.end()
        ownBytes = 0
      })
      return true
    },
    statistics: () => sumCounts([own.counts, ...crew.counts()], storedBytes),
    async commit(snapshot, commitOptions = {}) {
      await assertStored([['tree', snapshot.tree]])
      return await guarded(async () => {
        await settle()
        await writeIndexInTurn()
        commitOptions.signal?.throwIfAborted()
        await lock.ensureHeld()
        const id = await writeSnapshotFile(vault, snapshot)
        isCommitted = true
        return id
      })
    },
    async [Symbol.asyncDispose]() {
      // What is there is kept for the next save, as far as it goes: no snapshot was promised, so that a failure here,
      // which may be the one that the caller knows already, takes nothing away.
      // A flush that fails waits for nothing; no pack may come after the lock is released.
      for (const step of [settle, settlePuts, writeIndexInTurn]) await step().catch(breakOff)
      await crew.end()
      stages?.dropAll()
      table.dropClaims()
      await lock[Symbol.asyncDispose]()
      // For the next start, which then need not read the index files of this one. Where the index was loaded anew meanwhile, or
      // something may not be relied on, that start reads them.
      if (isCommitted && !broken && index.current === table) await index.keep().catch(() => {})
    },
  }
}

function sumCounts(lanes: readonly LaneThread['counts'][], storedBytes: number): WriterStatistics {
  const sum = { newBlobs: 0, knownBlobs: 0, newBytes: 0 }
  for (const { newBlobs, knownBlobs, newBytes } of lanes) {
    sum.newBlobs += newBlobs
    sum.knownBlobs += knownBlobs
    sum.newBytes += newBytes
  }
  return { ...sum, storedBytes }
}

/** What nothing may rely on is stored again. */
function withoutPacks(index: BlobIndex, unusable: ReadonlySet<PackId>): BlobIndex {
  const table = openBlobIndex()
  for (const { pack, blobs } of index.packContents()) if (!unusable.has(pack)) table.add(pack, blobs)
  return table
}

function* namedBy(nodes: readonly TreeNode[]): Iterable<readonly [BlobType, BlobId | TreeId]> {
  for (const { content, subtree } of nodes) {
    for (const id of content ?? []) yield ['data', id]
    if (subtree !== undefined) yield ['tree', subtree]
  }
}
