// A repository on a host that is reached by sftp over the system's own ssh, with the user's configuration and keys.
import { isFailure, VmlError } from '../base/failure.ts'
import { mapOrdered } from '../base/pool.ts'
import { mayBeFile } from '../wire/sftp-packets.ts'
import { openSftp, type Sftp, type SftpName } from '../wire/sftp.ts'
import type { SshOptions } from '../wire/ssh-client.ts'
import type { Backend, FileRef } from './backend.ts'
import { fileNamePattern, folderOf, packFolders } from './repository-path.ts'
import { at, parentOf, pathOf } from './sftp-layout.ts'
import { formatSftpLocation, sftpLabel, type SftpLocation } from './sftp-location.ts'
import { readFile } from './sftp-read.ts'
import { makeFolderOnce, moveAside, putFile, sweepTemporary, syncFolder } from './sftp-write.ts'

/** Folders listed or made at once: each costs the delay of the line a few times over. */
const foldersInFlight = 32
const foldersPerStep = 64

/**
 * Connects at the first call, and again at the next call after the connection was lost. A call that was under way then
 * fails with `unavailable.*`: whether it took effect is not known.
 */
export function openSftpBackend(place: SftpLocation, options: SshOptions = {}): Backend {
  const { address, path: folder } = place
  const label = sftpLabel(address)
  const closing = new AbortController()
  let session: { readonly opened: Promise<Sftp>; up?: Sftp } | undefined
  let swept = false

  const connected = async (): Promise<Sftp> => {
    closing.signal.throwIfAborted()
    if (session?.up && !session.up.isUp) session = undefined
    if (session) return await session.opened
    const made: { readonly opened: Promise<Sftp>; up?: Sftp } = {
      opened: openSftp({ address, options, label, signal: closing.signal }),
    }
    session = made
    try {
      made.up = await made.opened
      return made.up
    } catch (error) {
      if (session === made) session = undefined
      throw error
    }
  }
  /** Ends with the caller's signal at once; what is under way comes to its end by itself. */
  const call = async <T>(
    action: string,
    signal: AbortSignal | undefined,
    task: (sftp: Sftp) => Promise<T>,
  ): Promise<T> => {
    signal?.throwIfAborted()
    return await untilAborted(
      signal,
      explained(action, label, async () => await task(await connected())),
    )
  }
  const sizeOf = async (file: FileRef, signal: AbortSignal | undefined): Promise<number | undefined> => {
    const path = pathOf(folder, file)
    return await call(`look at "${path}"`, signal, async (sftp) => {
      const found = await sftp.look(path, { follow: true })
      if (found && found.size === undefined)
        throw new VmlError('unsupported', 'the server tells no sizes of files')
      return found?.size
    })
  }
  return {
    location: formatSftpLocation(place),
    traits: { connections: 4, readOnly: false, parity: true },
    async create({ signal } = {}) {
      await call(`make a logbook in "${folder}"`, signal, async (sftp) => await makeFolders(sftp, folder))
    },
    async put(file, data, { signal } = {}) {
      const target = pathOf(folder, file)
      await call(`write "${target}"`, signal, async (sftp) => {
        if (!swept) void sweepTemporary(sftp, folder, Date.now()).catch(() => {})
        swept = true
        try {
          await putFile(sftp, { folder, target, data, signal })
        } catch (error) {
          throw await explainSpace(sftp, { folder, bytes: data.length, error })
        }
      })
    },
    async get(file, range, { signal } = {}) {
      const path = pathOf(folder, file)
      return await call(`read "${path}"`, signal, async (sftp) => await readFile(sftp, path, range))
    },
    size: async (file, { signal } = {}) => await sizeOf(file, signal),
    async *list(kind, { signal } = {}) {
      signal?.throwIfAborted()
      if (kind === 'config') {
        const size = await sizeOf({ kind, name: '' }, signal)
        if (size !== undefined) yield { name: '', size }
        return
      }
      const base = at(folder, folderOf[kind])
      if (kind !== 'pack') {
        yield* await call(`list "${base}"`, signal, async (sftp) => {
          const files = await filesIn(sftp, base)
          if (!files) await requireConfig(sftp, folder)
          return files ?? []
        })
        return
      }
      const parts = await call(`list "${base}"`, signal, async (sftp) => {
        const names = await readNames(sftp, base)
        if (!names) await requireConfig(sftp, folder)
        return (names ?? []).map(({ name }) => name).filter((name) => /^[0-9a-f]{2}$/.test(name))
      })
      parts.sort()
      for (let start = 0; start < parts.length; start += foldersPerStep) {
        const step = parts.slice(start, start + foldersPerStep)
        const found = await call(
          `list "${base}"`,
          signal,
          async (sftp) =>
            await mapOrdered(step, foldersInFlight, async (part) => await filesIn(sftp, at(base, part))),
        )
        for (const files of found) yield* files ?? []
      }
    },
    async remove(file, { signal } = {}) {
      const path = pathOf(folder, file)
      await call(`remove "${path}"`, signal, async (sftp) => {
        await sftp.remove(path).catch((error: unknown) => {
          if (!isFailure(error, 'not-found')) throw error
        })
        await syncFolder(sftp, parentOf(path))
      })
    },
    async setAside(file, { signal } = {}) {
      const path = pathOf(folder, file)
      return await call(`move "${path}" aside`, signal, async (sftp) => await moveAside(sftp, folder, path))
    },
    async [Symbol.asyncDispose]() {
      closing.abort(new VmlError('cancelled', `The connection to ${label} was closed`))
      const last = await session?.opened.catch(() => undefined)
      await last?.[Symbol.asyncDispose]()
    },
  }
}

