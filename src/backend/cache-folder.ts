// A folder of copies on this computer, bounded in size: what was used longest ago goes first. It may be deleted at any time.
import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, stat, unlink, utimes } from 'node:fs/promises'
import { join } from 'node:path'

export interface CacheFolderOptions {
  /** Of one repository alone. */
  readonly folder: string
  readonly bytesMax: number
}

/** Nothing here ever fails: what cannot be kept is read from the storage. A crash may cut a copy off: whoever reads one has to prove it. */
export interface CacheFolder {
  read(kind: CopyKind, name: string): Promise<Buffer | undefined>
  add(kind: CopyKind, name: string, data: Uint8Array): Promise<void>
  drop(kind: CopyKind, name: string): Promise<void>
  names(kind: CopyKind): Promise<Set<string>>
}

const copyKinds = ['index', 'snapshots', 'blocks'] as const
export type CopyKind = (typeof copyKinds)[number]

/** What is kept is measured whenever this share of the limit was added, and at first. */
const unmeasuredShare = 1 / 16
/** Down to this share of the limit, so that it is not done for every file. */
const keptShare = 0.8

export function openCacheFolder({ folder, bytesMax }: CacheFolderOptions): CacheFolder {
  let unmeasured = Number.POSITIVE_INFINITY
  let made: Promise<unknown> | undefined
  const placeOf = (kind: CopyKind, name: string) => join(folder, kind, name)
  const makeFolders = async () => {
    for (const kind of copyKinds) await mkdir(join(folder, kind), { recursive: true, mode: 0o700 })
  }
  return {
    drop: async (kind, name) => await unlink(placeOf(kind, name)).catch(() => {}),
    async read(kind, name) {
      const place = placeOf(kind, name)
      const data = await readFile(place).catch(() => undefined)
      // What was read last goes last.
      const now = new Date()
      if (data) await utimes(place, now, now).catch(() => {})
      return data
    },
    async add(kind, name, data) {
      if (data.length > bytesMax) return
      const place = placeOf(kind, name)
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
        unmeasured += data.length
        if (unmeasured < bytesMax * unmeasuredShare) return
        unmeasured = 0
        await shrink(folder, bytesMax)
      } catch {
        made = undefined
        await unlink(temporary).catch(() => {})
      }
    },
    names: async (kind) => new Set(await readdir(join(folder, kind)).catch(() => [])),
  }
}

async function shrink(folder: string, bytesMax: number): Promise<void> {
  const files: { readonly place: string; readonly size: number; readonly usedMs: number }[] = []
  for (const kind of copyKinds)
    for (const name of await readdir(join(folder, kind))) {
      const place = join(folder, kind, name)
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
