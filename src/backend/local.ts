// A repository in a folder of this host, laid out as restic does (restic, doc/design.rst, "Repository Layout").
import { lstat, mkdir, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { VmlError } from '../base/failure.ts'
import { syncFolder } from '../base/files.ts'
import type { Backend, FileRef, StagedFile } from './backend.ts'
import { absent, explainDiskFailure, explained } from './disk-failure.ts'
import { openStage, putFile, type Stage, sweepTemporary } from './local-put.ts'
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
      await explained(`make a logbook in "${folder}"`, () => makeFolders(folder))
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
    ...(readOnly ? {} : { stage: () => stageIn(folder) }),
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

function pathOf(folder: string, file: FileRef): string {
  return join(folder, pathInRepository(file))
}

function stageIn(folder: string): StagedFile {
  const { descriptor, put, drop } = openStageExplained(folder)
  return {
    descriptor,
    async put(file, bytes, { signal } = {}) {
      const target = pathOf(folder, file)
      await explained(`write "${target}"`, async () => await put({ target, name: file.name, bytes, signal }))
    },
    drop,
  }
}

function openStageExplained(folder: string): Stage {
  try {
    return openStage(folder)
  } catch (error) {
    throw explainDiskFailure(`write to "${folder}"`, error)
  }
}

async function makeFolders(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  if (await lstat(join(folder, 'config')).catch(absent)) {
    throw new VmlError('exists', `Cannot make a logbook in "${folder}": one is there`)
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
