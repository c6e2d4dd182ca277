// Adds, removes and replaces keys of a logbook, in orders of writing in which a crash leaves one that opens.
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import { makePrivateFolder } from '../base/files.ts'
import { shortId } from '../model/ids.ts'
import type { KeyDescription, Repository } from '../store/store.ts'
import type { Config } from './config.ts'
import { withFileLock } from './file-lock.ts'
import {
  computerSecret,
  dropComputerKey,
  forgetComputerKey,
  keysFolder,
  makeComputerKey,
  noteComputerKey,
} from './keyring.ts'

export interface LogbookKey extends KeyDescription {
  /** This computer has its password. */
  readonly here: boolean
}

interface Options {
  readonly signal?: AbortSignal | undefined
}

/** All keys, oldest first. */
export async function listLogbookKeys(
  { folders }: Config,
  repository: Repository,
  options: Options = {},
): Promise<readonly LogbookKey[]> {
  const secret = await computerSecret(folders, repository.id)
  const here = secret && (await opensWith(repository, secret, options))
  const keys = await Array.fromAsync(repository.keys(options))
  return keys
    .map((key) => ({ ...key, here: key.id === here }))
    .sort((left, right) => (left.created < right.created ? -1 : 1))
}

/** The key that it opens. Damage of other key files is told where keys are listed, and is no failure here. */
export async function opensWith(
  repository: Repository,
  secret: Uint8Array,
  options: Options = {},
): Promise<string | undefined> {
  try {
    return await repository.findKey(secret, { ...options, hint: repository.keyId })
  } catch (error) {
    if (isFailure(error, 'integrity.format', 'integrity.hash')) return undefined
    throw error
  }
}

/** A key by the beginning of its id. */
export function findLogbookKey(keys: readonly LogbookKey[], typed: string): LogbookKey {
  const found = keys.filter(({ id }) => typed !== '' && id.startsWith(typed.toLowerCase()))
  const [key] = found
  if (key && found.length === 1) return key
  throw new VmlError(
    key ? 'ambiguous' : 'not-found',
    key ? `Cannot tell which key "${typed}" is: ${found.length} begin so` : `Cannot find key "${typed}"`,
    { hint: 'See the keys: vml key list' },
  )
}

/**
 * Gives this computer a key of its own. The secret is durable here before the logbook has a key file for it: cut off between the two, it
 * opens nothing, and the next call replaces it. One that opens is never written over.
 */
export async function addComputerKey(
  { folders, userName, hostName }: Config,
  clock: Clock,
  repository: Repository,
  options: Options = {},
): Promise<{ readonly id: string; readonly made: boolean }> {
  // Before there is a secret for nothing.
  if (repository.readOnly)
    throw new VmlError('unsupported', `Cannot add a key to "${repository.location}": it is read only`, {
      hint: 'Nothing was changed. Open it without --read-only',
    })
  await makePrivateFolder(keysFolder(folders))
  const lock = join(keysFolder(folders), 'lock')
  await (await open(lock, 'a', 0o600)).close()
  return await withFileLock(lock, clock, async () => {
    const known = await computerSecret(folders, repository.id)
    const present = known && (await repository.findKey(known, { ...options, hint: repository.keyId }))
    if (present !== undefined) {
      await noteComputerKey(folders, repository.id, present)
      return { id: present, made: false }
    }
    const { secret } = await makeComputerKey(folders, repository.id)
    // What it opened is not known yet: then it is tried on every key file, also after a crash right here.
    await forgetComputerKey(folders, repository.id)
    const id = await repository.addKey(
      { password: secret, cost: 'cheap', username: userName, hostname: hostName },
      options,
    )
    await requireOpens(repository, { id, password: secret }, options)
    await noteComputerKey(folders, repository.id, id)
    return { id, made: true }
  })
}

/** Refused where the password opens the logbook already: nobody could tell the two keys apart. */
export async function addPasswordKey(
  { userName, hostName }: Config,
  repository: Repository,
  password: Uint8Array,
  options: Options = {},
): Promise<string> {
  const present = await repository.findKey(password, options)
  if (present !== undefined)
    throw new VmlError('exists', `Cannot add this password: key ${shortId(present)} opens with it already`, {
      hint: 'Nothing was changed. Choose another one',
    })
  const id = await repository.addKey(
    { password, cost: 'strong', username: userName, hostname: hostName },
    options,
  )
  await requireOpens(repository, { id, password }, options)
  return id
}

/**
 * The new key is there and proved to open before the old one goes, all under a lock that nobody else has: cut off between, both open.
 */
export async function changePassword(
  config: Config,
  repository: Repository,
  { old, password }: { readonly old: LogbookKey; readonly password: Uint8Array },
  options: Options = {},
): Promise<string> {
  await using _lock = await repository.lock('exclusive', options)
  const id = await addPasswordKey(config, repository, password, options)
  // No signal from here on: the new key is there, and the old one goes with it.
  await repository.removeKey(old.id)
  return id
}

/**
 * The key file goes before this computer's secret for it: cut off between, that secret opens nothing. The key that opened the logbook
 * just now stays, unless `proof` is a password that opens another one; so there is always one that somebody has.
 */
export async function removeLogbookKey(
  { folders }: Config,
  repository: Repository,
  { key, proof }: { readonly key: LogbookKey; readonly proof: Uint8Array | undefined },
  options: Options = {},
): Promise<void> {
  {
    await using _lock = await repository.lock('exclusive', options)
    const keys = await Array.fromAsync(repository.keys(options))
    const staying = keys.filter(({ id, damage }) => id !== key.id && damage === undefined)
    if (staying.length === 0)
      throw new VmlError('conflict', `Cannot remove key ${shortId(key.id)}: it is the last one that works`, {
        hint: 'Nothing was changed. Add another first: vml key add',
      })
    if (key.current) await requireOther(repository, { key, proof }, options)
    else if (!staying.some(({ id }) => id === repository.keyId))
      throw new VmlError(
        'conflict',
        `Cannot remove key ${shortId(key.id)}: the key that opened this logbook was removed meanwhile`,
        { hint: 'Nothing was changed. Run the command again, with another key' },
      )
    await repository.removeKey(key.id)
  }
  if (!key.here) return
  await dropComputerKey(folders, repository.id)
  await forgetComputerKey(folders, repository.id)
}

async function requireOther(
  repository: Repository,
  { key, proof }: { readonly key: LogbookKey; readonly proof: Uint8Array | undefined },
  options: Options,
): Promise<void> {
  const other = proof && (await repository.findKey(proof, options))
  if (other !== undefined && other !== key.id) return
  throw new VmlError(
    'conflict',
    `Cannot remove key ${shortId(key.id)}: the logbook was opened with it, and ${proof ? 'the other password opens nothing else' : 'nothing proves that you have another'}`,
    {
      hint: 'Nothing was changed. Give a password that stays with --proof-password-file FILE, or run it with another key',
    },
  )
}

/** Read back from the storage: what was written there must open. */
async function requireOpens(
  repository: Repository,
  { id, password }: { readonly id: string; readonly password: Uint8Array },
  options: Options,
): Promise<void> {
  if ((await repository.findKey(password, { ...options, hint: id })) === id) return
  throw new VmlError('proof', `Cannot open the logbook with key ${shortId(id)}, which was just added`, {
    hint: 'All other keys are as they were. Try again; vml key remove takes it away',
  })
}
