// Reads the index of a root: a call of the system for each path of the staged mounts, and nothing of what is seen through.
import { constants } from 'node:fs'
import { VmlError, systemErrorCode } from '../base/failure.ts'
import { compareRaw, joinPath, type RawName, type RawPath } from '../model/raw-path.ts'
import type { NodeType } from '../model/tree.ts'
import type { FolderReader, ListedPath } from '../wire/folder-reader.ts'
import { here, type FileStatus, type Libc } from '../wire/libc.ts'
import { statusAt, typeBits } from './fingerprint.ts'
import type { RootView } from './mount-plan.ts'
import { indexPathsMax, makeColumns, type IndexColumns, type RootIndex } from './root-index.ts'
import { onHost } from './stage-folder.ts'

export interface RootScan {
  readonly index: RootIndex
  /** Folders that could not be read to their end, with the system's code: what lies there is not known. */
  readonly unread: readonly { readonly path: RawPath; readonly code: string }[]
}

/** Until the first growth: a small Debian. */
const rowsAtFirst = 32 * 1024

/**
 * Which folders are entered follows from the table of mounts, not from `st_dev`: subvolumes within a mount belong to it. Paths come
 * out in the order of their bytes. Synchronous: 30,000 paths take less than half a second (tx.md 6: promises are ten times slower).
 */
export function scanRoot(
  view: RootView,
  calls: { readonly libc: Libc; readonly reader: FolderReader },
): RootScan {
  const { libc, reader } = calls
  const { closed } = view
  const isOwn = ownLooker(view, libc)
  const rows = openRows()
  const unread: { path: RawPath; code: string }[] = []

  const enter = (folder: RawPath): void => {
    const listed: Found[] = []
    const fail = (path: RawPath, error: unknown): void => {
      const code = systemErrorCode(error)
      if (code === undefined) throw error
      // It went while we looked.
      if (code !== 'ENOENT') unread.push({ path, code })
    }
    try {
      const file = libc.openAt(here, onHost(view, folder), folderFlags)
      try {
        reader.list(file, {
          found: (path) => void listed.push(foundOf(path)),
          failed: (name, code) => {
            if (code !== 'ENOENT') unread.push({ path: joinPath(folder, name as RawName), code })
          },
        })
      } finally {
        libc.close(file)
      }
    } catch (error) {
      fail(folder, error)
    }
    // `a`, then `a-b`, then what lies in `a`, since `-` comes before the slash.
    const steps = listed.flatMap((found): Step[] =>
      found.type === 'dir'
        ? [
            { key: found.name, found, enters: false },
            { key: `${found.name}/`, found, enters: true },
          ]
        : [{ key: found.name, found, enters: false }],
    )
    steps.sort((one, other) => (one.key < other.key ? -1 : 1))
    for (const { found, enters } of steps) {
      const path = joinPath(folder, found.name)
      if (closed.has(path) || (found.type === 'dir' && isOwn(found))) continue
      if (enters) enter(path)
      else rows.add(path, found)
    }
  }
  for (const top of view.tops) {
    rows.add(top, libc.statAt(here, onHost(view, top)))
    enter(top)
  }
  return { index: rows.end(), unread }
}

/**
 * Tells VML's own folders by what they are. The table of mounts of a chroot does not list its root: there it cannot tell at which paths they are seen.
 */
function ownLooker(
  { own, root }: RootView,
  libc: Libc,
): (found: Pick<Found, 'inode' | 'deviceId'>) => boolean {
  const devices = new Map<bigint, Set<bigint>>()
  for (const path of own) {
    const status = statusAt(libc, onHost({ root }, path))
    if (status === undefined) continue
    const known = devices.get(status.inode)
    if (known) known.add(status.deviceId)
    else devices.set(status.inode, new Set([status.deviceId]))
  }
  return ({ inode, deviceId }) => devices.get(inode)?.has(deviceId) === true
}

const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

interface Found extends Pick<
  FileStatus,
  'mode' | 'uid' | 'gid' | 'links' | 'inode' | 'deviceId' | 'size' | 'mtimeNs' | 'ctimeNs'
> {
  readonly name: RawName
  readonly type: NodeType
}

interface Step {
  readonly key: string
  readonly found: Found
  readonly enters: boolean
}

const nsPerSecond = 1_000_000_000n

function foundOf(listed: ListedPath): Found {
  return {
    name: listed.names.toString('latin1', listed.nameStart, listed.nameEnd) as RawName,
    type: listed.type,
    mode: listed.mode | typeBits[listed.type],
    uid: listed.uid,
    gid: listed.gid,
    links: listed.links,
    inode: (BigInt(listed.inodeHigh) << 32n) | BigInt(listed.inodeLow),
    deviceId: listed.deviceId,
    size: listed.size,
    mtimeNs: BigInt(listed.mtimeSeconds) * nsPerSecond + BigInt(listed.mtimeNanoseconds),
    ctimeNs: BigInt(listed.ctimeSeconds) * nsPerSecond + BigInt(listed.ctimeNanoseconds),
  }
}

function openRows(): { add(path: RawPath, row: Omit<Found, 'name' | 'type'>): void; end(): RootIndex } {
  const paths: RawPath[] = []
  let columns = makeColumns(rowsAtFirst)
  return {
    add(path, row) {
      const at = paths.push(path) - 1
      if (at >= indexPathsMax)
        throw new VmlError(
          'unsupported',
          `Cannot take stock of the system: it has more than ${indexPathsMax} files and folders`,
        )
      if (at >= columns.mode.length) columns = grown(columns, columns.mode.length * 2)
      columns.mode[at] = row.mode
      columns.uid[at] = row.uid
      columns.gid[at] = row.gid
      columns.links[at] = row.links
      columns.inode[at] = row.inode
      columns.deviceId[at] = row.deviceId
      columns.size[at] = row.size
      columns.mtimeNs[at] = row.mtimeNs
      columns.ctimeNs[at] = row.ctimeNs
    },
    end: () => inOrder({ paths, columns: grown(columns, paths.length) }),
  }
}

/** Each top comes in order; only where there are several they have to be put together. */
function inOrder({ paths, columns }: RootIndex): RootIndex {
  if (paths.every((path, row) => row === 0 || (paths[row - 1] ?? '') < path)) return { paths, columns }
  const order = Array.from(paths.keys()).toSorted((one, other) =>
    compareRaw(paths[one] ?? '', paths[other] ?? ''),
  )
  const sorted = makeColumns(paths.length)
  for (const [at, row] of order.entries()) {
    for (const name of ['mode', 'uid', 'gid', 'links', 'size'] as const)
      sorted[name][at] = columns[name][row] ?? 0
    for (const name of ['inode', 'deviceId', 'mtimeNs', 'ctimeNs'] as const)
      sorted[name][at] = columns[name][row] ?? 0n
  }
  return { paths: order.flatMap((row) => paths[row] ?? []), columns: sorted }
}

/** As many rows of them, or with room for as many. */
function grown(columns: IndexColumns, count: number): IndexColumns {
  const next = makeColumns(count)
  next.mode.set(columns.mode.subarray(0, count))
  next.uid.set(columns.uid.subarray(0, count))
  next.gid.set(columns.gid.subarray(0, count))
  next.links.set(columns.links.subarray(0, count))
  next.inode.set(columns.inode.subarray(0, count))
  next.deviceId.set(columns.deviceId.subarray(0, count))
  next.size.set(columns.size.subarray(0, count))
  next.mtimeNs.set(columns.mtimeNs.subarray(0, count))
  next.ctimeNs.set(columns.ctimeNs.subarray(0, count))
  return next
}
