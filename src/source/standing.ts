// What stood at a path when it was looked at, and whether it still does: nothing is replaced that was changed since.
import { constants } from 'node:fs'
import type { Attributes, NodeType } from '../model/tree.ts'
import type { FileStatus } from '../wire/libc.ts'

export interface Standing {
  /** With the bits of the type; of a link only those. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Of a regular file, otherwise 0. */
  readonly size: number
  /** Of a folder 0, as whatever is done in it changes it. */
  readonly mtimeNs: bigint
  readonly inode?: bigint | undefined
  /** Not of a folder, and not of a file of several names: to replace one of them changes the time of all. */
  readonly ctimeNs?: bigint | undefined
}

const typeBits: Readonly<Record<NodeType, number>> = {
  file: constants.S_IFREG,
  dir: constants.S_IFDIR,
  symlink: constants.S_IFLNK,
  fifo: constants.S_IFIFO,
  dev: constants.S_IFBLK,
  chardev: constants.S_IFCHR,
  socket: constants.S_IFSOCK,
  irregular: 0,
}

const nsPerSecond = 1_000_000_000n

export function standingOf(attributes: Attributes): Standing {
  const { type, mode, links = 2 } = attributes
  return standing(typeBits[type] | (mode & 0o7777), { ...attributes, links })
}

export function standingNow(status: FileStatus): Standing {
  return standing(status.mode, status)
}

function standing(
  mode: number,
  from: Pick<Attributes, 'uid' | 'gid' | 'size' | 'mtimeNs' | 'inode' | 'ctimeNs' | 'links'>,
): Standing {
  const { uid, gid, size = 0, mtimeNs, inode, ctimeNs, links = 1 } = from
  const type = mode & constants.S_IFMT
  const isFolder = type === constants.S_IFDIR
  return {
    mode: type === constants.S_IFLNK ? type : mode,
    uid,
    gid,
    size: type === constants.S_IFREG ? size : 0,
    mtimeNs: isFolder ? 0n : mtimeNs,
    inode,
    ctimeNs: isFolder || links > 1 ? undefined : ctimeNs,
  }
}

/**
 * What was told of it before is told of it now. After a rename neither the time of its last change is the same nor, on a file
 * system in layers, the inode: then it is `afterRename`, and a time of content that was set back by hand is not seen.
 */
export function isAsSeen(seen: Standing, now: Standing, when: 'untouched' | 'afterRename'): boolean {
  const lasts =
    seen.mode === now.mode &&
    seen.uid === now.uid &&
    seen.gid === now.gid &&
    seen.size === now.size &&
    seen.mtimeNs === now.mtimeNs
  if (!lasts || when === 'afterRename') return lasts
  // A name more than there was changes the time, too, and says so by having none here.
  if (seen.ctimeNs !== undefined && seen.ctimeNs !== now.ctimeNs) return false
  // Some file systems number what they have let go of anew; a time to the nanosecond is no other file's.
  const isTimed = seen.ctimeNs !== undefined && seen.ctimeNs % nsPerSecond !== 0n
  return isTimed || seen.inode === undefined || now.inode === undefined || seen.inode === now.inode
}
