// All index files of a repository, loaded at first use and brought up to date when something is not found.
import { mapOrdered } from '../base/pool.ts'
import { isFailure, type VmlError } from '../base/failure.ts'
import { keepHeapSmall } from '../base/sweep.ts'
import { type IndexId, type PackId, parseId } from '../model/ids.ts'
import { type BlobIndex, openBlobIndex } from './blob-index.ts'
import { decodeIndexCache, encodeIndexCache, type IndexCache } from './index-cache.ts'
import { isDamage } from './damage.ts'
import type { IndexFile } from './index-file.ts'
import { readIndexFile } from './index-scan.ts'
import { readPackHeader } from './pack-headers.ts'
import type { Vault } from './sealed-file.ts'
import type { CallOptions } from './store.ts'

export interface LoadedIndex {
  /** Loads at first use. */
  blobs(options?: CallOptions): Promise<BlobIndex>
  /** What is loaded by now: empty before the first `blobs` or `refresh`. */
  readonly current: BlobIndex
  /** Takes in what other programs wrote or removed. */
  refresh(options?: CallOptions): Promise<BlobIndex>
  /** The files that count by now, without damaged ones. */
  readonly files: ReadonlySet<IndexId>
  /** Packs in the table that no readable index names. */
  readonly unnamed: ReadonlySet<PackId>
  /** Takes in a file that this process wrote, whose packs are in `current` already. */
  wrote(id: IndexId): void
  /**
   * Has the copy on this computer hold what `current` has by now, where enough of that is new. Only for a writer that has ended well:
   * every pack of the table must lie in a file that `files` names.
   */
  keep(): Promise<void>
}

/** Fewer blobs than this are read from index files in no time. */
const cachedBlobsMin = 5000
/** From here on what is read from them is worth a tidier heap: a million blobs or so. */
const manyFiles = 40
/** So many new index files are read as quickly as a large table is written anew. */
const filesUncachedMax = 12

export interface LoadedIndexOptions {
  readonly cache?: IndexCache | undefined
  /** Told once of each index file that cannot be read. */
  readonly onDamage?: ((id: IndexId, error: VmlError) => void) | undefined
}

/**
 * A damaged index file hides nothing from readers: packs that no index names are asked for their own headers then, and
 * every blob that is read is proven by its hash. Writers do not rely on such packs (`unnamed`).
 */
