// A repository in a folder of this host, laid out as restic does (restic, doc/design.rst, "Repository Layout").
import { randomBytes } from 'node:crypto'
import { link, lstat, mkdir, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { messageOf, systemErrorCode, VmlError } from '../base/failure.ts'
import { syncFolder } from '../base/files.ts'
import type { Backend, FileRef } from './backend.ts'
import { fileNamePattern, folderOf, packFolders, pathInRepository } from './repository-path.ts'

/** `root` need not exist: `create` makes it. */
export function openLocal(root: string, options: { readOnly?: boolean } = {}): Backend {
  const folder = resolve(root)
  const readOnly = options.readOnly ?? false
  let swept = false
  const refuseWrite = () => {
    if (readOnly) throw new VmlError('unsupported', `Cannot write to "${folder}": it was opened to read`)
  }
  return {
    location: folder,
    traits: { connections: 4, readOnly, parity: true },
    async create({ signal } = {}) {
      signal?.throwIfAborted()
      refuseWrite()
      await explained(`make a repository in "${folder}"`, () => makeFolders(folder))
    },
    async put(file, data, { signal } = {}) {
      signal?.throwIfAborted()
      refuseWrite()
      await explained(`write "${pathOf(folder, file)}"`, async () => {
        if (!swept) await sweepTemporary(folder)
        swept = true
        await putFile({ folder, target: pathOf(folder, file), data, signal })
      })
    },
    async get(file, range, { signal } = {}) {
      signal?.throwIfAborted()
      const path = pathOf(folder, file)
      return await explained(`read "${path}"`, async () => await readRange(path, range))
    },
    async size(file, { signal } = {}) {
      signal?.throwIfAborted()
      const path = pathOf(folder, file)
      return await explained(`look at "${path}"`, async () => {
        const found = await lstat(path).catch(absent)
        return found?.size
      })
    },
    localPath: (file) => pathOf(folder, file),
    async *list(kind, { signal } = {}) {
      signal?.throwIfAborted()
      if (kind === 'config') {
        const found = await lstat(join(folder, 'config')).catch(absent)
        if (found) yield { name: '', size: found.size }
        return
      }
      const base = join(folder, folderOf[kind])
      const names = await explained(`list "${base}"`, async () => await readNames(folder, base))
      if (kind !== 'pack') {
        yield* listFolder(base, names, signal)
        return
      }
      for (const part of names.filter((name) => /^[0-9a-f]{2}$/.test(name)).sort()) {
        const inner = join(base, part)
        yield* listFolder(inner, (await readdir(inner).catch(absent)) ?? [], signal)
      }
    },
    async remove(file, { signal } = {}) {
      signal?.throwIfAborted()
      refuseWrite()
      const path = pathOf(folder, file)
      await explained(`remove "${path}"`, async () => {
        await unlink(path).catch(absent)
        await syncFolder(dirname(path)).catch(absent)
      })
    },
    async setAside(file, { signal } = {}) {
      signal?.throwIfAborted()
      refuseWrite()
      const path = pathOf(folder, file)
      return await explained(`move "${path}" aside`, async () => await moveAside(folder, path))
    },
    async [Symbol.asyncDispose]() {},
  }
}

const temporaryPattern = /^vml-put-[0-9a-f]{16}$/
// A put of one file (16 MiB as a rule) takes seconds; what was not touched for this long has no writer any more.
const temporaryAgeMsMax = 60 * 60 * 1000

function pathOf(folder: string, file: FileRef): string {
  return join(folder, pathInRepository(file))
}

async function makeFolders(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  if (await lstat(join(folder, 'config')).catch(absent)) {
    throw new VmlError('exists', `Cannot make a repository in "${folder}": one is there`)
  }
  // `parity` is made when there is any.
  for (const name of [...Object.values(folderOf).filter((each) => each !== 'parity'), 'tmp']) {
    await mkdir(join(folder, name), { recursive: true, mode: 0o700 })
  }
  await Promise.all(
    packFolders.map(
      async (part) => await mkdir(join(folder, 'data', part), { recursive: true, mode: 0o700 }),
    ),
  )
  await syncFolder(join(folder, 'data'))
  await syncFolder(folder)
  await syncFolder(dirname(folder)).catch(() => {})
}

interface Put {
  readonly folder: string
  readonly target: string
  readonly data: Uint8Array
  readonly signal: AbortSignal | undefined
}

/**
 * Temporary file, its bytes durable, a link under the final name, the name durable, the temporary name gone. A kill
 * at any point leaves either no file or the whole one, and at worst a name in `tmp/`, which a later put sweeps.
 */
async function putFile({ folder, target, data, signal }: Put): Promise<void> {
  const temporary = join(folder, 'tmp', `vml-put-${randomBytes(8).toString('hex')}`)
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
    await linkNew(temporary, target, data)
  } finally {
    await unlink(temporary).catch(() => {})
  }
  await syncFolder(dirname(target))
}

