// Rows of an index of a root: made of what is known of single paths, put into an index, left out of it.
import type { RawPath } from '../model/raw-path.ts'
import type { FileStatus } from '../wire/libc.ts'
import { entryOf, folderType, makeColumns, type IndexEntry, type RootIndex } from './root-index.ts'
import { parentPath, rootPath } from '../model/raw-path.ts'

export function rowOfStatus(status: FileStatus): IndexEntry {
  const { mode, uid, gid, links, inode, deviceId, size, mtimeNs, ctimeNs } = status
  return { mode, uid, gid, links, inode, deviceId, size, mtimeNs, ctimeNs }
}

/** The same index, but for the paths of `rows`: with another row, or, where that is undefined, without one. */
export function withRows(index: RootIndex, rows: ReadonlyMap<RawPath, IndexEntry | undefined>): RootIndex {
  const changed = [...rows].toSorted(([one], [other]) => (one < other ? -1 : 1))
  const paths: RawPath[] = []
  const kept: (number | IndexEntry)[] = []
  let next = 0
  const putUpTo = (end: RawPath | undefined): void => {
    for (let change = changed[next]; change !== undefined; change = changed[++next]) {
      const [path, row] = change
      if (end !== undefined && path > end) return
      if (row === undefined) continue
      paths.push(path)
      kept.push(row)
    }
  }
  for (const [row, path] of index.paths.entries()) {
    putUpTo(path)
    if (rows.has(path)) continue
    paths.push(path)
    kept.push(row)
  }
  putUpTo(undefined)
  return { paths, columns: columnsOf(index, kept) }
}

/**
 * Rows that were looked at now, for an index of which the numbers of devices may be older: a folder on the file system of the one above it gets the
 * number that this one has there, or it would look like a mount of its own from then on; a mount keeps another one.
 */
export function onKnownDevices(
  index: RootIndex,
  rows: ReadonlyMap<RawPath, IndexEntry | undefined>,
  deviceNow: (folder: RawPath) => bigint | undefined,
): ReadonlyMap<RawPath, IndexEntry | undefined> {
  const known = new Map(rows)
  for (const [path, row] of [...rows].toSorted(([one], [other]) => (one < other ? -1 : 1))) {
    if (row === undefined || row.mode >>> 12 !== folderType || path === rootPath) continue
    const above = parentPath(path)
    const deviceId = (known.get(above) ?? entryOf(index, above))?.deviceId
    if (deviceId === undefined) continue
    if (deviceNow(above) === row.deviceId) known.set(path, { ...row, deviceId })
    else if (deviceId === row.deviceId)
      known.set(path, { ...row, deviceId: BigInt.asUintN(64, ~row.deviceId) })
  }
  return known
}

/** Nearly all rows are old ones, one after the other: they are copied by the run. */
function columnsOf({ columns: from }: RootIndex, rows: readonly (number | IndexEntry)[]) {
  const columns = makeColumns(rows.length)
  for (let at = 0, count = 1; at < rows.length; at += count, count = 1) {
    const row = rows[at]
    if (typeof row === 'number') {
      while (rows[at + count] === row + count) count++
      for (const name of numberColumns) columns[name].set(from[name].subarray(row, row + count), at)
      for (const name of bigColumns) columns[name].set(from[name].subarray(row, row + count), at)
    } else if (row) {
      for (const name of numberColumns) columns[name][at] = row[name]
      for (const name of bigColumns) columns[name][at] = row[name]
    }
  }
  return columns
}

const numberColumns = ['mode', 'uid', 'gid', 'links', 'size'] as const
const bigColumns = ['inode', 'deviceId', 'mtimeNs', 'ctimeNs'] as const

/** Folders at which another file system begins: where it is mounted no more, its paths are not gone. */
export function mountTopsOf(index: RootIndex): ReadonlySet<RawPath> {
  const { mode, deviceId } = index.columns
  const devices = new Map<RawPath, bigint>()
  const tops = new Set<RawPath>()
  for (const [row, path] of index.paths.entries()) {
    if ((mode[row] ?? 0) >>> 12 !== folderType) continue
    const device = deviceId[row] ?? 0n
    devices.set(path, device)
    const above =
      path === rootPath
        ? device
        : (devices.get(parentPath(path)) ?? entryOf(index, parentPath(path))?.deviceId)
    if (above !== undefined && above !== device) tops.add(path)
  }
  return tops
}

/**
 * Where a file system that one of them saw is not in the other: mounted no more, or only now. Numbers of devices say nothing by themselves: those of
 * btrfs, overlays and mapped disks are others after each start, so that old and new ones stand side by side in an index. The folder itself tells.
 */
export function otherMounts(known: RootIndex, now: RootIndex): readonly RawPath[] {
  const [tops, topsNow] = [mountTopsOf(known), mountTopsOf(now)]
  return [...tops, ...topsNow].filter((top) => {
    if (tops.has(top) && topsNow.has(top)) return false
    const [one, other] = [entryOf(known, top), entryOf(now, top)]
    return one === undefined || one.inode !== other?.inode
  })
}