/** What an `init` that was cut off may have left. */
const ownNames: readonly string[] = [...Object.values(folderOf), 'tmp']

async function makeFolders(sftp: Sftp, folder: string): Promise<void> {
  const above = folder.split('/').map((_, index, parts) => parts.slice(0, index + 1).join('/'))
  for (const path of above) {
    if (path === '' || (await sftp.look(path, { follow: true }))) continue
    await makeFolderOnce(sftp, path)
    await syncFolder(sftp, parentOf(path))
  }
  if (await sftp.look(at(folder, 'config')))
    throw new VmlError('exists', `Cannot make a logbook in "${folder}": one is there`)
  const foreign = (await readNames(sftp, folder))?.find(({ name }) => !ownNames.includes(name))
  if (foreign)
    throw new VmlError('exists', `Cannot make a logbook in "${folder}": the folder is not empty`, {
      hint: 'Name a new or empty folder',
    })
  // That one is made when there is any.
  for (const name of ownNames) if (name !== folderOf.parity) await makeFolderOnce(sftp, at(folder, name))
  await mapOrdered(
    packFolders,
    foldersInFlight,
    async (part) => await makeFolderOnce(sftp, at(folder, 'data', part)),
  )
  await syncFolder(sftp, at(folder, 'data'))
  await syncFolder(sftp, folder)
}

/** Undefined when the folder is not there. */
async function readNames(sftp: Sftp, path: string): Promise<readonly SftpName[] | undefined> {
  const found: SftpName[] = []
  try {
    for await (const names of sftp.list(path)) found.push(...names)
    return found
  } catch (error) {
    if (isFailure(error, 'not-found') && found.length === 0) return undefined
    throw error
  }
}

type Listed = { readonly name: string; readonly size: number }

/** The files of a folder in order, those whose name is none of a repository's left out. */
async function filesIn(sftp: Sftp, path: string): Promise<readonly Listed[] | undefined> {
  const names = await readNames(sftp, path)
  if (!names) return undefined
  const files: Listed[] = []
  for (const found of names.filter(({ name }) => fileNamePattern.test(name))) {
    // A server may tell sizes only when it is asked for one.
    const known = found.mode !== undefined && found.size !== undefined
    const file = known ? found : await sftp.look(at(path, found.name))
    if (file?.size !== undefined && mayBeFile(file)) files.push({ name: found.name, size: file.size })
  }
  return files.sort((left, right) => (left.name < right.name ? -1 : 1))
}

/** A folder that is missing beside a config was lost in a copy that leaves empty folders out. */
async function requireConfig(sftp: Sftp, folder: string): Promise<void> {
  if (await sftp.look(at(folder, 'config'))) return
  throw new VmlError('not-found', 'no such folder')
}

async function explained<T>(action: string, label: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task()
  } catch (error) {
    // Those of the connection itself name it already.
    if (!isFailure(error) || error.message.startsWith('Cannot') || isFailure(error, ...lineCodes)) throw error
    const { code, message, hint, details } = error
    throw new VmlError(code, `Cannot ${action} on ${label}: ${lowerFirst(message)}`, {
      cause: error,
      details,
      ...(hint === undefined ? {} : { hint }),
    })
  }
}

const lineCodes = ['unavailable.network', 'unavailable.timeout', 'cancelled'] as const

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}

/** Servers have no number for a full disk: what is free tells. */
async function explainSpace(
  sftp: Sftp,
  { folder, bytes, error }: { readonly folder: string; readonly bytes: number; readonly error: unknown },
): Promise<unknown> {
  if (!isFailure(error, 'failed') || error.details['status'] === undefined) return error
  const free = await sftp.freeBytes(folder).catch(() => undefined)
  if (free === undefined || free >= bytes) return error
  return new VmlError('unavailable.space', `no space is left: ${free} of ${bytes} bytes`, {
    cause: error,
    hint: 'Free space there by other means, since even vml rm and vml prune need a little, and run the command again: what was stored so far is reused',
  })
}

async function untilAborted<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  if (!signal) return await work
  const aborted = Promise.withResolvers<never>()
  const stop = () => aborted.reject(signal.reason)
  signal.addEventListener('abort', stop, { once: true })
  try {
    return await Promise.race([work, aborted.promise])
  } finally {
    signal.removeEventListener('abort', stop)
    // Whoever gave up does not hear how it ended.
    work.catch(() => {})
  }
}
