// Deletes packs that nothing needs: first the index without them, then the old index, then the packs. Alone in the repository.
import type { Clock } from '../base/clock.ts'
import { openPool } from '../base/pool.ts'
import type { Reporter } from '../base/progress.ts'
import type { IndexId, PackId, SnapshotId } from '../model/ids.ts'
import { indexBlobsMax, type IndexedPack, writeIndexFile } from './index-file.ts'
import { scanIndexFile } from './index-scan.ts'
import type { HeldLock } from './lock.ts'
import type { PackedBlob } from './pack-format.ts'
import { placeFlags } from './place-table.ts'
import { type PruneIndex, refreshPruneIndex } from './prune-index.ts'
import { missing, usedPlaces } from './prune-usage.ts'
import type { Vault } from './sealed-file.ts'
import type { CallOptions } from './store.ts'
import { markUsed, readRoots } from './used-blobs.ts'

export interface DeleteOptions extends CallOptions {
  /** Exclusive. */
  readonly lock: HeldLock
  readonly clock: Clock
  readonly reporter: Reporter
}

export interface DeleteResult {
  readonly packs: readonly PackId[]
  readonly bytes: number
  /** Needed by a snapshot that came meanwhile. */
  readonly back: readonly PackId[]
  readonly indexFilesRemoved: number
  readonly indexFilesWritten: number
  readonly newSnapshots: number
}

/** A lock cannot go stale within a second; asking each time would be a request for each file. */
const lockAskEveryMs = 1000
/** So many index files that are less than half full are put together. */
const smallIndexesMin = 8
const packsAtOnceMax = 8

/**
 * Everything is proved again before anything goes: the index is brought up to date, snapshots that are new are followed down their trees, and
 * each blob that any snapshot needs must have a place in a pack that stays; else its pack stays. `undefined` where another program
 * removed index files meanwhile: nothing was done, and all must be looked at again.
 *
 * Order of writes: new index files, each durable; the ones they replace are removed; then the packs. Cut off in between, some packs are
 * named twice, or by no index: both harm nobody, and the next prune goes on.
 */
export async function deletePacks(
  vault: Vault,
  {
    index,
    doomed,
    known,
  }: { index: PruneIndex; doomed: ReadonlySet<PackId>; known: ReadonlySet<SnapshotId> },
  options: DeleteOptions,
): Promise<DeleteResult | undefined> {
  const { signal, reporter, lock, clock } = options
  // Snapshots before the index: whatever one names, an index that is read later knows.
  const roots = await readRoots(vault, known, { signal, reporter })
  const wasUnindexed = new Set(index.unindexed.keys())
  if (!(await refreshPruneIndex(vault, index, { signal }))) return undefined
  await markUsed(vault, index, roots, { signal, reporter })

  // One that was indexed since was taken in by a writer, who looked at every byte of it.
  const going = new Set([...doomed].filter((pack) => !wasUnindexed.has(pack) || index.unindexed.has(pack)))
  keepNeeded(index, going)
  const back = [...doomed].filter((pack) => !going.has(pack))
  const guard = openGuard(lock, clock)
  const replaced = await rewriteIndex(vault, { index, going }, { signal, reporter, guard })

  const bytes = await removePacks(vault, { index, going }, { signal, reporter, guard })
  return { packs: [...going], bytes, back, ...replaced, newSnapshots: roots.length }
}

/** Returns how many bytes they had. */
async function removePacks(
  vault: Vault,
  { index, going }: { readonly index: PruneIndex; readonly going: ReadonlySet<PackId> },
  { signal, reporter, guard }: RewriteOptions,
): Promise<number> {
  let bytes = 0
  let packsDone = 0
  const pool = openPool(Math.max(1, Math.min(vault.backend.traits.connections, packsAtOnceMax)))
  try {
    for (const pack of going) {
      // What is left undone is deleted by the next prune.
      signal?.throwIfAborted()
      await pool.start(async () => {
        await guard()
        // Not to be cancelled: a writer that comes next may take in a pack that no index names, and it must not vanish then.
        await vault.backend.remove({ kind: 'pack', name: pack })
        bytes += index.unindexed.get(pack) ?? index.packs[index.numberOf(pack) ?? -1]?.sizeBytes ?? 0
        reporter.progress({ phase: 'deleting packs', filesDone: ++packsDone, filesTotal: going.size })
      })
    }
  } finally {
    // For the same reason the lock is held until the last one under way has ended, whatever happened to the others.
    await pool.drain()
  }
  return bytes
}

