// Writes a file of an sftp server all or nothing: under a name of its own, made durable, then given its name.
import { setTimeout as sleep } from 'node:timers/promises'
import { isFailure, VmlError } from '../base/failure.ts'
import { openPool } from '../base/pool.ts'
import type { Sftp, SftpHandle } from '../wire/sftp.ts'
import { at, parentOf } from './sftp-layout.ts'
import { readFile } from './sftp-read.ts'
import { claimName, isTemporaryName, newTemporaryName } from './temporary-name.ts'

/** 2 MiB: what OpenSSH lets be on its way. */
const writesInFlight = 32
/** A put takes seconds; a day leaves room for clocks that differ. */
const temporaryAgeMsMin = 24 * 60 * 60 * 1000

export interface SftpPut {
  readonly folder: string
  readonly target: string
  readonly data: Uint8Array
  readonly signal: AbortSignal | undefined
}

/**
 * Temporary file, its bytes durable, the final name, that name durable, the temporary one gone. A line that breaks at any
 * point leaves either no file or the whole one, and at worst a name in `tmp/`, which a later put sweeps.
 */
export async function putFile(sftp: Sftp, { folder, target, data, signal }: SftpPut): Promise<void> {
  const temporary = at(folder, 'tmp', newTemporaryName())
  const handle = await sftp.createNew(temporary).catch(async (error: unknown) => {
    if (!isFailure(error, 'not-found')) throw error
    // restic makes no tmp/; only where the repository itself stands may it be made.
    if (!(await sftp.look(at(folder, 'data'), { follow: true }))) throw error
    await makeFolderOnce(sftp, at(folder, 'tmp'))
    return await sftp.createNew(temporary)
  })
  const drop = async () => await sftp.remove(temporary).catch(() => {})
  try {
    await fill(sftp, { handle, data, signal })
    signal?.throwIfAborted()
    await giveName(sftp, { folder, temporary, target, data })
  } catch (error) {
    await drop()
    throw error
  }
  await Promise.all([syncFolder(sftp, parentOf(target)), drop()])
}

interface Filling {
  readonly handle: SftpHandle
  readonly data: Uint8Array
  readonly signal: AbortSignal | undefined
}

/** Closes the file in any case. */
async function fill(sftp: Sftp, { handle, data, signal }: Filling): Promise<void> {
  try {
    await writeAll(sftp, { handle, data, signal })
  } catch (error) {
    await sftp.close(handle).catch(() => {})
    throw error
  }
  // Asked at once, since each answer takes the delay of the line.
  const [size] = await Promise.all([sftp.size(handle), sftp.sync(handle), sftp.close(handle)])
  if (size !== undefined && size !== data.length)
    throw new VmlError('failed', `only ${size} of ${data.length} bytes arrived`)
}

async function writeAll(sftp: Sftp, { handle, data, signal }: Filling): Promise<void> {
  const pool = openPool(writesInFlight)
  for (let start = 0; start < data.length; start += sftp.writeBytesMax) {
    signal?.throwIfAborted()
    const part = data.subarray(start, start + sftp.writeBytesMax)
    await pool.start(async () => await sftp.write(handle, start, part))
  }
  await pool.drain()
}

interface Naming {
  readonly folder: string
  readonly temporary: string
  readonly target: string
  readonly data: Uint8Array
}

/** A link never replaces a file. Without links a rename does it, which OpenSSH makes never replace one either. */
async function giveName(sftp: Sftp, naming: Naming): Promise<void> {
  const { temporary, target, data } = naming
  for (let folderMade = false; ; folderMade = true) {
    try {
      if (sftp.links) await sftp.link(temporary, target)
      else await renameNew(sftp, naming)
      return
    } catch (error) {
      // Servers have one number for most failures: what is there tells.
      if (isFailure(error, 'unavailable.network', 'unavailable.timeout')) throw error
      if (await sftp.look(target)) {
        await acceptSame(sftp, target, data)
        return
      }
      const parent = parentOf(target)
      if (!folderMade && !(await sftp.look(parent)) && (await sftp.look(parentOf(parent)))) {
        // data/xx is missing: another program made or copied the repository.
        await makeFolderOnce(sftp, parent)
        await syncFolder(sftp, parentOf(parent))
        continue
      }
      if (isFailure(error, 'not-found') || !sftp.links) throw error
      // A file system without hard links.
      await renameNew(sftp, naming)
      return
    }
  }
}

