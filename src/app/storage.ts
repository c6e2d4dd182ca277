// The place where a logbook lies, as this computer uses it: the driver, and around it what the configuration asks for.
import { join } from 'node:path'
import { isRemote, openBackend } from '../backend/all.ts'
import type { Backend } from '../backend/backend.ts'
import { systemClock } from '../base/clock.ts'
import { type Reporter, silentReporter } from '../base/progress.ts'
import type { RepositoryId } from '../model/ids.ts'
import type { Config } from './config.ts'

export interface Storage {
  readonly backend: Backend
  /** Keeps small files of a logbook on another computer in the cache, once it is known which one it is. */
  keepCopies(id: RepositoryId): void
}

export interface StorageOptions {
  readonly reporter?: Reporter | undefined
  /** Of the whole program. */
  readonly signal?: AbortSignal | undefined
}

const copiesBytesMax = 1024 * 1024 * 1024

/**
 * From the inside: driver, limits of the line, a look after each write, retries, copies, no writing. Nothing is connected to before the first call.
 * `usage` where nothing is known of such a place.
 */
export async function openStorage(
  config: Config,
  location: string,
  { reporter = silentReporter, signal }: StorageOptions = {},
): Promise<Storage> {
  const { uploadKiBPerSecond, downloadKiBPerSecond, readOnly } = config.storage
  let backend = await openBackend(location, {
    sshConfig: config.sshConfig?.value,
    environment: config.environment,
  })
  let keepCopies: Storage['keepCopies'] = () => {}
  if (isRemote(location)) {
    const clock = systemClock
    if (uploadKiBPerSecond !== undefined || downloadKiBPerSecond !== undefined) {
      const { openThrottled } = await import('../backend/throttled.ts')
      backend = openThrottled(backend, {
        uploadBytesPerSecond: toBytes(uploadKiBPerSecond),
        downloadBytesPerSecond: toBytes(downloadKiBPerSecond),
        clock,
        signal,
      })
    }
    const { openConfirmed } = await import('../backend/confirmed.ts')
    const { openRetrying } = await import('../backend/retrying.ts')
    const { openCached } = await import('../backend/cached.ts')
    const cached = openCached(
      openRetrying(openConfirmed(backend), { clock, random: Math.random, reporter, signal }),
    )
    const folder = join(config.folders.cache, 'copies')
    keepCopies = (id) => cached.keepCopies({ folder: join(folder, id), bytesMax: copiesBytesMax })
    backend = cached
  }
  if (readOnly) {
    const { openReadOnly } = await import('../backend/read-only.ts')
    backend = openReadOnly(backend)
  }
  return { backend, keepCopies }
}

function toBytes(kib: number | undefined): number | undefined {
  return kib === undefined ? undefined : kib * 1024
}

export interface StorageUse {
  readonly packs: number
  readonly bytes: number
  /** Lock files, of programs that are at work or were killed. */
  readonly locks: number
}

/** What a logbook takes up, told by the place where it lies: nothing is decrypted. */
export async function measureStorage(
  config: Config,
  location: string,
  options: StorageOptions = {},
): Promise<StorageUse> {
  const { backend: opened } = await openStorage(config, location, options)
  await using backend = opened
  const use = { packs: 0, bytes: 0, locks: 0 }
  for (const kind of ['pack', 'index', 'snapshot', 'key', 'lock', 'parity'] as const)
    for await (const { size } of backend.list(kind, { signal: options.signal })) {
      if (kind === 'pack') use.packs++
      if (kind === 'lock') use.locks++
      use.bytes += size
    }
  return use
}
