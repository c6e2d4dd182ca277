// Makes a logbook with its two keys: this computer's, and one for recovery that stock restic takes as its password.
import { randomBytes, randomInt } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { shownLocation } from '../backend/location.ts'
import type { Clock } from '../base/clock.ts'
import { isFailure, systemErrorCode, VmlError } from '../base/failure.ts'
import { silentReporter } from '../base/progress.ts'
import { parseId, type RepositoryId } from '../model/ids.ts'
import { initRepository } from '../store/repository.ts'
import type { Repository } from '../store/store.ts'
import type { Config } from './config.ts'
import { dropComputerKey, makeComputerKey, noteComputerKey } from './keyring.ts'
import { openStorage, type StorageOptions } from './storage.ts'
import { setDefaultLogbook } from './write-config.ts'

export interface MadeLogbook {
  readonly id: RepositoryId
  readonly location: string
  /** Whether this became the default logbook. */
  readonly isDefault: boolean
}

/** What an `init` that was cut off may have left in the folder. */
const repositoryNames = new Set(['config', 'data', 'index', 'keys', 'locks', 'snapshots', 'tmp'])

/** Fails with `exists` before anything is written where something else is. */
export async function requireFreePlace(
  config: Config,
  location: string,
  options: StorageOptions & {
    /** Whether recovery data shall lie there, too. */
    readonly parity?: boolean
  },
): Promise<void> {
  const { backend: opened } = await openStorage(config, location, options)
  await using backend = opened
  if (options.parity && !backend.traits.parity)
    throw new VmlError(
      'unsupported',
      `Cannot keep recovery data in "${shownLocation(location)}": only restic's own files can lie there`,
      { hint: 'Nothing was made. Leave --parity out, or take a folder, sftp or S3' },
    )
  if ((await backend.size({ kind: 'config', name: '' }, options)) !== undefined)
    throw new VmlError(
      'exists',
      `Cannot make a logbook in "${shownLocation(location)}": there is one, and it was left as it is`,
      {
        details: { location: shownLocation(location) },
        hint: `Look into it: vml log --logbook ${shownLocation(location)}`,
      },
    )
  if (!location.startsWith('/')) return
  const foreign = (await namesIn(location)).find((name) => !repositoryNames.has(name))
  if (foreign !== undefined)
    throw new VmlError('exists', `Cannot make a logbook in "${location}": the folder is not empty`, {
      details: { location, found: foreign },
      hint: 'Name a new or empty folder',
    })
}

export async function makeLogbook(
  config: Config,
  clock: Clock,
  location: string,
  recovery: Uint8Array,
  options: StorageOptions & {
    /** Of another logbook, so that copies between the two store nothing twice. */
    readonly chunker?: Repository['chunker'] | undefined
    /** Share of recovery data. */
    readonly parity?: number | undefined
    /** Whether it may become the default logbook, where there is none. */
    readonly isDefault?: boolean
  },
): Promise<MadeLogbook> {
  await requireFreePlace(config, location, { ...options, parity: options.parity !== undefined })
  const id = parseId<RepositoryId>(randomBytes(32).toString('hex'))
  if (id === undefined) throw new TypeError('32 random bytes are 64 hex digits')
  // The secret is durable before the repository exists; the repository's config is its commit and comes last.
  // Cut off between: a secret that opens nothing, and key files that the next init passes over.
  const key = await makeComputerKey(config.folders, id)
  const { backend } = await openStorage(config, location, options)
  const who = { username: config.userName, hostname: config.hostName }
  try {
    await using repository = await initRepository({
      backend,
      id,
      keys: [
        { password: key.secret, cost: 'cheap', ...who },
        { password: recovery, cost: 'strong', ...who },
      ],
      ...(options.chunker && {
        chunker: options.chunker.algorithm,
        polynomial: options.chunker.polynomial,
      }),
      clock,
      signal: options.signal,
    })
    await noteComputerKey(config.folders, id, repository.keyId)
    if (options.parity !== undefined)
      await (
        await repository.openParity()
      ).set(options.parity, { reporter: silentReporter, signal: options.signal })
  } catch (error) {
    // Only where it is certain that no config of this one was written: otherwise this secret may be a logbook's key.
    const lost = isFailure(error, 'exists')
    const written = lost ? undefined : await backend.size({ kind: 'config', name: '' }).catch(() => 0)
    if (written === undefined) await dropComputerKey(config.folders, id)
    await backend[Symbol.asyncDispose]()
    throw error
  }
  const isDefault = options.isDefault !== false && (await setDefaultLogbook(config, clock, location))
  return { id, location, isDefault }
}

/** Crockford's base32 without letters that are mistaken for digits: 8 groups of 5 are 200 bits. */
export function generateRecoveryKey(): string {
  const letters = '0123456789abcdefghjkmnpqrstvwxyz'
  const group = () => Array.from({ length: 5 }, () => letters[randomInt(32)]).join('')
  return Array.from({ length: 8 }, group).join('-')
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT') return []
    if (code === 'ENOTDIR')
      throw new VmlError('exists', `Cannot make a logbook in "${folder}": a file is there`)
    throw error
  }
}
