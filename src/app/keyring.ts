// This computer's keys: one secret for each logbook, in a private file, so that daily use never asks.
//
// keys/<repository id> holds the secret as a line of text (stock restic takes the file as --password-file).
// keys/index.json tells which key file of the repository it opens: names of key files are public, so a logbook is
// recognised before it is opened, wherever it was moved. The index is a hint: without it every secret is tried.
import { randomBytes } from 'node:crypto'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { systemErrorCode } from '../base/failure.ts'
import { makePrivateFolder, writeFileDurable } from '../base/files.ts'
import { parseId, type RepositoryId } from '../model/ids.ts'
import type { Folders } from './config.ts'

export interface ComputerKey {
  readonly repository: RepositoryId
  readonly secret: Buffer
  /** The repository's key file that the secret opens, where it is known. */
  readonly keyId: string | undefined
}

const secretBytes = 32
/** Secrets tried when no index names the right one; each costs a key derivation for each key of the repository. */
const guessesMax = 16

export function keysFolder(folders: Folders): string {
  return join(folders.data, 'keys')
}

/** Durable when it returns: `init` calls it before the repository exists, so that no repository is ever without. */
export async function makeComputerKey(folders: Folders, repository: RepositoryId): Promise<ComputerKey> {
  const secret = Buffer.from(randomBytes(secretBytes).toString('hex'))
  await makePrivateFolder(keysFolder(folders))
  await writeFileDurable(join(keysFolder(folders), repository), `${secret.toString()}\n`)
  return { repository, secret, keyId: undefined }
}

/** Notes which key file a secret opens. */
export async function noteComputerKey(
  folders: Folders,
  repository: RepositoryId,
  keyId: string,
): Promise<void> {
  const index = await readIndex(folders)
  if (index.get(repository) === keyId) return
  index.set(repository, keyId)
  await writeIndex(folders, index)
}

/** Forgets which key file a secret opened, when that file is gone. */
export async function forgetComputerKey(folders: Folders, repository: RepositoryId): Promise<void> {
  const index = await readIndex(folders)
  if (index.delete(repository)) await writeIndex(folders, index)
}

/** Forgets a key that no repository came to have. */
export async function dropComputerKey(folders: Folders, repository: RepositoryId): Promise<void> {
  await rm(join(keysFolder(folders), repository), { force: true })
}

/** The secret for a repository; its key file may have been removed elsewhere. */
export async function computerSecret(
  folders: Folders,
  repository: RepositoryId,
): Promise<Buffer | undefined> {
  return await readSecret(folders, repository)
}

/** The keys that may open a repository with key files of these names; the one that is known to, alone. */
export async function findComputerKeys(
  folders: Folders,
  keyFileNames: readonly string[],
): Promise<readonly ComputerKey[]> {
  const index = await readIndex(folders)
  for (const [repository, keyId] of index) {
    if (!keyFileNames.includes(keyId)) continue
    const secret = await readSecret(folders, repository)
    if (secret) return [{ repository, secret, keyId }]
  }
  const keys: ComputerKey[] = []
  for (const name of await listNames(folders)) {
    const repository = parseId<RepositoryId>(name)
    // A key with a known key file that is not here belongs to another repository.
    if (repository === undefined || index.has(repository)) continue
    const secret = await readSecret(folders, repository)
    if (secret) keys.push({ repository, secret, keyId: undefined })
    if (keys.length >= guessesMax) break
  }
  return keys
}

function indexPath(folders: Folders): string {
  return join(keysFolder(folders), 'index.json')
}

async function writeIndex(folders: Folders, index: ReadonlyMap<RepositoryId, string>): Promise<void> {
  await writeFileDurable(
    indexPath(folders),
    `${JSON.stringify({ schema: 1, keys: Object.fromEntries(index) }, null, 2)}\n`,
  )
}

async function readIndex(folders: Folders): Promise<Map<RepositoryId, string>> {
  const index = new Map<RepositoryId, string>()
  try {
    const value: unknown = JSON.parse(await readFile(indexPath(folders), 'utf8'))
    const keys = typeof value === 'object' && value !== null && 'keys' in value ? value.keys : undefined
    for (const [name, keyId] of Object.entries(keys ?? {})) {
      const repository = parseId<RepositoryId>(name)
      if (repository !== undefined && typeof keyId === 'string') index.set(repository, keyId)
    }
  } catch {
    // Missing or unreadable: a hint only.
  }
  return index
}

async function readSecret(folders: Folders, repository: RepositoryId): Promise<Buffer | undefined> {
  try {
    const text = await readFile(join(keysFolder(folders), repository), 'utf8')
    return Buffer.from(text.trimEnd())
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

async function listNames(folders: Folders): Promise<readonly string[]> {
  try {
    return (await readdir(keysFolder(folders))).toSorted()
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return []
    throw error
  }
}
