// Where this computer keeps a copy of a logbook's index: one file in the cache for each logbook.
import { randomBytes } from 'node:crypto'
import { open, readFile, rename, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { makePrivateFolder } from '../base/files.ts'
import type { RepositoryId } from '../model/ids.ts'
import type { IndexCache } from '../store/index-cache.ts'
import type { Config } from './config.ts'

/** Some 30 million blobs. */
const bytesMax = 2 * 1024 * 1024 * 1024 - 1

/** May be removed at any time; what cannot be read or written is as if it were not there. */
export function openIndexCache({ folders }: Pick<Config, 'folders'>, repository: RepositoryId): IndexCache {
  const folder = join(folders.cache, 'index')
  const file = join(folder, repository)
  return {
    async read() {
      try {
        return (await stat(file)).size > bytesMax ? undefined : await readFile(file)
      } catch {
        return undefined
      }
    },
    async write(parts) {
      const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`
      try {
        await makePrivateFolder(folder)
        // Not made durable: a copy that a crash cut off is found out by its sum.
        await using handle = await open(temporary, 'wx', 0o600)
        await handle.writev([...parts])
        await rename(temporary, file)
      } catch {
        await unlink(temporary).catch(() => {})
      }
    },
  }
}
