// Where this computer keeps a copy of a logbook's index: one file in the cache for each logbook.
import { join } from 'node:path'
import type { RepositoryId } from '../model/ids.ts'
import type { IndexCache } from '../store/index-cache.ts'
import { openCacheFile } from './cache-file.ts'
import type { Config } from './config.ts'

/** Some 30 million blobs. */
const bytesMax = 2 * 1024 * 1024 * 1024 - 1

export function openIndexCache({ folders }: Pick<Config, 'folders'>, repository: RepositoryId): IndexCache {
  return openCacheFile(join(folders.cache, 'index', repository), { bytesMax })
}
