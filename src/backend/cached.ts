// A storage of which some is kept on this computer: indexes and snapshots, which every command reads, and the parts of packs that are asked for as worth it.
//
// Indexes and snapshots are named by the SHA-256 of their content, and it is taken at every read: a copy that was changed, cut off or put
// there by somebody is left aside and made anew. Lists, sizes, locks and keys are always asked of the storage; what
// a whole list no longer names is dropped. Parts of packs: cached-blocks.ts. The folder may be deleted at any time.
import { hash } from 'node:crypto'
import { setAsideOf } from './aside.ts'
import type { Backend, FileRef } from './backend.ts'
import { type CacheFolder, type CacheFolderOptions, openCacheFolder } from './cache-folder.ts'
import { type CachedBlocks, openCachedBlocks } from './cached-blocks.ts'
import { fileNamePattern } from './repository-path.ts'

export interface CachedBackend extends Backend {
  /** Begins to keep copies, in a folder for this repository alone: it is known only when it has been opened. */
  keepCopies(options: CacheFolderOptions): void
}

const kinds = { index: 'index', snapshot: 'snapshots' } as const
/** Larger ones are read once in a while, and would push everything else out. */
const fileBytesMax = 64 * 1024 * 1024

export function openCached(inner: Backend): CachedBackend {
  let copies: { readonly cache: CacheFolder; readonly blocks: CachedBlocks } | undefined
  const placeOf = ({ kind, name }: FileRef) =>
    copies && (kind === 'index' || kind === 'snapshot') && fileNamePattern.test(name)
      ? { cache: copies.cache, kind: kinds[kind] }
      : undefined
  const add = async (file: FileRef, data: Uint8Array) => {
    const place = placeOf(file)
    if (place && data.length <= fileBytesMax && hash('sha256', data) === file.name)
      await place.cache.add(place.kind, file.name, data)
  }
  const drop = async (file: FileRef) => {
    const place = placeOf(file)
    await place?.cache.drop(place.kind, file.name)
  }
  return {
    location: inner.location,
    traits: inner.traits,
    keepCopies(options) {
      if (copies) return
      const cache = openCacheFolder(options)
      copies = { cache, blocks: openCachedBlocks(inner, cache) }
    },
    create: async (...create) => await inner.create(...create),
    async put(file, data, options) {
      await inner.put(file, data, options)
      await add(file, data)
    },
    async get(file, range, options = {}) {
      if (copies && file.kind === 'pack' && range && options.keep)
        return await copies.blocks.get(file, range, options)
      const place = placeOf(file)
      if (!place || options.fresh || range) return await inner.get(file, range, options)
      options.signal?.throwIfAborted()
      const kept = await place.cache.read(place.kind, file.name)
      if (kept && hash('sha256', kept) === file.name) return kept
      if (kept) await drop(file)
      const data = await inner.get(file, range, options)
      await add(file, data)
      return data
    },
    size: async (...size) => await inner.size(...size),
    async *list(kind, options) {
      if (!copies || (kind !== 'index' && kind !== 'snapshot')) {
        yield* inner.list(kind, options)
        return
      }
      const before = await copies.cache.names(kinds[kind])
      for await (const found of inner.list(kind, options)) {
        before.delete(found.name)
        yield found
      }
      // Only what was here when the list began: another process may have added what came since.
      for (const name of before) if (fileNamePattern.test(name)) await drop({ kind, name })
    },
    async remove(file, options) {
      await drop(file)
      await inner.remove(file, options)
    },
    ...setAsideOf(inner, async (call, file) => {
      await drop(file)
      return await call()
    }),
    [Symbol.asyncDispose]: async () => await inner[Symbol.asyncDispose](),
  }
}
