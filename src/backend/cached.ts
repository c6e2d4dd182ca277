// A storage of which small files are kept on this computer: indexes and snapshots, which every command reads.
//
// They are named by the SHA-256 of their content, and it is taken at every read: a copy that was changed, cut off or put
// there by somebody is left aside and made anew. Lists, sizes, locks, keys and packs are always asked of the storage; what
// a whole list no longer names is dropped. The folder may be deleted at any time.
import { hash, randomBytes } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, stat, unlink, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { setAsideOf } from './aside.ts'
import type { Backend, FileKind, FileRef } from './backend.ts'
import { fileNamePattern, folderOf } from './repository-path.ts'

export interface CacheOptions {
  /** Where copies of this repository lie; its own, since a list of another one would drop them. */
  readonly folder: string
  readonly bytesMax: number
}

export interface CachedBackend extends Backend {
  /** Begins to keep copies: the repository is known only when it has been opened. */
  keepCopies(options: CacheOptions): void
}

const kinds = { index: folderOf.index, snapshot: folderOf.snapshot } satisfies Partial<
  Record<FileKind, string>
>
/** Larger ones are read once in a while, and would push everything else out. */
const fileBytesMax = 64 * 1024 * 1024
/** How often what is kept is measured, counted in files that were added. */
const measureEvery = 256
/** Down to this share of the limit, so that it is not done for every file. */
const keptShare = 0.8

export function openCached(inner: Backend): CachedBackend {
  let cache: CacheFolder | undefined
  const placeOf = ({ kind, name }: FileRef): string | undefined => {
    if (!cache || (kind !== 'index' && kind !== 'snapshot') || !fileNamePattern.test(name)) return undefined
    return join(cache.folder, kinds[kind], name)
  }
  return {
    location: inner.location,
    traits: inner.traits,
    keepCopies: (options) => void (cache ??= openFolder(options)),
    create: async (...create) => await inner.create(...create),
    async put(file, data, options) {
      await inner.put(file, data, options)
      const place = placeOf(file)
      if (cache && place && hash('sha256', data) === file.name) await cache.add(place, data)
    },
    async get(file, range, options = {}) {
      const place = placeOf(file)
      if (!cache || !place || options.fresh || range) return await inner.get(file, range, options)
      options.signal?.throwIfAborted()
      const kept = await cache.read(place, file.name)
      if (kept) return kept
      const data = await inner.get(file, range, options)
      if (hash('sha256', data) === file.name) await cache.add(place, data)
      return data
    },
    size: async (...size) => await inner.size(...size),
    async *list(kind, options) {
      if (!cache || (kind !== 'index' && kind !== 'snapshot')) {
        yield* inner.list(kind, options)
        return
      }
      const before = await cache.names(kinds[kind])
      for await (const found of inner.list(kind, options)) {
        before.delete(found.name)
        yield found
      }
      // Only what was here when the list began: another process may have added what came since.
      for (const name of before) await cache.drop(join(cache.folder, kinds[kind], name))
    },
    async remove(file, options) {
      const place = placeOf(file)
      if (cache && place) await cache.drop(place)
      await inner.remove(file, options)
    },
    ...setAsideOf(inner, async (call, file) => {
      const place = placeOf(file)
      if (cache && place) await cache.drop(place)
      return await call()
    }),
    [Symbol.asyncDispose]: async () => await inner[Symbol.asyncDispose](),
  }
}

interface CacheFolder {
  readonly folder: string
  read(place: string, name: string): Promise<Buffer | undefined>
  add(place: string, data: Uint8Array): Promise<void>
  drop(place: string): Promise<void>
  names(folder: string): Promise<Set<string>>
}

/** Nothing here ever fails: what cannot be kept is read from the storage. */
function openFolder({ folder, bytesMax }: CacheOptions): CacheFolder {
  let added = 0
  let made: Promise<unknown> | undefined
  const makeFolders = async () => {
    for (const inner of Object.values(kinds))
      await mkdir(join(folder, inner), { recursive: true, mode: 0o700 })
  }
  const drop = async (place: string) => await unlink(place).catch(() => {})
  return {
    folder,
    drop,
    async read(place, name) {
      const data = await readFile(place).catch(() => undefined)
      if (!data) return undefined
      if (hash('sha256', data) !== name) {
        await drop(place)
        return undefined
      }
      // What was read last goes last.
      const now = new Date()
      await utimes(place, now, now).catch(() => {})
      return data
    },
    async add(place, data) {
      if (data.length > Math.min(fileBytesMax, bytesMax)) return
      const temporary = `${place}.${randomBytes(6).toString('hex')}.tmp`
      try {
        await (made ??= makeFolders())
        const file = await open(temporary, 'wx', 0o600)
        try {
          await file.writeFile(data)
        } finally {
          await file.close()
        }
        await rename(temporary, place)
        if (added++ % measureEvery === 0) await shrink(folder, bytesMax)
      } catch {
        made = undefined
        await drop(temporary)
      }
    },
    async names(inner) {
      const names = await readdir(join(folder, inner)).catch(() => [])
      return new Set(names.filter((name) => fileNamePattern.test(name)))
    },
  }
}

async function shrink(folder: string, bytesMax: number): Promise<void> {
  const files: { readonly place: string; readonly size: number; readonly usedMs: number }[] = []
  for (const inner of Object.values(kinds))
    for (const name of await readdir(join(folder, inner))) {
      const place = join(folder, inner, name)
      const found = await stat(place).catch(() => undefined)
      if (found) files.push({ place, size: found.size, usedMs: found.mtimeMs })
    }
  let bytes = files.reduce((sum, { size }) => sum + size, 0)
  if (bytes <= bytesMax) return
  for (const { place, size } of files.sort((left, right) => left.usedMs - right.usedMs)) {
    if (bytes <= bytesMax * keptShare) return
    await unlink(place).catch(() => {})
    bytes -= size
  }
}
