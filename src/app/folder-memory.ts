// Where this computer keeps what it remembers of a machine's last entry: one file in the cache for each machine and logbook.
import { hash } from 'node:crypto'
import { join } from 'node:path'
import type { FolderMemoryStore } from '../engine/folder-memory.ts'
import type { RepositoryId } from '../model/ids.ts'
import { openCacheFile } from './cache-file.ts'
import type { Config } from './config.ts'

/** An entry of 2.5 million paths takes less. */
const bytesMax = 512 * 1024 * 1024

export function openFolderMemory(
  { folders }: Pick<Config, 'folders'>,
  repository: RepositoryId,
  machine: string,
): FolderMemoryStore {
  const name = hash('sha256', `${repository} ${machine}`)
  const { read, write } = openCacheFile(join(folders.cache, 'folders', name), { bytesMax })
  return { read, write: async (bytes) => await write([bytes]) }
}
