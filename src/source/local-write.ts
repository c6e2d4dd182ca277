// Writes files of this host through the C library: each appears under its name only when it is whole, with all its attributes.
import { chmodSync, constants, ftruncateSync, readdirSync } from 'node:fs'
import { systemErrorCode } from '../base/failure.ts'
import type { RawText } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Attributes } from '../model/tree.ts'
import { type Libc, openPathOnly } from '../wire/libc.ts'
import { accessAclName, defaultAclName } from '../wire/posix-acl.ts'
import { writeContent } from './local-content.ts'
import { type LocalFolders, pathThrough } from './local-folders.ts'
import { openLocalReplacer } from './local-replace.ts'
import { judgeLeftover, leftoverName } from './restore-leftover.ts'
import { type Standing, standingNow } from './standing.ts'
import { openTrouble, type Trouble } from './trouble.ts'

export interface LocalItem {
  readonly path: RawPath
  readonly attributes: Attributes
  /** Something stands there that may go. Without it nothing is replaced, also not what came there since anybody looked. */
  readonly replaces: boolean
  /** What stood there when it was looked at, and what the safety entry has: anything else is not replaced (`EEXIST`). */
  readonly seen?: Standing | undefined
}

/**
 * Every call fails with the error of the system (`EPERM`, `EEXIST`, …); then the path is as it was, or, where only attributes
 * were refused, it is there with those that were taken. Folders on the way are opened one by one, so that no link is
 * followed. Synchronous, for a thread of its own.
 */
export interface LocalWriter {
  /** A regular file of which this is all. */
  writeWhole(item: LocalItem, bytes: Uint8Array): void
  /** Once for each file of several pieces, before the first. */
  beginPart(item: LocalItem, part: number): void
  /**
   * A piece of a file that is put together by several threads under the name that `part` gives, in any order. `ENOENT` where
   * somebody has taken it away: what is left of it would be taken for all.
   */
  writePart(
    item: LocalItem,
    piece: { readonly part: number; readonly at: number; readonly bytes: Uint8Array },
  ): void
  /** All its pieces are written: attributes, then its own name. */
  finishPart(item: LocalItem, part: number): void
  /** Nothing happens where there is none. */
  discardPart(item: LocalItem, part: number): void
  /** Closes what pieces were written to. */
  closeParts(): void
  /** A link, a device or a FIFO. */
  makeOther(item: LocalItem): void
  makeHardLink(item: LocalItem, to: RawPath): void
  /** Only the owner may enter it until `finishFolder`. One that stands there is taken as it is. */
  makeFolder(path: RawPath): void
  /** Lets a user who is not root write into a folder of his own, until `finishFolder`. */
  unlockFolder(path: RawPath): void
  finishFolder(item: LocalItem): void
  /** Removes a file, a link or an empty folder if it is still what was seen there; otherwise `EEXIST`. */
  remove(path: RawPath, seen: Standing): void
  /** Removes what a restore that was cut off left in this folder, and of which nothing is lost. */
  sweep(path: RawPath): void
}

export interface WriterOptions {
  readonly libc: Libc
  readonly folders: LocalFolders
  /** Files can be given away: root. */
  readonly owners: boolean
  /** From `newRun`, the same for all threads of one restore. */
  readonly run: string
  /** Tells the threads of one restore apart. */
  readonly thread: number
}

