// The index of a root: what stat(2) says of each path, compact, and the comparison of two of them.
import { compareRaw, type RawPath } from '../model/raw-path.ts'

/** What is kept of one path. Two that are equal in all of it are the same, unchanged thing: a change of content, rights or attributes moves the ctime. */
export interface IndexEntry {
  /** Type and permission bits, as `st_mode`. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly links: number
  readonly inode: bigint
  /** Of the file system, in the form of `st_dev`. */
  readonly deviceId: bigint
  readonly size: number
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

/** Columns, one row for each path. */
export interface IndexColumns {
  readonly mode: Uint32Array
  readonly uid: Uint32Array
  readonly gid: Uint32Array
  readonly links: Uint32Array
  readonly inode: BigUint64Array
  readonly deviceId: BigUint64Array
  readonly size: Float64Array
  readonly mtimeNs: BigInt64Array
  readonly ctimeNs: BigInt64Array
}

/** Paths of the machine in the order of their bytes: a folder before what lies in it. */
export interface RootIndex {
  readonly paths: readonly RawPath[]
  readonly columns: IndexColumns
}

/** More than this is no root on which packages are installed, but a store of data: 150 bytes of memory each. */
export const indexPathsMax = 10_000_000

export interface IndexDifference {
  readonly path: RawPath
  /** Undefined where there was nothing. */
  readonly before: IndexEntry | undefined
  readonly after: IndexEntry | undefined
}

export function makeColumns(count: number): IndexColumns {
  return {
    mode: new Uint32Array(count),
    uid: new Uint32Array(count),
    gid: new Uint32Array(count),
    links: new Uint32Array(count),
    inode: new BigUint64Array(count),
    deviceId: new BigUint64Array(count),
    size: new Float64Array(count),
    mtimeNs: new BigInt64Array(count),
    ctimeNs: new BigInt64Array(count),
  }
}

/** Undefined when the path was not there. */
export function entryOf(index: RootIndex, path: RawPath): IndexEntry | undefined {
  const row = rowOf(index.paths, path)
  return index.paths[row] === path ? entryAt(index, row) : undefined
}

/** Paths at or below a folder, as rows from the first to before the second one. Between them may stand its siblings (`a`, `a-b`, `a/c`). */
export function rowsBelow(index: RootIndex, folder: RawPath): readonly [number, number] {
  if (folder === '/') return [0, index.paths.length]
  return [rowOf(index.paths, `${folder}/` as RawPath), rowOf(index.paths, `${folder}0` as RawPath)]
}

/** All that was created, is gone, or differs in anything. That a folder differs in its times alone is told, too: its attributes may be others. */
export function* compareIndex(before: RootIndex, after: RootIndex): Iterable<IndexDifference> {
  let [old, now] = [0, 0]
  for (;;) {
    const [oldPath, nowPath] = [before.paths[old], after.paths[now]]
    if (oldPath === undefined && nowPath === undefined) return
    const order = nowPath === undefined ? -1 : oldPath === undefined ? 1 : compareRaw(oldPath, nowPath)
    const path = order <= 0 ? oldPath : nowPath
    if (path === undefined) return
    const differs = order !== 0 || !sameRow(before.columns, old, after.columns, now)
    if (differs)
      yield {
        path,
        before: order <= 0 ? entryAt(before, old) : undefined,
        after: order >= 0 ? entryAt(after, now) : undefined,
      }
    if (order <= 0) old++
    if (order >= 0) now++
  }
}

/**
 * Paths of what has several names, by `inodeKey`. The rows say how many names it has; all that are not here lie in no folder of the index.
 */
export function linkedPaths(index: RootIndex): Map<string, RawPath[]> {
  const { mode, links } = index.columns
  const groups = new Map<string, RawPath[]>()
  for (const [row, path] of index.paths.entries()) {
    if ((links[row] ?? 0) < 2 || (mode[row] ?? 0) >>> 12 === folderType) continue
    const entry = entryAt(index, row)
    const key = inodeKey(entry)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [path])
    else group.push(path)
  }
  return groups
}

export function inodeKey({ deviceId, inode }: { readonly deviceId: bigint; readonly inode: bigint }): string {
  return `${deviceId}:${inode}`
}

/** S_IFDIR of stat(2), without its last twelve bits. */
export const folderType = 0o04

/** Row of the path, or where it would stand. */
function rowOf(paths: readonly RawPath[], path: RawPath): number {
  let [low, high] = [0, paths.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((paths[middle] ?? '') < path) low = middle + 1
    else high = middle
  }
  return low
}

/** The row must be one of it. */
export function entryAt({ columns }: RootIndex, row: number): IndexEntry {
  return {
    mode: columns.mode[row] ?? 0,
    uid: columns.uid[row] ?? 0,
    gid: columns.gid[row] ?? 0,
    links: columns.links[row] ?? 0,
    inode: columns.inode[row] ?? 0n,
    deviceId: columns.deviceId[row] ?? 0n,
    size: columns.size[row] ?? 0,
    mtimeNs: columns.mtimeNs[row] ?? 0n,
    ctimeNs: columns.ctimeNs[row] ?? 0n,
  }
}

/** The number of the file system may be another one after a boot: it is no difference. */
function sameRow(one: IndexColumns, row: number, other: IndexColumns, at: number): boolean {
  return (
    one.ctimeNs[row] === other.ctimeNs[at] &&
    one.inode[row] === other.inode[at] &&
    one.mtimeNs[row] === other.mtimeNs[at] &&
    one.size[row] === other.size[at] &&
    one.mode[row] === other.mode[at] &&
    one.uid[row] === other.uid[at] &&
    one.gid[row] === other.gid[at] &&
    one.links[row] === other.links[at]
  )
}
