// Where this computer keeps what it remembers of a machine's last entry: one file in the cache for each machine and logbook.
import { hash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { makePrivateFolder, writeFileDurable } from '../base/files.ts'
import type { FolderMemoryStore } from '../engine/folder-memory.ts'
import type { RepositoryId } from '../model/ids.ts'
import type { Config } from './config.ts'

/** An entry of 2.5 million paths takes less. */
const bytesMax = 512 * 1024 * 1024

/** May be removed at any time; what cannot be read or written is as if it were not there. */
export function openFolderMemory(
  { folders }: Pick<Config, 'folders'>,
  repository: RepositoryId,
  machine: string,
): FolderMemoryStore {
  const folder = join(folders.cache, 'folders')
  const file = join(folder, hash('sha256', `${repository} ${machine}`))
  return {
    async read() {
      try {
        return (await stat(file)).size > bytesMax ? undefined : await readFile(file)
      } catch {
        return undefined
      }
    },
    async write(bytes) {
      if (bytes.length > bytesMax) return
      try {
        await makePrivateFolder(folder)
        await writeFileDurable(file, bytes)
      } catch {
        // The next save compares with the entry itself.
      }
    },
  }
}
