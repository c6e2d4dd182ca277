// The index as a prune needs it: every place of every blob, every pack with its size, and which file names which pack.
import { openPool } from '../base/pool.ts'
import { type IndexId, type PackId, parseId } from '../model/ids.ts'
import type { IndexedPack } from './index-file.ts'
import { scanIndexFile } from './index-scan.ts'
import { packHeaderBytes } from './pack-format.ts'
import { openPlaceTable, type PlaceTable } from './place-table.ts'
import type { Reporter } from '../base/progress.ts'
import type { Vault } from './sealed-file.ts'
import type { BlobType, CallOptions } from './store.ts'

/** About 200 bytes a pack. */
export interface PackRecord {
  readonly id: PackId
  /** What its blobs and its header must have. */
  bytes: number
  blobBytes: number
  blobs: number
  treeBlobs: number
  /** As listed; undefined where it is not there. */
  sizeBytes: number | undefined
  /** Of the blobs that are to stay, those whose chosen place this is. */
  usedBlobs: number
  usedBytes: number
}

export interface IndexContents {
  readonly packs: Uint32Array
  readonly blobs: number
}

export interface PruneIndex {
  /** By number, as places name them. */
  readonly packs: readonly PackRecord[]
  /** Files that count, and what they name. */
  readonly files: ReadonlyMap<IndexId, IndexContents>
  /** Files that another one replaces: they are there and do not count. */
  readonly superseded: ReadonlySet<IndexId>
  /** Packs that no index names, with their sizes. */
  readonly unindexed: ReadonlyMap<PackId, number>
  table(type: BlobType): PlaceTable
  numberOf(pack: PackId): number | undefined
  /** Whether the pack is there and as long as its blobs need. */
  isSound(pack: number): boolean
  /** Takes in a file that was written after the others; its packs are there. */
  addFile(id: IndexId, packs: Iterable<IndexedPack>): void
}

type Options = CallOptions & { readonly reporter: Reporter }

/** Some 8 MiB each. */
const filesAtOnceMax = 3

/** Fails with `integrity.*` where an index file cannot be read. Packs are listed after the index: what it names is stored before. */
export async function loadPruneIndex(vault: Vault, options: Options): Promise<PruneIndex> {
  const superseded = new Set<IndexId>()
  for (;;) {
    const before = superseded.size
    const index = await loadOnce(vault, superseded, options)
    // A file that is replaced was taken in before that was known: once more without it.
    if (superseded.size === before) return index
  }
}

/**
 * Takes in the index files that other programs wrote since. False where a file that was read is gone: then other packs may
 * have gone, too, and all that is known is worth nothing.
 */
export async function refreshPruneIndex(
  vault: Vault,
  index: PruneIndex,
  options: CallOptions,
): Promise<boolean> {
  const listed = await listIndexes(vault, options)
  for (const id of index.files.keys()) if (!listed.has(id)) return false
  for (const [id, sizeBytes] of listed) {
    if (index.files.has(id) || index.superseded.has(id)) continue
    const { packs, supersedes } = await scanIndexFile(vault, id, { ...options, sizeBytes })
    index.addFile(id, packs)
    if (supersedes.length > 0) return false
  }
  return true
}

async function loadOnce(
  vault: Vault,
  superseded: Set<IndexId>,
  { reporter, ...options }: Options,
): Promise<PruneIndex> {
  const tables = { data: openPlaceTable({ located: false }), tree: openPlaceTable({ located: true }) }
  const packs: PackRecord[] = []
  const numbers = new Map<PackId, number>()
  const files = new Map<IndexId, IndexContents>()
  const unindexed = new Map<PackId, number>()

  const addPack = ({ pack, blobs }: IndexedPack): number => {
    const number = numbers.get(pack) ?? packs.length
    const record = packs[number] ?? {
      id: pack,
      bytes: packHeaderBytes([]),
      blobBytes: 0,
      blobs: 0,
      treeBlobs: 0,
      sizeBytes: undefined,
      usedBlobs: 0,
      usedBytes: 0,
    }
    packs[number] = record
    numbers.set(pack, number)
    for (const { type, id, ...place } of blobs) {
      // The same pack may stand in two files, whole or in parts.
      if (!tables[type].add(id, { pack: number, ...place })) continue
      record.bytes += place.length + packHeaderBytes([place]) - packHeaderBytes([])
      record.blobBytes += place.length
      record.blobs++
      if (type === 'tree') record.treeBlobs++
    }
    return number
  }
  const addFile = (id: IndexId, named: Iterable<IndexedPack>): readonly number[] => {
    const added: number[] = []
    let blobs = 0
    for (const pack of named) {
      added.push(addPack(pack))
      blobs += pack.blobs.length
    }
    files.set(id, { packs: Uint32Array.from(added), blobs })
    return added
  }

  const listed = await listIndexes(vault, options)
  // Each is taken in at once when it has come, so that only those under way are in memory.
  const pool = openPool(Math.max(1, Math.min(vault.backend.traits.connections, filesAtOnceMax)))
  const wanted = [...listed].filter(([id]) => !superseded.has(id))
  for (const [id, sizeBytes] of wanted) {
    await pool.start(async () => {
      const file = await scanIndexFile(vault, id, { ...options, sizeBytes })
      addFile(id, file.packs)
      for (const replaced of file.supersedes) if (listed.has(replaced)) superseded.add(replaced)
      reporter.progress({ phase: 'reading the index', filesDone: files.size, filesTotal: wanted.length })
    })
  }
  await pool.drain()
  for await (const { name, size } of vault.backend.list('pack', options)) {
    const pack = parseId<PackId>(name)
    if (pack === undefined) continue
    const record = packs[numbers.get(pack) ?? -1]
    if (record) record.sizeBytes = size
    else unindexed.set(pack, size)
  }
  return {
    packs,
    files,
    superseded,
    unindexed,
    table: (type) => tables[type],
    numberOf: (pack) => numbers.get(pack),
    isSound: (number) => {
      const record = packs[number]
      return record?.sizeBytes !== undefined && record.sizeBytes >= record.bytes
    },
    addFile: (id, named) => {
      const before = packs.length
      for (const number of addFile(id, named)) {
        const record = packs[number]
        // One that was missing when packs were listed is missing still.
        if (!record || number < before) continue
        record.sizeBytes = unindexed.get(record.id) ?? record.bytes
        unindexed.delete(record.id)
      }
    },
  }
}

async function listIndexes(vault: Vault, options: CallOptions): Promise<ReadonlyMap<IndexId, number>> {
  const listed = new Map<IndexId, number>()
  for await (const { name, size } of vault.backend.list('index', options)) {
    const id = parseId<IndexId>(name)
    if (id !== undefined) listed.set(id, size)
  }
  return listed
}