/** Files in hand of one thread. */
const openPartsMax = 32
/** What linkat says where there are no hard links, or no more of them. */
const withoutLinks: ReadonlySet<string> = new Set(['EPERM', 'EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'EMLINK'])

export function openLocalWriter({ libc, folders, owners, run, thread }: WriterOptions): LocalWriter {
  const parts = new Map<number, number>()
  let made = 0
  let anonymous = true
  const partName = (part: number) => leftoverName(run, `p${part}`)
  const replacer = openLocalReplacer(libc, { run, thread })
  const nextName = () => leftoverName(run, `${thread}-${made++}`)

  /** Undefined where the file system cannot do it. */
  const openAnonymous = (folder: number): number | undefined => {
    try {
      return libc.openAnonymous(folder, 0o600)
    } catch (error) {
      if (!['EOPNOTSUPP', 'ENOTSUP', 'EISDIR', 'EINVAL'].includes(systemErrorCode(error) ?? '')) throw error
      anonymous = false
      return undefined
    }
  }
  /** What is whole gets its name; the other one goes, whatever happens. */
  const publish = (folder: number, { temporary, item }: { temporary: RawText; item: LocalItem }) => {
    const { name } = folders.openParent(item.path)
    if (item.replaces && item.seen) {
      replacer.replace({ folder, name }, temporary, item.seen)
      return
    }
    try {
      if (item.replaces) libc.renameAt({ folder, name: temporary }, { folder, name })
      else giveName(folder, { temporary, name })
    } finally {
      // A rename between two names of one file leaves both (rename(2)).
      removeIfThere(folder, temporary)
    }
  }
  /** Unlike a rename, a link never replaces what came there. */
  const giveName = (folder: number, { temporary, name }: { temporary: RawText; name: RawText }) => {
    try {
      libc.linkAt({ folder, name: temporary }, { folder, name })
    } catch (error) {
      // A file system without hard links (FAT, some network ones): the look and the rename are two calls.
      if (!withoutLinks.has(systemErrorCode(error) ?? '') || stands(folder, name)) throw error
      libc.renameAt({ folder, name: temporary }, { folder, name })
    }
  }
  const stands = (folder: number, name: RawText): boolean => {
    try {
      libc.statAt(folder, name)
      return true
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return false
      throw error
    }
  }
  const removeIfThere = (folder: number, name: RawText) => {
    try {
      libc.removeAt(folder, name, 'file')
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error
    }
  }
  /** A folder of that name is no restore's; what cannot be removed is in nobody's way. */
  const removeQuietly = (folder: number, name: RawText) => {
    try {
      libc.removeAt(folder, name, 'file')
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error
    }
  }
  const isNobodys = (folder: number, name: RawText): boolean => {
    try {
      return judgeLeftover(name, () => standingNow(libc.statAt(folder, name))) === 'nobodys'
    } catch {
      return false
    }
  }
  /** Whoever is not root has opened it for himself. */
  const isFolderAsSeen = (seen: Standing, mode: number): boolean =>
    seen.mode === mode || (!owners && (seen.mode | 0o700) === mode)
  /** Order: an owner's change takes the special bits and capabilities away, an access list sets bits of the mode, times come last. */
  const setAttributes = (
    file: number,
    { mode, uid, gid, mtimeNs, xattrs = [] }: Attributes,
    trouble: Trouble,
  ) => {
    trouble.try(() => removeInheritedAcls(file))
    if (owners) trouble.try(() => libc.chownOf(file, { uid, gid }))
    trouble.try(() => libc.chmodOf(file, mode))
    for (const { name, value } of xattrs) trouble.try(() => libc.setXattr(file, name, value))
    trouble.try(() => libc.setTimesOf(file, { mtimeNs }))
  }
  const removeInheritedAcls = (place: number | RawText) => {
    for (const name of libc.listXattrs(place))
      if (name === accessAclName || name === defaultAclName) libc.removeXattr(place, name)
  }
  /** All of a file but its name; attributes that were refused are for the caller to tell. */
  const fill = (file: number, { attributes }: LocalItem, bytes: Uint8Array): Trouble => {
    const size = attributes.size ?? bytes.length
    if (writeContent(file, { at: 0, bytes, size })) ftruncateSync(file, size)
    const trouble = openTrouble()
    setAttributes(file, attributes, trouble)
    return trouble
  }
  const writeNamed = (item: LocalItem, bytes: Uint8Array) => {
    const { folder } = folders.openParent(item.path)
    const temporary = nextName()
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
    const file = libc.openAt(folder, temporary, flags, 0o600)
    let trouble: Trouble | undefined
    try {
      trouble = fill(file, item, bytes)
    } finally {
      libc.close(file)
      if (!trouble) removeIfThere(folder, temporary)
    }
    publish(folder, { temporary, item })
    trouble.end()
  }
  /** A kill leaves nothing of it. False where it cannot be given a name after all, as without /proc. */
  const writeUnnamed = (
    item: LocalItem,
    { file, bytes }: { readonly file: number; readonly bytes: Uint8Array },
  ): boolean => {
    let trouble: Trouble
    try {
      trouble = fill(file, item, bytes)
      libc.linkOpen(file, folders.openParent(item.path))
    } catch (error) {
      if (!isSystems(error, 'linkat') || systemErrorCode(error) === 'EEXIST') throw error
      anonymous = false
      return false
    } finally {
      libc.close(file)
    }
    trouble.end()
    return true
  }
  const openPart = (item: LocalItem, part: number): number => {
    const known = parts.get(part)
    if (known !== undefined) return known
    const { folder } = folders.openParent(item.path)
    const file = libc.openAt(folder, partName(part), constants.O_RDWR | constants.O_NOFOLLOW)
    const [oldest] = parts
    if (parts.size >= openPartsMax && oldest) closePart(oldest[0])
    parts.set(part, file)
    return file
  }
  const closePart = (part: number) => {
    const file = parts.get(part)
    if (file !== undefined) libc.close(file)
    parts.delete(part)
  }
  return {
    writeWhole(item, bytes) {
      const { folder } = folders.openParent(item.path)
      const unnamed = item.replaces || !anonymous ? undefined : openAnonymous(folder)
      if (unnamed === undefined) writeNamed(item, bytes)
      else if (!writeUnnamed(item, { bytes, file: unnamed })) writeNamed(item, bytes)
    },
    beginPart(item, part) {
      const { folder } = folders.openParent(item.path)
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
      libc.close(libc.openAt(folder, partName(part), flags, 0o600))
    },
    writePart(item, { part, at, bytes }) {
      writeContent(openPart(item, part), { at, bytes, size: item.attributes.size ?? 0 })
    },
    finishPart(item, part) {
      const file = openPart(item, part)
      // Zeros at the end were not written.
      ftruncateSync(file, item.attributes.size ?? 0)
      const trouble = openTrouble()
      setAttributes(file, item.attributes, trouble)
      closePart(part)
      publish(folders.openParent(item.path).folder, { temporary: partName(part), item })
      trouble.end()
    },
    discardPart(item, part) {
      closePart(part)
      removeIfThere(folders.openParent(item.path).folder, partName(part))
    },
    closeParts() {
      for (const part of [...parts.keys()]) closePart(part)
    },
    makeOther(item) {
      const { folder } = folders.openParent(item.path)
      const temporary = nextName()
      const { type, uid, gid, mtimeNs, linkTarget, device = 0n, xattrs = [] } = item.attributes
      if (type === 'symlink') libc.makeLinkAt(folder, temporary, linkTarget ?? ('' as RawText))
      else libc.makeNodeAt(folder, temporary, { mode: typeBits(type) | 0o600, device })
      const place = pathThrough(folder, temporary)
      const trouble = openTrouble()
      if (owners) trouble.try(() => libc.chownAt(folder, temporary, { uid, gid }))
      if (type !== 'symlink') {
        trouble.try(() => removeInheritedAcls(place))
        trouble.try(() => changeMode(libc, { folder, name: temporary, mode: item.attributes.mode }))
      }
      for (const { name, value } of xattrs) trouble.try(() => libc.setXattr(place, name, value))
      trouble.try(() => libc.setTimesAt(folder, temporary, { mtimeNs }))
      publish(folder, { temporary, item })
      trouble.end()
    },
    makeHardLink(item, to) {
      const from = folders.openParent(to)
      const { folder, name } = folders.openParent(item.path)
      if (!item.replaces) {
        libc.linkAt(from, { folder, name })
        return
      }
      const temporary = nextName()
      libc.linkAt(from, { folder, name: temporary })
      publish(folder, { temporary, item })
    },
    makeFolder(path) {
      const { folder, name } = folders.openParent(path)
      try {
        libc.makeFolderAt(folder, name, 0o700)
      } catch (error) {
        if (systemErrorCode(error) !== 'EEXIST') throw error
        folders.open(path)
      }
    },
    unlockFolder(path) {
      const folder = folders.open(path)
      const { mode } = libc.statOf(folder)
      if ((mode & 0o700) !== 0o700) chmodSync(`/proc/self/fd/${folder}`, (mode & 0o7777) | 0o700)
    },
    finishFolder({ path, attributes, seen }) {
      const folder = folders.open(path)
      if (seen && !isFolderAsSeen(seen, libc.statOf(folder).mode)) throw changedMeanwhile()
      const here = '.' as RawText
      const place = pathThrough(folder, here)
      const { mode, uid, gid, mtimeNs, xattrs = [] } = attributes
      const wanted = new Set(xattrs.map(({ name }) => name))
      const trouble = openTrouble()
      trouble.try(() => {
        for (const name of libc.listXattrs(place))
          if ((name === accessAclName || name === defaultAclName) && !wanted.has(name))
            libc.removeXattr(place, name)
      })
      if (owners) trouble.try(() => libc.chownAt(folder, here, { uid, gid }))
      for (const { name, value } of xattrs) trouble.try(() => libc.setXattr(place, name, value))
      trouble.try(() => libc.setTimesAt(folder, here, { mtimeNs }))
      // Last: afterwards its owner may not be let in.
      trouble.try(() => chmodSync(`/proc/self/fd/${folder}`, mode))
      trouble.end()
    },
    remove(path, seen) {
      const place = folders.openParent(path)
      try {
        replacer.remove(place, seen)
      } catch (error) {
        if (owners || systemErrorCode(error) !== 'EACCES') throw error
        // A folder that its owner may not write is opened for that moment.
        const { mode } = libc.statOf(place.folder)
        const open = `/proc/self/fd/${place.folder}`
        chmodSync(open, (mode & 0o7777) | 0o700)
        try {
          replacer.remove(place, seen)
        } finally {
          chmodSync(open, mode & 0o7777)
        }
      }
    },
    sweep(path) {
      const folder = folders.open(path)
      for (const name of readdirSync(`/proc/self/fd/${folder}`, { encoding: 'latin1' }))
        if (isNobodys(folder, name as RawText)) removeQuietly(folder, name as RawText)
    },
  }
}

/** A descriptor first, since there is no call that changes the mode of a name and does not follow it. */
function changeMode(
  libc: Libc,
  { folder, name, mode }: { readonly folder: number; readonly name: RawText; readonly mode: number },
): void {
  const file = libc.openAt(folder, name, constants.O_NOFOLLOW | openPathOnly)
  try {
    chmodSync(`/proc/self/fd/${file}`, mode)
  } finally {
    libc.close(file)
  }
}

function typeBits(type: Attributes['type']): number {
  switch (type) {
    case 'fifo':
      return constants.S_IFIFO
    case 'dev':
      return constants.S_IFBLK
    case 'chardev':
      return constants.S_IFCHR
    default:
      throw new TypeError(`No node of type ${type} is made`)
  }
}

function changedMeanwhile(): Error {
  return Object.assign(new Error('EEXIST, chmod'), { code: 'EEXIST', syscall: 'chmod' })
}

function isSystems(error: unknown, call: string): boolean {
  return error instanceof Error && 'syscall' in error && error.syscall === call
}
