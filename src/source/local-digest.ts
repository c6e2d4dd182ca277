// Reads back what stands on this host: attributes of a path, and whether a file's content is that of given chunks.
import { hash } from 'node:crypto'
import { constants, readlinkSync, readSync } from 'node:fs'
import { rawFromBytes, type RawText } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Attributes, NodeType } from '../model/tree.ts'
import type { FileStatus, Libc } from '../wire/libc.ts'
import { type LocalFolders, pathThrough } from './local-folders.ts'

export interface Chunk {
  /** SHA-256 of its bytes, lower-case hex. */
  readonly id: string
  readonly length: number
}

export interface LocalReader {
  /** Fails with the error of the system. Extended attributes are read where they are asked for. */
  look(path: RawPath, options: { readonly xattrs: boolean }): Attributes
  /**
   * The attributes of a regular file, and whether its bytes from `from` on are those of the chunks. What is not a
   * regular file is not read.
   */
  compare(
    path: RawPath,
    content: { readonly from: number; readonly chunks: readonly Chunk[] },
  ): { readonly attributes: Attributes; readonly isEqual: boolean }
}

/** Chunks have 8 MiB at most; a larger one is read into memory of its own. */
const scratchBytes = 8 * 1024 * 1024

export function openLocalReader(libc: Libc, folders: LocalFolders): LocalReader {
  const scratch = Buffer.allocUnsafeSlow(scratchBytes)
  const zeroIds = new Map<number, string>()
  const zeroId = (length: number): string => {
    const known = zeroIds.get(length)
    if (known !== undefined) return known
    const id = hash('sha256', Buffer.alloc(length))
    // Chunks of zeros have the largest size that a chunker makes, or fill what is left of a file.
    if (zeroIds.size < 16) zeroIds.set(length, id)
    return id
  }
  /** A hole is zeros without being read. */
  const isHole = (file: number, at: number, length: number): boolean => {
    try {
      const data = libc.nextData(file, at)
      return data === undefined || data >= at + length
    } catch {
      return false
    }
  }
  const isChunk = (file: number, at: number, { id, length }: Chunk): boolean => {
    if (length >= 64 * 1024 && isHole(file, at, length)) return id === zeroId(length)
    const bytes = length <= scratchBytes ? scratch.subarray(0, length) : Buffer.allocUnsafeSlow(length)
    for (let done = 0; done < length;) {
      const read = readSync(file, bytes, done, length - done, at + done)
      if (read === 0) return false
      done += read
    }
    return hash('sha256', bytes) === id
  }
  return {
    look(path, { xattrs }) {
      const { folder, name } = folders.openParent(path)
      const attributes = attributesOf(libc.statAt(folder, name))
      const place = pathThrough(folder, name)
      return {
        ...attributes,
        ...(attributes.type === 'symlink' ? { linkTarget: readLink(place) } : {}),
        ...(xattrs ? { xattrs: libc.readXattrs(place) } : {}),
      }
    },
    compare(path, { from, chunks }) {
      const { folder, name } = folders.openParent(path)
      // Not blocking: should a FIFO stand there, it is closed again without a byte.
      const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY
      const file = libc.openAt(folder, name, flags)
      try {
        const attributes = attributesOf(libc.statOf(file))
        if (attributes.type !== 'file') return { attributes, isEqual: false }
        let at = from
        for (const chunk of chunks) {
          if (at + chunk.length > (attributes.size ?? 0) || !isChunk(file, at, chunk))
            return { attributes, isEqual: false }
          at += chunk.length
        }
        return { attributes, isEqual: true }
      } finally {
        libc.close(file)
      }
    },
  }
}

function readLink(place: RawPath): RawText {
  return rawFromBytes(readlinkSync(Buffer.from(place, 'latin1'), { encoding: 'buffer' }))
}

function attributesOf(status: FileStatus): Attributes {
  const type = typeOf(status.mode)
  return {
    type,
    mode: status.mode & 0o7777,
    uid: status.uid,
    gid: status.gid,
    mtimeNs: status.mtimeNs,
    ...(type === 'file' ? { size: status.size } : {}),
    ...(type === 'dev' || type === 'chardev' ? { device: status.device } : {}),
  }
}

function typeOf(mode: number): NodeType {
  switch (mode & constants.S_IFMT) {
    case constants.S_IFREG:
      return 'file'
    case constants.S_IFDIR:
      return 'dir'
    case constants.S_IFLNK:
      return 'symlink'
    case constants.S_IFIFO:
      return 'fifo'
    case constants.S_IFSOCK:
      return 'socket'
    case constants.S_IFBLK:
      return 'dev'
    case constants.S_IFCHR:
      return 'chardev'
    default:
      return 'irregular'
  }
}
