// A share: one tar file that holds a small repository, what it is, and where the sender wished its key and base image.
// Read in place, nothing is unpacked, so that no name in it ever becomes a name of this host (docs/format.md, "Share file").
import { constants } from 'node:fs'
import { type FileHandle, open, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { syncFolder } from '../base/files.ts'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import type { RawText } from '../base/raw-text.ts'
import { blockBytes, decodeHeader, encodeHeader, isZeroBlock } from '../wire/tar-header.ts'
import type { Backend, FileRef } from './backend.ts'
import { folderOf, pathInRepository } from './repository-path.ts'

export interface ShareMember {
  readonly name: string
  readonly size: number
}

export interface ShareFile extends AsyncDisposable {
  /** The repository in it; read only. */
  readonly backend: Backend
  /** `vml-share.json`, not checked. */
  readonly manifest: Buffer
  /** The password of the repository, where the sender put it inside. */
  readonly key: Buffer | undefined
  /** Files of base images: `image/DIGEST/NAME`. */
  readonly images: readonly ShareMember[]
  readImage(name: string, signal?: AbortSignal): AsyncIterable<Buffer>
}

const manifestName = 'vml-share.json'
const keyName = 'key'
const manifestBytesMax = 1024 * 1024
const keyBytesMax = 4096
/** A pack holds 16 MiB: this many are 16 TiB. */
const membersMax = 1_000_000
const copyBytes = 1024 * 1024

/** Every name that a share may hold; anything else makes it none. */
const memberPattern =
  /^(?:vml-share\.json|key|logbook\/config|logbook\/(?:keys|snapshots|index)\/[0-9a-f]{64}|logbook\/data\/[0-9a-f]{2}\/[0-9a-f]{64}|image\/[0-9a-f]{64}\/[a-z0-9][a-z0-9._-]{0,63})$/

interface Placed {
  readonly offset: number
  readonly size: number
}

/** Fails with `not-found`, or `integrity.format` and `integrity.truncated` for a file that is no share or is cut off. */
export async function openShareFile(path: string): Promise<ShareFile> {
  const file = await openToRead(path)
  try {
    const members = await readMembers(file, path)
    const manifest = await readSmall(file, members, manifestName, manifestBytesMax)
    if (!manifest || !members.has('logbook/config')) throw noShare(path, 'it has no manifest or no logbook')
    const key = await readSmall(file, members, keyName, keyBytesMax)
    return {
      backend: archiveBackend(file, members, path),
      manifest,
      key,
      images: [...members]
        .filter(([name]) => name.startsWith('image/'))
        .map(([name, { size }]) => ({ name, size })),
      readImage: (name, signal) => readMember(file, members.get(name), path, signal),
      [Symbol.asyncDispose]: () => file.close(),
    }
  } catch (error) {
    await file.close()
    throw error
  }
}

export interface ShareContent {
  readonly manifest: Buffer
  readonly key?: Buffer | undefined
  readonly repository: Backend
  readonly images: readonly (ShareMember & { read(): AsyncIterable<Uint8Array> })[]
}

/** Writes beside the target, syncs, renames: a share that is there is whole. `exists` when the file is there and `overwrite` is false. */
export async function writeShareFile(
  path: string,
  content: ShareContent,
  options: { readonly overwrite?: boolean; readonly signal?: AbortSignal | undefined } = {},
): Promise<{ bytes: number }> {
  const temporary = `${path}.part`
  if (!options.overwrite) await refuseExisting(path)
  const file = await createPart(temporary)
  try {
    const writer = memberWriter(file)
    await writer.add(manifestName, content.manifest.length, [content.manifest])
    if (content.key) await writer.add(keyName, content.key.length, [content.key])
    for (const kind of ['config', 'key', 'snapshot', 'index', 'pack'] as const) {
      for await (const { name } of content.repository.list(kind, options)) {
        const data = await content.repository.get({ kind, name }, undefined, options)
        await writer.add(memberName({ kind, name }), data.length, [data])
      }
    }
    for (const image of content.images) await writer.add(image.name, image.size, image.read())
    const bytes = await writer.end()
    options.signal?.throwIfAborted()
    await file.sync()
    await file.close()
    await rename(temporary, path)
    await syncFolder(dirname(path))
    return { bytes }
  } catch (error) {
    await file.close().catch(() => {})
    await unlink(temporary).catch(() => {})
    throw explained(error, path)
  }
}

async function refuseExisting(path: string): Promise<void> {
  const there = await open(path, 'r').catch(() => undefined)
  if (!there) return
  await there.close()
  throw new VmlError('exists', `Cannot write "${path}": it is there`, {
    hint: 'Nothing was changed. Name another file',
  })
}

async function createPart(temporary: string): Promise<FileHandle> {
  try {
    await unlink(temporary).catch(() => {})
    return await open(temporary, 'wx', 0o600)
  } catch (error) {
    throw explained(error, temporary)
  }
}

function explained(error: unknown, path: string): unknown {
  switch (systemErrorCode(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new VmlError('unavailable.space', `Cannot write "${path}": the disk is full`, {
        cause: error,
        hint: 'Nothing was left behind. Make room, or choose another place',
      })
    case 'ENOENT':
    case 'ENOTDIR':
      return new VmlError('not-found', `Cannot write "${path}": its folder is not there`, { cause: error })
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new VmlError('failed', `Cannot write "${path}": not permitted`, { cause: error })
    default:
      return error
  }
}

function memberWriter(file: FileHandle) {
  let offset = 0
  const put = async (bytes: Uint8Array) => {
    await file.writeFile(bytes)
    offset += bytes.length
  }
  return {
    async add(name: string, size: number, parts: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) {
      await put(encodeHeader(plainHeader(name, size), 'gnu'))
      let written = 0
      for await (const part of parts) {
        written += part.length
        await put(part)
      }
      if (written !== size)
        throw new VmlError('conflict', `Cannot share "${name}": it changed while it was read`)
      const rest = size % blockBytes
      if (rest > 0) await put(Buffer.alloc(blockBytes - rest))
    },
    async end() {
      await put(Buffer.alloc(2 * blockBytes))
      return offset
    },
  }
}

function plainHeader(name: string, size: number) {
  const none = '' as RawText
  return {
    name: name as RawText,
    mode: 0o600,
    uid: 0,
    gid: 0,
    size,
    mtime: 0n,
    type: '0',
    linkName: none,
    user: none,
    group: none,
    major: 0,
    minor: 0,
  }
}

async function openToRead(path: string): Promise<FileHandle> {
  try {
    // A pipe that nobody writes to would hold the open for ever; it is no share, as its type will tell.
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    throw new VmlError('not-found', `Cannot open "${path}": no such file`, {
      cause: error,
      hint: 'Nothing was taken in. Name the file that vml share wrote',
    })
  }
}

function noShare(path: string, why: string): VmlError {
  return new VmlError('integrity.format', `Cannot read "${path}" as a share: ${why}`, {
    hint: 'Nothing was taken in. A share is the one file that vml share wrote; ask for it again',
  })
}

function cutOff(path: string): VmlError {
  return new VmlError('integrity.truncated', `Cannot read "${path}" as a share: it is cut off`, {
    hint: 'Nothing was taken in. Copy the file again, and compare its size',
  })
}

async function readMembers(file: FileHandle, path: string): Promise<Map<string, Placed>> {
  const info = await file.stat()
  if (!info.isFile()) throw noShare(path, 'it is not a regular file')
  const members = new Map<string, Placed>()
  const block = Buffer.alloc(blockBytes)
  let offset = 0
  for (;;) {
    if ((await file.read(block, 0, blockBytes, offset)).bytesRead < blockBytes) {
      if (members.size === 0) throw noShare(path, 'it is too short')
      throw cutOff(path)
    }
    if (isZeroBlock(block)) {
      // Two blocks of zeros and nothing more: half an end is a file cut off there.
      if (info.size < offset + 2 * blockBytes) throw cutOff(path)
      if (info.size > offset + 2 * blockBytes) throw noShare(path, 'something follows its end')
      return members
    }
    const { name, size } = decodeMember(block, path)
    if (members.has(name)) throw noShare(path, 'a name stands in it twice')
    if (members.size >= membersMax) throw noShare(path, 'it has too many members')
    members.set(name, { offset: offset + blockBytes, size })
    offset += blockBytes + Math.ceil(size / blockBytes) * blockBytes
    if (offset > info.size) throw cutOff(path)
  }
}

function decodeMember(block: Buffer, path: string): ShareMember {
  let header
  try {
    header = decodeHeader(block)
  } catch (error) {
    throw new VmlError(
      'integrity.format',
      `Cannot read "${path}" as a share: it is another kind of file, or damaged`,
      {
        cause: error,
        hint: 'Nothing was taken in. A share is the one file that vml share wrote; ask for it again',
      },
    )
  }
  const { name, type, size } = header
  if (type !== '0' || !memberPattern.test(name)) throw noShare(path, 'it holds something that no share holds')
  return { name, size }
}

async function readSmall(
  file: FileHandle,
  members: ReadonlyMap<string, Placed>,
  name: string,
  bytesMax: number,
): Promise<Buffer | undefined> {
  const placed = members.get(name)
  if (!placed) return undefined
  if (placed.size > bytesMax)
    throw new VmlError('integrity.format', `Cannot read the share: "${name}" is too large`)
  return await readExactly(file, placed.offset, placed.size)
}

async function readExactly(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length)
  const { bytesRead } = await file.read(buffer, 0, length, offset)
  if (bytesRead < length) throw new VmlError('integrity.truncated', 'Cannot read the share: it is cut off')
  return buffer
}

async function* readMember(
  file: FileHandle,
  placed: Placed | undefined,
  path: string,
  signal: AbortSignal | undefined,
): AsyncIterable<Buffer> {
  if (!placed) throw noShare(path, 'the member is not in it')
  for (let done = 0; done < placed.size; done += copyBytes) {
    signal?.throwIfAborted()
    yield await readExactly(file, placed.offset + done, Math.min(copyBytes, placed.size - done))
  }
}

function memberName(file: FileRef): string {
  return `logbook/${pathInRepository(file)}`
}

function archiveBackend(file: FileHandle, members: ReadonlyMap<string, Placed>, path: string): Backend {
  const readOnly = () => new VmlError('unsupported', `Cannot write to "${path}": a share is read only`)
  return {
    location: path,
    traits: { connections: 4, readOnly: true },
    create: () => Promise.reject(readOnly()),
    put: () => Promise.reject(readOnly()),
    remove: () => Promise.reject(readOnly()),
    async get(ref, range, { signal } = {}) {
      signal?.throwIfAborted()
      const placed = members.get(memberName(ref))
      if (!placed)
        throw new VmlError('not-found', `Cannot read ${ref.kind} ${ref.name} of "${path}": it is not there`)
      const { offset, length } = range ?? { offset: 0, length: placed.size }
      if (offset + length > placed.size) {
        throw new VmlError(
          'integrity.truncated',
          `Cannot read ${ref.kind} ${ref.name} of "${path}": it is shorter`,
        )
      }
      return await readExactly(file, placed.offset + offset, length)
    },
    size: (ref) => Promise.resolve(members.get(memberName(ref))?.size),
    async *list(kind) {
      if (kind === 'config') {
        const config = members.get('logbook/config')
        if (config) yield { name: '', size: config.size }
        return
      }
      const prefix = `logbook/${folderOf[kind]}/`
      for (const [name, { size }] of members) {
        if (name.startsWith(prefix)) yield { name: name.slice(name.lastIndexOf('/') + 1), size }
      }
    },
    async [Symbol.asyncDispose]() {},
  }
}
