// How a file gets into a repository in a folder of this host: under a temporary name first, under its own when it is whole and durable.
import { hash } from 'node:crypto'
import {
  closeSync,
  fdatasync as fdatasyncBack,
  fstat as fstatBack,
  mkdirSync,
  openSync,
  read as readBack,
  statSync,
  unlinkSync,
} from 'node:fs'
import { link, lstat, mkdir, open, readdir, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { syncFolder } from '../base/files.ts'
import { absent } from './disk-failure.ts'
import { renameNew } from './local-rename.ts'
import { isTemporaryName, newTemporaryName } from './temporary-name.ts'

// An import of all that it exports has Node load a dozen modules, at each start.
const { promisify } = process.getBuiltinModule('node:util')
const fdatasync = promisify(fdatasyncBack)
const fstat = promisify(fstatBack)
const read = promisify(readBack)

// A file of 16 MiB, as a rule, takes seconds; what was not touched for this long has no writer any more.
const temporaryAgeMsMax = 60 * 60 * 1000

function temporaryIn(folder: string): string {
  return join(folder, 'tmp', newTemporaryName())
}

export interface Put {
  readonly folder: string
  readonly target: string
  readonly data: Uint8Array
  readonly signal: AbortSignal | undefined
}

/**
 * Temporary file, its bytes durable, a link under the final name, the name durable, the temporary name gone. A kill
 * at any point leaves either no file or the whole one, and at worst a name in `tmp/`, which a later put sweeps.
 */
export async function putFile({ folder, target, data, signal }: Put): Promise<void> {
  const temporary = temporaryIn(folder)
  const file = await open(temporary, 'wx', 0o600).catch(async (error: unknown) => {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    // restic makes no tmp/; only where the repository itself stands may it be made.
    await stat(join(folder, 'data'))
    await mkdir(dirname(temporary), { recursive: true, mode: 0o700 })
    return await open(temporary, 'wx', 0o600)
  })
  try {
    try {
      await file.writeFile(data)
      await file.datasync()
    } finally {
      await file.close()
    }
    signal?.throwIfAborted()
    await linkNew(temporary, target, (present) => present.equals(data))
  } finally {
    await unlink(temporary).catch(() => {})
  }
  await syncFolder(dirname(target))
}

export interface Stage {
  readonly descriptor: number
  /** The steps of `putFile` from the second on. `bytes` is what was written, and `name` its SHA-256. */
  put(file: {
    readonly target: string
    readonly name: string
    readonly bytes: number
    readonly signal: AbortSignal | undefined
  }): Promise<void>
  drop(): void
}

/** The first step of `putFile` alone: a temporary file that others fill. */
export function openStage(folder: string): Stage {
  const temporary = temporaryIn(folder)
  const descriptor = openTemporary(folder, temporary)
  let isOpen = true
  const close = () => {
    if (!isOpen) return
    // A close that fails has closed all the same (close(2)): the number may be another file's by now.
    isOpen = false
    closeSync(descriptor)
  }
  return {
    descriptor,
    async put({ target, name, bytes, signal }) {
      try {
        signal?.throwIfAborted()
        const { size } = await fstat(descriptor)
        if (size !== bytes) {
          throw new VmlError(
            'failed',
            `Cannot write "${target}": ${size} of ${bytes} bytes came to the disk`,
            {
              hint: 'Look at the disk and the log of its computer, then run the command again',
            },
          )
        }
        if (await lstat(temporary).catch(absent)) {
          await fdatasync(descriptor)
          await linkNew(temporary, target, (present) => hash('sha256', present) === name)
        } else {
          // It was filled so slowly that somebody took it for a leftover: only its name is gone.
          await putFile({ folder, target, data: await readWhole(descriptor, bytes), signal })
        }
      } finally {
        try {
          close()
        } finally {
          await unlink(temporary).catch(() => {})
        }
      }
      await syncFolder(dirname(target))
    },
    drop() {
      if (!isOpen) return
      // Nothing of it is wanted, and a name in `tmp/` harms nobody: what comes after, such as the release of a lock, must come.
      for (const step of [close, () => unlinkSync(temporary)]) {
        try {
          step()
        } catch {
          continue
        }
      }
    },
  }
}

function openTemporary(folder: string, temporary: string): number {
  try {
    return openSync(temporary, 'wx+', 0o600)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    statSync(join(folder, 'data'))
    mkdirSync(dirname(temporary), { recursive: true, mode: 0o700 })
    return openSync(temporary, 'wx+', 0o600)
  }
}

async function readWhole(descriptor: number, bytes: number): Promise<Buffer> {
  const data = Buffer.allocUnsafeSlow(bytes)
  for (let at = 0; at < bytes;) {
    const { bytesRead } = await read(descriptor, data, at, bytes - at, at)
    if (bytesRead === 0) throw new Error('A file to be put became shorter')
    at += bytesRead
  }
  return data
}

/** Unlike a rename, a link never replaces a file. */
async function linkNew(
  temporary: string,
  target: string,
  isSame: (present: Buffer) => boolean,
): Promise<void> {
  try {
    await link(temporary, target)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'EEXIST') {
      await acceptSame(temporary, target, isSame)
    } else if (code === 'ENOENT' && (await lstat(temporary).catch(absent))) {
      // data/xx is missing: another program made the repository.
      await stat(dirname(dirname(target)))
      await mkdir(dirname(target), { mode: 0o700 })
      await syncFolder(dirname(dirname(target)))
      await linkNew(temporary, target, isSame)
    } else if (code === 'EPERM' || code === 'ENOTSUP' || code === 'ENOSYS' || code === 'EMLINK') {
      // A file system without hard links.
      await renameNew(temporary, target, async () => await acceptSame(temporary, target, isSame))
    } else {
      throw error
    }
  }
}

async function acceptSame(
  temporary: string,
  target: string,
  isSame: (present: Buffer) => boolean,
): Promise<void> {
  const file = await open(target, 'r')
  try {
    const [{ size }, mine] = await Promise.all([file.stat(), stat(temporary)])
    const same = size === mine.size && isSame(await file.readFile())
    if (!same) throw new VmlError('exists', `Cannot write "${target}": other content is there`)
    // Whoever wrote it may not have come to its sync yet.
    await file.sync()
  } finally {
    await file.close()
  }
}

export async function sweepTemporary(folder: string): Promise<void> {
  const base = join(folder, 'tmp')
  for (const name of (await readdir(base).catch(absent)) ?? []) {
    if (!isTemporaryName(name)) continue
    const found = await lstat(join(base, name)).catch(absent)
    if (found && Date.now() - found.mtimeMs > temporaryAgeMsMax) await unlink(join(base, name)).catch(absent)
  }
}
