// What a row of a listing is made of, and where in it each field stands.
import type { NodeType } from '../model/tree.ts'

/** Number of a path in its listing. The root has 0. */
export type Row = number
export const rootRow: Row = 0
export const noRow: Row = -1

export const types: readonly NodeType[] = [
  'file',
  'dir',
  'symlink',
  'fifo',
  'socket',
  'dev',
  'chardev',
  'irregular',
]
export const dot = 0x2e
export const typeNumbers = new Map(types.map((type, number) => [type, number]))
export const dirType = types.indexOf('dir')

// A row: times and inode as 64-bit integers, size as a double, then words. What comes first makes up a fingerprint.
export const rowBytes = 64
export const rowLongs = rowBytes / 8
export const rowWords = rowBytes / 4
/** mtime, ctime, inode, size, mode with type, uid, gid, links. */
export const fingerprintBytes = 48
export const inInode = 4
export const inMode = 8
export const inUid = 9
export const inGid = 10
export const inLinks = 11
export const inNameStart = 12
/** Length of the name, and the number of the device above. */
export const inNameLength = 13
export const inParent = 14
export const inNext = 15

// What is known of a row.
export const known = 1
export const removed = 2
export const hasCtime = 4
export const hasInode = 8
export const hasSize = 16
export const hasLinks = 32
