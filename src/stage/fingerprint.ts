// What a path is, whole: attributes, extended attributes, and the SHA-256 of a file's content.
import { createHash, hash } from 'node:crypto'
import { closeSync, constants, openSync, readSync, readlinkSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { systemErrorCode } from '../base/failure.ts'
import { rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Fingerprint } from '../model/transaction.ts'
import type { NodeType } from '../model/tree.ts'
import { here, type FileStatus, type Libc } from '../wire/libc.ts'

/** Names of attributes with which an overlay keeps its own notes (overlayfs.rst). In a stage they are its own; on the machine those of a layer of other programs. */
export const overlayPrefix = 'trusted.overlay.'

/** What an overlay notes on its upper files means something to the next overlay only, and the wrong thing. */
export function isOverlayMark(name: string): boolean {
  return name.startsWith(overlayPrefix)
}

/** What is read of a file at once; smaller files are hashed in one call. */
const bufferBytes = 1024 * 1024
/** Some 30 ms. */
const turnBuffers = 16
const buffer = Buffer.allocUnsafeSlow(bufferBytes)

/** S_IFMT of stat(2), without its last twelve bits. */
const types: ReadonlyMap<number, NodeType> = new Map([
  [0o01, 'fifo'],
  [0o02, 'chardev'],
  [0o04, 'dir'],
  [0o06, 'dev'],
  [0o10, 'file'],
  [0o12, 'symlink'],
  [0o14, 'socket'],
])

/** S_IFMT of stat(2). */
export const typeBits: Readonly<Record<NodeType, number>> = {
  fifo: 0o010000,
  chardev: 0o020000,
  dir: 0o040000,
  dev: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
  irregular: 0,
}

export function typeOf(mode: number): NodeType {
  return types.get(mode >>> 12) ?? 'irregular'
}

/** Undefined where nothing is; `place` is not followed if it is a link. */
export function statusAt(libc: Libc, place: RawPath): FileStatus | undefined {
  try {
    return libc.statAt(here, place)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw error
  }
}

/** Everything but the content of a file. */
export function outlineOf(libc: Libc, place: RawPath, status: FileStatus): Fingerprint {
  const type = typeOf(status.mode)
  const xattrs = libc.readXattrs(place)
  return {
    type,
    mode: status.mode & 0o7777,
    uid: status.uid,
    gid: status.gid,
    mtimeNs: status.mtimeNs,
    ctimeNs: status.ctimeNs,
    inode: status.inode,
    deviceId: status.deviceId,
    links: status.links,
    ...(type === 'file' ? { size: status.size } : {}),
    ...(type === 'symlink' ? { linkTarget: rawFromBytes(readlinkSync(rawToBytes(place), 'buffer')) } : {}),
    ...(type === 'chardev' || type === 'dev' ? { device: status.device } : {}),
    ...(xattrs.length === 0 ? {} : { xattrs }),
  }
}

/** Lower-case hex. `read` is told of bytes as they are read. Other work gets its turn while a large file is read. */
export async function sha256Of(place: RawPath, read: (bytes: number) => void): Promise<string> {
  const file = openQuietly(rawToBytes(place))
  try {
    let length = readSync(file, buffer, 0, bufferBytes, 0)
    read(length)
    // What did not fill the buffer was the whole file.
    if (length < bufferBytes) return hash('sha256', buffer.subarray(0, length), 'hex')
    const sum = createHash('sha256')
    for (let at = 0; length > 0;) {
      // The buffer is everybody's: it is used up before anybody else comes.
      sum.update(buffer.subarray(0, length))
      at += length
      if (at % (turnBuffers * bufferBytes) === 0) await setImmediate()
      length = readSync(file, buffer, 0, bufferBytes, at)
      read(length)
    }
    return sum.digest('hex')
  } finally {
    closeSync(file)
  }
}

/** O_NOATIME is for the owner and for root only (open(2)). */
function openQuietly(place: Buffer): number {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW
  try {
    return openSync(place, flags | constants.O_NOATIME)
  } catch (error) {
    if (systemErrorCode(error) !== 'EPERM') throw error
    return openSync(place, flags)
  }
}
