// The keys and the config of a new repository, where another program may be making one in the same place.
import type { Backend, FileRef } from '../backend/backend.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import { type MasterKey, openCipher } from './cipher.ts'
import { type Config, encodeConfig, parseConfig } from './config.ts'
import { createKey } from './keys.ts'
import { readSealedJson, writeSealedJson } from './sealed-file.ts'
import type { CallOptions, NewKey } from './store.ts'

export interface NewRepository {
  readonly backend: Backend
  readonly masterKey: MasterKey
  readonly config: Config
  readonly keys: readonly NewKey[]
  /** Key files that were there before, of an `init` that was broken off or is at work. */
  readonly leftKeys: readonly string[]
}

const configFile = { kind: 'config', name: '' } as const satisfies FileRef

/**
 * Keys, then the config, which is the commit. Some storage cannot refuse a second config: what lies there afterwards decides whose the
 * place is. Fails with `exists` where it is another one's, and leaves that alone. Keys that were there before go last, when
 * the place is proved to be this one's. Returns the names of the key files.
 */
export async function beginRepository(
  { backend, masterKey, config, keys, leftKeys }: NewRepository,
  { signal }: CallOptions,
): Promise<string[]> {
  const keyIds: string[] = []
  const cipher = openCipher(masterKey)
  try {
    for (const key of keys) keyIds.push(await createKey({ backend, masterKey, ...key }, { signal }))
    await writeSealedJson({ backend, cipher }, 'config', encodeConfig(config), { signal })
    const found = parseConfig(await readSealedJson({ backend, cipher }, configFile, { signal }))
    if (found.id !== config.id) throw madeMeanwhile(backend)
  } catch (error) {
    const failure = isFailure(error, 'exists', 'integrity.mac') ? madeMeanwhile(backend, error) : error
    if (failure !== error || (await isCertainlyAbsent(backend)))
      for (const name of keyIds) await backend.remove({ kind: 'key', name }).catch(() => {})
    throw failure
  }
  // Another one that was done before this config arrived may have taken these keys for left over.
  for (const [at, key] of keys.entries()) {
    const name = keyIds[at] ?? ''
    if ((await backend.size({ kind: 'key', name }, { signal })) === undefined)
      keyIds[at] = await createKey({ backend, masterKey, ...key }, { signal })
  }
  for (const name of leftKeys) await backend.remove({ kind: 'key', name }, { signal })
  return keyIds
}

function madeMeanwhile({ location }: Backend, cause?: unknown): VmlError {
  return new VmlError(
    'exists',
    `Cannot make a logbook in "${location}": another program has made one there meanwhile`,
    { cause, hint: 'That one was left as it is; it opens by the recovery key that was given or told there' },
  )
}

/** Only then the keys open nothing: where the config may have arrived after all, it must not be without them. */
async function isCertainlyAbsent(backend: Backend): Promise<boolean> {
  try {
    return (await backend.size(configFile)) === undefined
  } catch {
    return false
  }
}