export function openLoadedIndex(vault: Vault, { cache, onDamage }: LoadedIndexOptions = {}): LoadedIndex {
  let current = openBlobIndex()
  let loaded: Set<IndexId> | undefined
  let superseded = new Set<IndexId>()
  let loading: Promise<BlobIndex> | undefined
  /** What of `loaded` and its blobs the copy on this computer has. */
  let kept = { files: 0, blobs: 0 }
  const damaged = new Set<IndexId>()
  const unnamed = new Set<PackId>()

  const readFile = async (id: IndexId, options: CallOptions & { readonly sizeBytes: number }) => {
    try {
      return [{ id, file: await readIndexFile(vault, id, options) }]
    } catch (error) {
      if (!isDamage(error) || !isFailure(error)) throw error
      damaged.add(id)
      onDamage?.(id, error)
      return []
    }
  }
  const addUnnamed = async (table: BlobIndex, options: CallOptions) => {
    for await (const { name, size } of vault.backend.list('pack', options)) {
      const pack = parseId<PackId>(name)
      if (pack === undefined || table.hasPack(pack)) continue
      const blobs = await readPackHeader(vault, { pack, sizeBytes: size }, options)
      if (!blobs) continue
      table.add(pack, blobs)
      unnamed.add(pack)
    }
  }
  /** At the first load only: what this computer has is taken over where all of it still counts. */
  const takeCached = async (listed: ReadonlyMap<IndexId, number>) => {
    const content = await cache?.read()
    const cached = content && decodeIndexCache(content)
    if (!cached || ![...cached.files].every((id) => listed.has(id))) return
    current = cached.table
    loaded = new Set(cached.files)
    superseded = new Set(cached.superseded)
    kept = { files: cached.files.size, blobs: cached.table.blobs }
  }
  const keepCached = async () => {
    if (!cache || !loaded || damaged.size > 0 || current.blobs < cachedBlobsMin) return
    const many = current.blobs - kept.blobs > current.blobs / 8 || loaded.size - kept.files > filesUncachedMax
    if (!many) return
    kept = { files: loaded.size, blobs: current.blobs }
    await cache.write(encodeIndexCache({ table: current, files: loaded, superseded }))
  }

  /** `anew` begins with an empty table, since one that was taken in was replaced: `superseded` knows by which. */
  const load = async (options: CallOptions, anew?: { readonly isFirst: boolean }): Promise<BlobIndex> => {
    const listed = new Map<IndexId, number>()
    for await (const { name, size } of vault.backend.list('index', options)) {
      const id = parseId<IndexId>(name)
      if (id !== undefined) listed.set(id, size)
    }
    const isFirst = anew?.isFirst ?? loaded === undefined
    if (isFirst && !anew) await takeCached(listed)
    const gone = [...(loaded ?? [])].some((id) => !listed.has(id))
    const skip = gone ? new Set<IndexId>() : new Set([...(loaded ?? []), ...superseded])
    const added = [...listed].filter(([id]) => !skip.has(id) && !damaged.has(id))
    const damagedBefore = damaged.size
    const table = gone ? openBlobIndex() : current
    // A table that a writer has takes in only what counts, which is known when all have been read.
    const isOwn = gone || isFirst || anew !== undefined
    const replaced = new Set<IndexId>()
    const counted = new Set<IndexId>()
    const waiting: NamedFile[] = []
    const takeIn = ({ id, file }: NamedFile) => {
      if (replaced.has(id)) return
      counted.add(id)
      for (const { pack, blobs } of file.packs) table.add(pack, blobs)
    }
    if (added.length >= manyFiles) keepHeapSmall()
    // Taken in one by one: as objects all of them would take ten times the memory.
    await mapOrdered(added, vault.backend.traits.connections, async ([id, sizeBytes]) => {
      for (const read of await readFile(id, { ...options, sizeBytes })) {
        for (const other of read.file.supersedes) replaced.add(other)
        if (isOwn) takeIn(read)
        else waiting.push(read)
      }
    })
    // Packs cannot be taken out one index at a time, so a removed or replaced index means to begin anew.
    if ([...replaced].some((id) => counted.has(id) || (!gone && loaded?.has(id)))) {
      superseded = new Set([...(gone ? [] : superseded), ...replaced])
      loaded = new Set()
      current = openBlobIndex()
      return await load(options, { isFirst })
    }
    for (const read of waiting) takeIn(read)
    if (damaged.size > damagedBefore || (damaged.size > 0 && (gone || anew))) await addUnnamed(table, options)
    current = table
    loaded = new Set([...(gone ? [] : (loaded ?? [])), ...counted])
    superseded = new Set([...(gone ? [] : superseded), ...replaced])
    // Later loads happen beside a writer, whose claims are nobody else's.
    if (isFirst) await keepCached()
    return current
  }
  /** As if nothing had been loaded: what a load that failed had taken in may count no more. */
  const forget = () => {
    current = openBlobIndex()
    loaded = undefined
    superseded = new Set()
    kept = { files: 0, blobs: 0 }
  }
  /** An index file can vanish between the list and the read, while a prune runs. */
  const loadAgain = async (options: CallOptions): Promise<BlobIndex> => {
    const isFirst = loaded === undefined
    for (let tries = 3; ; tries--) {
      try {
        return await load(options)
      } catch (error) {
        if (isFirst) forget()
        if (tries === 1 || !isFailure(error, 'not-found')) throw error
      }
    }
  }
  const refresh = async (options: CallOptions = {}) => {
    loading ??= loadAgain(options).finally(() => {
      loading = undefined
    })
    return await loading
  }
  return {
    blobs: async (options = {}) => (loaded && !loading ? current : await refresh(options)),
    get current() {
      return current
    },
    refresh,
    get files() {
      return loaded ?? new Set<IndexId>()
    },
    unnamed,
    wrote: (id) => void loaded?.add(id),
    keep: keepCached,
  }
}

interface NamedFile {
  readonly id: IndexId
  readonly file: IndexFile
}