/** Below `damaged/` under the path that it had; what was put there before stays. */
async function moveAside(folder: string, path: string): Promise<string> {
  const place = join(folder, 'damaged', relative(folder, path))
  await mkdir(dirname(place), { recursive: true, mode: 0o700 })
  for (let copy = 0; copy < asideCopiesMax; copy++) {
    const target = copy === 0 ? place : `${place}.${copy}`
    if (await lstat(target).catch(absent)) continue
    await rename(path, target)
    await syncFolder(dirname(target))
    await syncFolder(dirname(path))
    return target
  }
  throw new VmlError('exists', `Cannot move "${path}" aside: "${place}" is there too often`)
}

/** Files are named for their content: a second damaged one of a name is rare, and a hundredth is a mistake. */
const asideCopiesMax = 100

/** Unlike a rename, a link never replaces a file. */
async function linkNew(temporary: string, target: string, data: Uint8Array): Promise<void> {
  try {
    await link(temporary, target)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'EEXIST') {
      await acceptSame(target, data)
    } else if (code === 'ENOENT' && (await lstat(temporary).catch(absent))) {
      // data/xx is missing: another program made the repository.
      await stat(dirname(dirname(target)))
      await mkdir(dirname(target), { mode: 0o700 })
      await syncFolder(dirname(dirname(target)))
      await linkNew(temporary, target, data)
    } else if (code === 'EPERM' || code === 'ENOTSUP' || code === 'ENOSYS' || code === 'EMLINK') {
      // A file system without hard links (FAT, some network ones).
      if (await lstat(target).catch(absent)) await acceptSame(target, data)
      else await rename(temporary, target)
    } else {
      throw error
    }
  }
}

async function acceptSame(target: string, data: Uint8Array): Promise<void> {
  const file = await open(target, 'r')
  try {
    const { size } = await file.stat()
    const same = size === data.length && (await file.readFile()).equals(data)
    if (!same) throw new VmlError('exists', `Cannot write "${target}": other content is there`)
    // Whoever wrote it may not have come to its sync yet.
    await file.sync()
  } finally {
    await file.close()
  }
}

async function readRange(
  path: string,
  range: { readonly offset: number; readonly length: number } | undefined,
): Promise<Buffer> {
  if (!range) return await readFile(path)
  const file = await open(path, 'r')
  try {
    const data = Buffer.allocUnsafeSlow(range.length)
    let done = 0
    while (done < range.length) {
      const { bytesRead } = await file.read(data, done, range.length - done, range.offset + done)
      if (bytesRead === 0) {
        const end = range.offset + range.length
        const { size } = await file.stat()
        throw new VmlError('integrity.truncated', `Cannot read "${path}" up to byte ${end}: it has ${size}`)
      }
      done += bytesRead
    }
    return data
  } finally {
    await file.close()
  }
}

/** A folder that is missing beside a config was lost in a copy that leaves empty folders out. */
async function readNames(folder: string, base: string): Promise<readonly string[]> {
  const names = await readdir(base).catch(absent)
  if (names) return names
  await stat(join(folder, 'config'))
  return []
}

async function* listFolder(
  base: string,
  names: readonly string[],
  signal: AbortSignal | undefined,
): AsyncIterable<{ name: string; size: number }> {
  for (const name of names.filter((candidate) => fileNamePattern.test(candidate)).sort()) {
    signal?.throwIfAborted()
    const found = await lstat(join(base, name)).catch(absent)
    if (found?.isFile()) yield { name, size: found.size }
  }
}

async function sweepTemporary(folder: string): Promise<void> {
  const base = join(folder, 'tmp')
  for (const name of (await readdir(base).catch(absent)) ?? []) {
    if (!temporaryPattern.test(name)) continue
    const found = await lstat(join(base, name)).catch(absent)
    if (found && Date.now() - found.mtimeMs > temporaryAgeMsMax) await unlink(join(base, name)).catch(absent)
  }
}

function absent(error: unknown): undefined {
  if (systemErrorCode(error) !== 'ENOENT') throw error
  return undefined
}

async function explained<T>(action: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task()
  } catch (error) {
    const code = systemErrorCode(error)
    if (error instanceof VmlError || code === undefined) throw error
    const options = { cause: error, details: { code } }
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new VmlError('not-found', `Cannot ${action}: no such file`, options)
    }
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      throw new VmlError('unavailable.space', `Cannot ${action}: no space is left`, {
        ...options,
        hint: 'Free space there and run the command again: what was stored so far is reused',
      })
    }
    if (code === 'ESTALE' || code === 'ETIMEDOUT' || code === 'EHOSTDOWN' || code === 'ENOTCONN') {
      throw new VmlError('unavailable.network', `Cannot ${action}: ${messageOf(error)}`, options)
    }
    throw new VmlError('failed', `Cannot ${action}: ${messageOf(error)}`, options)
  }
}
