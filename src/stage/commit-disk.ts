// The calls by which a commit looks at a disk and changes it: one value, so that a test can cut between any two of them.
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  readlinkSync,
  readdirSync,
  writeSync,
} from 'node:fs'
import { systemErrorCode } from '../base/failure.ts'
import { asRaw, rawFromBytes, type RawText, rawToBytes } from '../base/raw-text.ts'
import type { Xattr } from '../model/tree.ts'
import { type FileStatus, here, type Libc, type NameIn, openPathOnly } from '../wire/libc.ts'
import { inHeldFolder } from './held-folder.ts'

/** Paths are absolute; the last part is never followed if it is a link, and what changes something follows none on the way to it (`held-folder.ts`). */
export interface CommitDisk {
  /** Undefined where nothing is, also where a folder on the way is none. */
  look(path: RawText): FileStatus | undefined
  /** Names in no order. */
  list(folder: RawText): RawText[]
  readXattrs(path: RawText): Xattr[]
  listXattrs(path: RawText): RawText[]
  link(from: RawText, to: RawText): void
  /** Replaces what stands at `to`. */
  rename(from: RawText, to: RawText): void
  /** `EEXIST` where something stands at `to`. */
  renameNew(from: RawText, to: RawText): void
  exchange(one: RawText, other: RawText): void
  remove(path: RawText, what: 'file' | 'folder'): void
  makeFolder(path: RawText, mode: number): void
  makeNode(path: RawText, node: { mode: number; device: bigint }): void
  copyLink(from: RawText, to: RawText): void
  /** A file that must not be there yet. Not durable before a sync. */
  writeFile(path: RawText, mode: number, bytes: Uint8Array): void
  /** The content alone, holes stay holes; shared with the source where the file system can. `to` must not be there yet. */
  copyFile(from: RawText, to: RawText): void
  /** Never of a link. */
  setMode(path: RawText, mode: number): void
  setOwner(path: RawText, owner: { uid: number; gid: number }): void
  setMtime(path: RawText, mtimeNs: bigint): void
  setXattr(path: RawText, xattr: Xattr): void
  removeXattr(path: RawText, name: RawText): void
  /** What stands in the folder is durable, and what a file there holds that was written before. */
  syncFolder(path: RawText): void
  /** Everything on the file system of this folder is durable. */
  syncDisk(folder: RawText): void
}

/** What a plan asks of a disk: that of this host, or a list of another machine's. */
export type LookedDisk = Pick<CommitDisk, 'look' | 'list' | 'readXattrs'>

/** What renameat2(2) says where the file system, or the kernel, knows no such flags. */
const withoutFlags: ReadonlySet<string> = new Set(['EINVAL', 'ENOSYS', 'EOPNOTSUPP', 'ENOTSUP'])
const nothingThere: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR'])

