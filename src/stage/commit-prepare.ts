// Makes ready what a commit moves: copies from other devices, further names, empty folders; and takes the marks of the overlay off.
import { systemErrorCode } from '../base/failure.ts'
import { asRaw, type RawText } from '../base/raw-text.ts'
import { type CommitDisk, isFolder, isLink, modeBits } from './commit-disk.ts'
import type { Preparation } from './commit-plan.ts'
import { isOverlayMark } from './fingerprint.ts'
import { above, regionOf } from './keep-folders.ts'

/** Copies of one call share what their sources share: two names of one file stay that. */
export function makeReady(
  disk: CommitDisk,
  preparations: readonly Preparation[],
  { isUnmarked = false }: { readonly isUnmarked?: boolean | undefined } = {},
): void {
  const copied = new Map<string, RawText>()
  for (const { kind, from, to, original } of preparations) {
    if (original !== undefined && tryLink(disk, { original, copy: from, to })) continue
    if (kind === 'link') disk.link(from, to)
    else copyThing(disk, { from, to, inside: kind === 'copy', isUnmarked }, copied)
    if (kind === 'link' && !isUnmarked) takeMarksOff(disk, to)
  }
}

/** False where it is no more what it is said to be a copy of, or can have no further name: not each file system, nor each file, can. */
function tryLink(
  disk: CommitDisk,
  { original, copy, to }: { readonly original: RawText; readonly copy: RawText; readonly to: RawText },
): boolean {
  try {
    disk.link(original, to)
  } catch (error) {
    if (
      !['EPERM', 'EMLINK', 'EOPNOTSUPP', 'ENOTSUP', 'ENOENT', 'EXDEV'].includes(systemErrorCode(error) ?? '')
    )
      throw error
    return false
  }
  const [linked, wanted] = [disk.look(to), disk.look(copy)]
  if (linked && wanted && linked.size === wanted.size && linked.mtimeNs === wanted.mtimeNs) return true
  disk.remove(to, 'file')
  return false
}

/** Of the thing and all that is in it. */
export function takeMarksOff(disk: CommitDisk, path: RawText): void {
  for (const name of disk.listXattrs(path)) if (isOverlayMark(name)) disk.removeXattr(path, name)
  const status = disk.look(path)
  if (status === undefined || !isFolder(status)) return
  for (const name of disk.list(path)) takeMarksOff(disk, asRaw(`${path}/${name}`))
}

interface Copy {
  readonly from: RawText
  readonly to: RawText
  /** With all that is in a folder. */
  readonly inside: boolean
  readonly isUnmarked: boolean
}

/** As `cp -a`: owner, rights, times, attributes (so ACLs and capabilities), holes, hard links. */
function copyThing(disk: CommitDisk, copy: Copy, copied: Map<string, RawText>): void {
  const { from, to, inside, isUnmarked } = copy
  const status = disk.look(from)
  if (status === undefined) throw Object.assign(new Error('ENOENT, copy'), { code: 'ENOENT' })
  const key = `${status.deviceId}:${status.inode}:${regionOfFolder(disk, to)}`
  const before = copied.get(key)
  if (before !== undefined && !isFolder(status)) return disk.link(before, to)
  copied.set(key, to)
  const type = status.mode & ~modeBits
  if (isFolder(status)) {
    disk.makeFolder(to, 0o700)
    if (inside)
      for (const name of disk.list(from))
        copyThing(disk, { ...copy, from: asRaw(`${from}/${name}`), to: asRaw(`${to}/${name}`) }, copied)
  } else if (isLink(status)) disk.copyLink(from, to)
  else if (type === 0o100000) disk.copyFile(from, to)
  else disk.makeNode(to, { mode: status.mode, device: status.device })
  // A new owner takes rights and capabilities away: first the owner, then they.
  disk.setOwner(to, status)
  for (const xattr of disk.readXattrs(from))
    if (isUnmarked || !isOverlayMark(xattr.name)) disk.setXattr(to, xattr)
  if (isFolder(status) || type === 0o100000) disk.setMode(to, status.mode & modeBits)
  disk.setMtime(to, status.mtimeNs)
}

function regionOfFolder(disk: CommitDisk, path: RawText): string {
  const status = disk.look(above(path))
  return status ? regionOf(status) : ''
}