/**
 * Some servers replace what is there. What is named for its content is the same then; of those that would write a config, one at a
 * time looks and renames.
 */
async function renameNew(sftp: Sftp, { folder, temporary, target }: Naming): Promise<void> {
  const claim = target === at(folder, 'config') ? await claimConfig(sftp, folder) : undefined
  try {
    if (await sftp.look(target)) throw new VmlError('exists', 'it is there')
    await sftp.rename(temporary, target)
  } finally {
    if (claim !== undefined) await sftp.remove(claim).catch(() => {})
  }
}

const claimTriesMax = 50
const claimPollMs = 100
/** It may be gone again when it is looked at; more often the server does not let us make it. */
const claimRefusalsMax = 3

async function claimConfig(sftp: Sftp, folder: string): Promise<string> {
  const claim = at(folder, 'tmp', claimName)
  for (let tries = 1, refusals = 0; tries <= claimTriesMax; tries++) {
    try {
      await sftp.close(await sftp.createNew(claim))
      return claim
    } catch (error) {
      if (isFailure(error, 'unavailable.network', 'unavailable.timeout')) throw error
      if (!(await sftp.look(claim)) && ++refusals >= claimRefusalsMax) throw error
    }
    await sleep(claimPollMs)
  }
  throw new VmlError('exists', `Cannot write a config: another program is at it, by "${claim}"`, {
    hint: 'Where none is, one was killed at it: remove that file, or wait a day',
  })
}

/** Below `damaged/` under the path that it had; what was put there before stays. Returns where it lies. */
export async function moveAside(sftp: Sftp, folder: string, path: string): Promise<string> {
  const place = at(folder, 'damaged', path.slice(folder.length + 1))
  const above = place
    .slice(folder.length + 1)
    .split('/')
    .slice(0, -1)
  for (const depth of above.keys()) await makeFolderOnce(sftp, at(folder, ...above.slice(0, depth + 1)))
  for (let copy = 0; copy < asideCopiesMax; copy++) {
    const target = copy === 0 ? place : `${place}.${copy}`
    if (await sftp.look(target)) continue
    await sftp.rename(path, target)
    await syncFolder(sftp, parentOf(target))
    await syncFolder(sftp, parentOf(path))
    return target
  }
  throw new VmlError('exists', `Cannot move "${path}" aside: "${place}" is there too often`)
}

/** Files are named for their content: a second damaged one of a name is rare, and a hundredth is a mistake. */
const asideCopiesMax = 100

async function acceptSame(sftp: Sftp, target: string, data: Uint8Array): Promise<void> {
  const found = await sftp.look(target, { follow: true })
  const same = found?.size === data.length && (await readFile(sftp, target, undefined)).equals(data)
  if (!same) throw new VmlError('exists', `Cannot write "${target}": other content is there`)
  // Whoever wrote it may not have come to its sync yet.
  await syncFolder(sftp, target)
}

/** A folder or a file, by its name. Best effort: only some servers can, and those that cannot offer nothing else. */
export async function syncFolder(sftp: Sftp, path: string): Promise<void> {
  try {
    const handle = await sftp.open(path)
    await Promise.all([sftp.sync(handle), sftp.close(handle)])
  } catch (error) {
    if (isFailure(error, 'unavailable.network', 'unavailable.timeout')) throw error
  }
}

/** Fails where it is not there afterwards. */
export async function makeFolderOnce(sftp: Sftp, path: string): Promise<void> {
  try {
    await sftp.makeFolder(path)
  } catch (error) {
    // Most servers say no more than "Failure" of a folder that is there.
    if (!(await sftp.look(path, { follow: true }))) throw error
  }
}

/** What a killed program left long ago. */
export async function sweepTemporary(sftp: Sftp, folder: string, now: number): Promise<void> {
  const base = at(folder, 'tmp')
  for await (const names of sftp.list(base))
    for (const { name, mtimeS } of names)
      if (isTemporaryName(name) && mtimeS !== undefined && now - mtimeS * 1000 > temporaryAgeMsMin)
        await sftp.remove(at(base, name)).catch(() => {})
}
