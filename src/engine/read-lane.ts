// Reads files of this computer in a lane of the store: opened, cut and stored by one thread, and known to have held still.
import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, readSync } from 'node:fs'
import { messageOf, systemErrorCode } from '../base/failure.ts'
import { rawFromBytes, type RawText } from '../base/raw-text.ts'
import type { BlobId } from '../model/ids.ts'
import type { NodeType, Xattr } from '../model/tree.ts'
import type { FileCutter } from '../store/file-cutter.ts'
import type { Lane } from '../store/lane.ts'
import type { LaneHandler } from '../store/lane-messages.ts'
import { type Libc, openLibc } from '../wire/libc.ts'
import { decodeBatch, type LaneBatch, type LaneFile, type LaneResults, openResults } from './lane-batch.ts'

export interface ReadLaneTask extends LaneBatch {
  /** Where a small file may be made to try the C library out. */
  readonly temporaryFolder: string
}

/** What became of one path. */
export type LaneRead =
  | { readonly kind: 'problem'; readonly problem: 'unreadable' | 'vanished'; readonly message: string }
  | {
      readonly kind: 'read'
      /** Not as the scan saw it, or not while it was read. */
      readonly moved: boolean
      readonly content?: readonly BlobId[]
      /** Bytes that were read. */
      readonly size?: number
      readonly linkTarget?: RawText
      readonly device?: bigint
      readonly xattrs?: readonly Xattr[]
    }

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_NOATIME } = constants
/** One for each thread. */
let libc: Libc | undefined

export const run: LaneHandler<ReadLaneTask, LaneResults<LaneRead>> = (lane, task) => {
  libc ??= openLibc(task.temporaryFolder)
  if (!libc) throw new Error('The C library cannot be called from this thread')
  const results = openResults<LaneRead>(task.pathEnds.length)
  let index = 0
  for (const file of decodeBatch(task)) {
    const found = readFile(lane, libc, file)
    if (isPlain(file, found)) results.addPlain(index, found.content)
    else results.addOther(index, found)
    index++
  }
  return results.end()
}

/** Nothing is to be told of it that the scan did not see, but its content. */
function isPlain(
  { type, size }: LaneFile,
  found: LaneRead,
): found is Extract<LaneRead, { kind: 'read' }> & { readonly content: readonly BlobId[] } {
  if (found.kind !== 'read' || found.moved || found.content === undefined) return false
  return type === 'file' && found.size === size && found.xattrs === undefined
}

function readFile(lane: Lane, calls: Libc, file: LaneFile): LaneRead {
  try {
    return file.type === 'file' ? readRegular(lane, calls, file) : readOther(calls, file)
  } catch (error) {
    lane.cutter.abort()
    const code = systemErrorCode(error)
    // Not an error of the system: what the lane did is not known.
    if (code === undefined || !('syscall' in (error as object))) throw error
    if (code === 'ENOENT' || code === 'ENOTDIR')
      return { kind: 'problem', problem: 'vanished', message: 'There is no such file or folder' }
    // It was a file and is a link: to be looked at again.
    if (code === 'ELOOP') return { kind: 'read', moved: true }
    return { kind: 'problem', problem: 'unreadable', message: describe(code, error) }
  }
}

function describe(code: string, error: unknown): string {
  if (code === 'EACCES') return 'Permission denied'
  return code === 'EIO' ? 'Read error' : (messageOf(error).split(',')[0] ?? code)
}

function readRegular({ cutter }: Lane, calls: Libc, file: LaneFile): LaneRead {
  const handle = openQuietly(file.path)
  try {
    const before = fstatSync(handle, { bigint: true })
    // A FIFO in its place would wait for ever, a device never end.
    if (!before.isFile()) return { kind: 'read', moved: true }
    const moved = !heldStill(file, before)
    const hasHoles = before.blocks * 512n < before.size && before.size > 0n
    if (hasHoles) readAround(cutter, calls, { handle, size: Number(before.size) })
    else cutter.readAll((target) => readSync(handle, target))
    const { content, size } = cutter.finish()
    const xattrs = calls.readXattrs(handle)
    const after = fstatSync(handle, { bigint: true })
    return {
      kind: 'read',
      moved: moved || !heldStill(file, after) || size !== file.size,
      content,
      size,
      ...(xattrs.length === 0 ? {} : { xattrs }),
    }
  } finally {
    closeSync(handle)
  }
}

/** Without a trace of it in the file's access time, where the system allows that (open(2)). */
function openQuietly(path: Buffer): number {
  const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
  try {
    return openSync(path, flags | O_NOATIME)
  } catch (error) {
    if (systemErrorCode(error) !== 'EPERM') throw error
    return openSync(path, flags)
  }
}

/** Holes are not read. A file that shrinks meanwhile ends early, and is seen to have moved. */
function readAround(
  cutter: FileCutter,
  calls: Libc,
  { handle, size }: { readonly handle: number; readonly size: number },
): void {
  for (let at = 0; at < size;) {
    const data = calls.nextData(handle, at) ?? size
    if (data > at) cutter.hole(Math.min(data, size) - at)
    if (data >= size) return
    let place = data
    const end = Math.min(calls.nextHole(handle, data), size)
    cutter.readAll((target) => {
      const count = readSync(handle, target, 0, Math.min(target.length, end - place), place)
      place += count
      return count
    })
    if (place < end) return
    at = end
  }
}

function readOther(calls: Libc, file: LaneFile): LaneRead {
  const { path } = file
  const info = lstatSync(path, { bigint: true })
  const linkTarget =
    file.type === 'symlink' && info.isSymbolicLink()
      ? rawFromBytes(readlinkSync(path, { encoding: 'buffer' }))
      : undefined
  const xattrs = calls.readXattrs(rawFromBytes(path))
  return {
    kind: 'read',
    moved: !isOfType(file.type, info) || (file.type !== 'dir' && !heldStill(file, info, false)),
    ...(linkTarget === undefined ? {} : { linkTarget }),
    ...(file.type === 'dev' || file.type === 'chardev' ? { device: info.rdev } : {}),
    ...(xattrs.length === 0 ? {} : { xattrs }),
  }
}

interface Seen {
  readonly ino: bigint
  readonly size: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

function heldStill(file: LaneFile, seen: Seen, withSize = true): boolean {
  return (
    (!withSize || Number(seen.size) === file.size) &&
    seen.ino === file.inode &&
    seen.mtimeNs === file.mtimeNs &&
    seen.ctimeNs === file.ctimeNs
  )
}

type Info = ReturnType<typeof lstatSync>

function isOfType(type: NodeType, info: NonNullable<Info>): boolean {
  switch (type) {
    case 'dir':
      return info.isDirectory()
    case 'symlink':
      return info.isSymbolicLink()
    case 'fifo':
      return info.isFIFO()
    case 'dev':
      return info.isBlockDevice()
    case 'chardev':
      return info.isCharacterDevice()
    case 'socket':
      return info.isSocket()
    case 'file':
      return info.isFile()
    case 'irregular':
      return true
  }
}