/** Takes out of `going` each pack that has a needed blob which is in no pack that stays. */
function keepNeeded(index: PruneIndex, going: Set<PackId>): void {
  for (const type of ['data', 'tree'] as const) {
    const table = index.table(type)
    for (const first of usedPlaces(table)) {
      const sound = table
        .placesOf(first)
        .map((place) => table.pack(place))
        .filter((pack) => index.isSound(pack))
        .map((pack) => index.packs[pack]?.id)
      const [pack] = sound
      if (pack === undefined) throw missing(index, type, first)
      if (sound.some((id) => id !== undefined && !going.has(id))) continue
      going.delete(pack)
    }
  }
}

/** Before each step that relies on the lock. */
function openGuard(lock: HeldLock, clock: Clock): () => Promise<void> {
  let askedAt = Number.NEGATIVE_INFINITY
  return async () => {
    const now = clock.now()
    if (now - askedAt < lockAskEveryMs && now >= askedAt) return
    await lock.ensureHeld()
    askedAt = now
  }
}

interface RewriteOptions extends CallOptions {
  readonly reporter: Reporter
  readonly guard: () => Promise<void>
}

async function rewriteIndex(
  vault: Vault,
  { index, going }: { readonly index: PruneIndex; readonly going: ReadonlySet<PackId> },
  { signal, reporter, guard }: RewriteOptions,
): Promise<Pick<DeleteResult, 'indexFilesRemoved' | 'indexFilesWritten'>> {
  const old = chooseIndexes(index, going)
  let indexFilesWritten = 0
  let kept: IndexedPack[] = []
  let keptBlobs = 0
  const write = async () => {
    if (keptBlobs === 0) return
    await guard()
    await writeIndexFile(vault, kept)
    indexFilesWritten++
    kept = []
    keptBlobs = 0
  }
  for (const [done, id] of old.entries()) {
    signal?.throwIfAborted()
    reporter.progress({ phase: 'rewriting the index', filesDone: done, filesTotal: old.length })
    for (const { pack, blobs } of (await scanIndexFile(vault, id, { signal })).packs) {
      if (going.has(pack)) continue
      const named = takeUnwritten(index, { pack, blobs })
      if (named.length === 0) continue
      kept.push({ pack, blobs: named })
      keptBlobs += named.length
      if (keptBlobs >= indexBlobsMax) await write()
    }
  }
  await write()
  // A superseded file would count again when the one that supersedes it is gone, and to a program that does not heed `supersedes` it counts still.
  const gone = [...(going.size > 0 ? index.superseded : []), ...old]
  for (const id of gone) {
    await guard()
    await vault.backend.remove({ kind: 'index', name: id })
  }
  return { indexFilesRemoved: gone.length, indexFilesWritten }
}

/** Files that name a pack that goes; and where there are many that are far from full, those. */
function chooseIndexes(index: PruneIndex, going: ReadonlySet<PackId>): readonly IndexId[] {
  const numbers = new Set([...going].flatMap((pack) => index.numberOf(pack) ?? []))
  const files = [...index.files]
  const affected = files.filter(([, { packs }]) => packs.some((number) => numbers.has(number)))
  if (affected.length === 0) return []
  const isSmall = ([, { blobs }]: (typeof files)[number]) => blobs < indexBlobsMax / 2
  const small = files.filter((file) => isSmall(file) && !affected.includes(file))
  return [...affected, ...(small.length >= smallIndexesMin ? small : [])].map(([id]) => id)
}

/**
 * A pack may stand in several files, whole or in parts: each blob goes on once. What the table never took in is kept as it is, and so is
 * a blob that a pack has twice, since restic wants the blobs of an index to add up to the pack.
 */
function takeUnwritten(index: PruneIndex, { pack, blobs }: IndexedPack): readonly PackedBlob[] {
  const number = index.numberOf(pack)
  if (number === undefined) return blobs
  const placeOf = ({ type, id }: PackedBlob) => index.table(type).findIn(id, number)
  const unwritten = blobs.filter((blob) => {
    const place = placeOf(blob)
    return place < 0 || !index.table(blob.type).has(place, placeFlags.written)
  })
  for (const blob of unwritten) {
    const place = placeOf(blob)
    if (place >= 0) index.table(blob.type).set(place, placeFlags.written)
  }
  return unwritten
}