export function openCommitDisk(libc: Libc): CommitDisk {
  const held = <Result>(path: RawText, act: (folder: number, name: RawText) => Result): Result =>
    inHeldFolder(libc, path, act)
  const both = (from: RawText, to: RawText, act: (from: NameIn, to: NameIn) => void): void =>
    held(from, (folder, name) =>
      held(to, (other, otherName) => act({ folder, name }, { folder: other, name: otherName })),
    )
  const withFolder = (path: RawText, act: (folder: number) => void) => {
    const folder = openSync(rawToBytes(path), constants.O_RDONLY | constants.O_DIRECTORY)
    try {
      act(folder)
    } finally {
      closeSync(folder)
    }
  }
  const withNew = (path: RawText, mode: number, act: (file: number) => void) => {
    const file = openSync(rawToBytes(path), 'wx', mode)
    try {
      act(file)
    } finally {
      closeSync(file)
    }
  }
  const disk: CommitDisk = {
    look(path) {
      try {
        return libc.statAt(here, path)
      } catch (error) {
        if (nothingThere.has(systemErrorCode(error) ?? '')) return undefined
        throw error
      }
    },
    list: (folder) =>
      readdirSync(rawToBytes(folder), { encoding: 'buffer' }).map((name) => rawFromBytes(name)),
    readXattrs: (path) => libc.readXattrs(path),
    listXattrs: (path) => libc.listXattrs(path),
    link: (from, to) => both(from, to, libc.linkAt),
    rename: (from, to) => both(from, to, libc.renameAt),
    renameNew(from, to) {
      try {
        both(from, to, libc.renameNewAt)
      } catch (error) {
        if (!withoutFlags.has(systemErrorCode(error) ?? '')) throw error
        if (disk.look(to) !== undefined) throw Object.assign(new Error('EEXIST, rename'), { code: 'EEXIST' })
        both(from, to, libc.renameAt)
      }
    },
    exchange: (one, other) => both(one, other, libc.exchangeAt),
    remove: (path, what) => held(path, (folder, name) => libc.removeAt(folder, name, what)),
    makeFolder: (path, mode) => held(path, (folder, name) => libc.makeFolderAt(folder, name, mode)),
    makeNode(path, node) {
      libc.makeNodeAt(here, path, node)
      // The mask of this process took bits away.
      chmodSync(rawToBytes(path), node.mode & modeBits)
    },
    copyLink: (from, to) =>
      libc.makeLinkAt(here, to, rawFromBytes(readlinkSync(rawToBytes(from), { encoding: 'buffer' }))),
    writeFile: (path, mode, bytes) => withNew(path, mode, (file) => writeAll(file, bytes)),
    copyFile(from, to) {
      try {
        copyFileSync(
          rawToBytes(from),
          rawToBytes(to),
          constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE,
        )
      } catch (error) {
        if (systemErrorCode(error) === 'EEXIST') throw error
        withNew(to, 0o600, (file) => copyContent(libc, from, file))
      }
    },
    setMode(path, mode) {
      const file = held(path, (folder, name) => libc.openAt(folder, name, thingFlags))
      try {
        // fchmod(2) takes no such handle; this name of it leads to the thing itself, whatever became of its path.
        chmodSync(`/proc/self/fd/${file}`, mode)
      } finally {
        libc.close(file)
      }
    },
    setOwner: (path, owner) => held(path, (folder, name) => libc.chownAt(folder, name, owner)),
    setMtime: (path, mtimeNs) => held(path, (folder, name) => libc.setTimesAt(folder, name, { mtimeNs })),
    setXattr: (path, { name, value }) =>
      held(path, (folder, child) => libc.setXattr(openPlace(folder, child), name, value)),
    removeXattr: (path, name) =>
      held(path, (folder, child) => libc.removeXattr(openPlace(folder, child), name)),
    syncFolder: (path) => withFolder(path, fsyncSync),
    syncDisk: (path) => withFolder(path, (folder) => libc.syncDiskOf(folder)),
  }
  return disk
}

function copyContent(libc: Libc, from: RawText, to: number): void {
  const source = openSync(rawToBytes(from), constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    const { size } = libc.statOf(source)
    const piece = Buffer.allocUnsafe(Math.max(1, Math.min(size, copyBytesMax)))
    for (let at = libc.nextData(source, 0); at !== undefined && at < size; at = libc.nextData(source, at)) {
      const end = Math.min(libc.nextHole(source, at), size)
      while (at < end) {
        const length = readSync(source, piece, 0, Math.min(piece.length, end - at), at)
        if (length === 0) break
        for (let done = 0; done < length;) done += writeSync(to, piece, done, length - done, at + done)
        at += length
      }
      if (at < end || at >= size) break
    }
    ftruncateSync(to, size)
  } finally {
    closeSync(source)
  }
}

/** A write may take fewer bytes than it was given (write(2)). */
function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at)
}

/** Attributes have no calls that take a folder (before Linux 6.13). */
function openPlace(folder: number, name: RawText): RawText {
  return asRaw(`/proc/self/fd/${folder}/${name}`)
}

/** A device or a fifo is not opened by it: that would do something. */
const thingFlags = openPathOnly | constants.O_NOFOLLOW
const copyBytesMax = 1024 * 1024
const typeBits = 0o170000
const folderBits = 0o040000
export const modeBits = 0o7777

export function isFolder({ mode }: FileStatus): boolean {
  return (mode & typeBits) === folderBits
}

export function isLink({ mode }: FileStatus): boolean {
  return (mode & typeBits) === 0o120000
}

export function isSameThing(one: FileStatus, other: FileStatus): boolean {
  return one.inode === other.inode && one.deviceId === other.deviceId
}
