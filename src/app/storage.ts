// What a logbook takes up, told by the place where it lies: nothing is decrypted.
import { openBackend } from '../backend/all.ts'

export interface StorageUse {
  readonly packs: number
  readonly bytes: number
  /** Lock files, of programs that are at work or were killed. */
  readonly locks: number
}

export async function measureStorage(location: string, signal?: AbortSignal): Promise<StorageUse> {
  await using backend = openBackend(location)
  const use = { packs: 0, bytes: 0, locks: 0 }
  for (const kind of ['pack', 'index', 'snapshot', 'key', 'lock'] as const)
    for await (const { size } of backend.list(kind, { signal })) {
      if (kind === 'pack') use.packs++
      if (kind === 'lock') use.locks++
      use.bytes += size
    }
  return use
}
