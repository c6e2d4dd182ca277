// A file of the cache: may be removed at any time; what cannot be read or written is as if it were not there.
import { randomBytes } from 'node:crypto'
import { open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { makePrivateFolder } from '../base/files.ts'

export interface CacheFile {
  read(): Promise<Buffer | undefined>
  write(parts: readonly Uint8Array[]): Promise<void>
}

/** Its content must tell whether it is whole, as by a sum: it is not made durable, and a crash may cut it off. */
export function openCacheFile(path: string, { bytesMax }: { readonly bytesMax: number }): CacheFile {
  return {
    async read() {
      try {
        return (await stat(path)).size > bytesMax ? undefined : await readFile(path)
      } catch {
        return undefined
      }
    },
    async write(parts) {
      if (parts.reduce((sum, { length }) => sum + length, 0) > bytesMax) return
      const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
      try {
        await makePrivateFolder(dirname(path))
        await using file = await open(temporary, 'wx', 0o600)
        await file.writev([...parts])
        await rename(temporary, path)
        await removeLeftovers(path)
      } catch {
        await unlink(temporary).catch(() => {})
      }
    },
  }
}

/** No write takes so long. */
const leftoverAgeMs = 60 * 60 * 1000

/** What a write that was killed left behind may be as large as the file. */
async function removeLeftovers(path: string): Promise<void> {
  const folder = dirname(path)
  for (const name of await readdir(folder)) {
    if (!name.startsWith(`${basename(path)}.`) || !name.endsWith('.tmp')) continue
    const { mtimeMs } = await stat(join(folder, name))
    if (Date.now() - mtimeMs > leftoverAgeMs) await unlink(join(folder, name))
  }
}
