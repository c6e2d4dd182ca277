// Keeps what lies on a machine before it is changed without a stage: a second name of each file, or a copy, beside it on the same mount.
import {
  constants,
  copyFileSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmdirSync,
  statfsSync,
  unlinkSync,
} from 'node:fs'
import { systemErrorCode } from '../base/failure.ts'
import { asRaw, rawFromBytes, rawToBytes, type RawText } from '../base/raw-text.ts'
import { joinPath, nearestOf, type RawName, type RawPath } from '../model/raw-path.ts'
import { typeOf } from './fingerprint.ts'
import type { IndexEntry } from './root-index.ts'
import { overlaysOf, type MountPlan, type StagedMount } from './mount-plan.ts'
import { onHost } from './stage-folder.ts'

/** What was kept of one thing, by its number on its mount: all its names share it. */
export type Kept = 'link' | 'copy' | 'nothing'

export interface KeptPlace {
  readonly place: RawPath
  /** A name of the thing itself: what is written in place is written here, too. */
  readonly how: 'link' | 'copy'
}

export interface LiveFarm {
  /** `copied`: by a copy, since programs write it in place. Whatever a file system refuses to link is copied, too. */
  keep(path: RawPath, entry: IndexEntry, copied: boolean): Kept
  /** Forgets what was kept of it. */
  drop(path: RawPath, entry: IndexEntry): void
  /** Where it is, if it was kept. */
  placeOf(path: RawPath, entry: IndexEntry): KeptPlace | undefined
  /** Removes all but these places. */
  prune(needed: ReadonlySet<RawPath>): void
}

/** Of a file that is linked where that can be done; a larger one that cannot is not kept. */
const copyBytesMax = 1024 * 1024 * 1024
/** Copies of a whole system, on a file system without second names, are no reason to fill it: the change itself needs room, too. */
const copiesShareMax = 0.5
/** Few enough files in each folder for every file system. */
const foldersCount = 256n

/** Its folders are those of the plan's layers. */
export function openLiveFarm(plan: MountPlan): LiveFarm {
  const mounts = new Map(overlaysOf(plan).map((each) => [each.path, each]))
  const made = new Set<string>()
  const rooms = new Map<StagedMount, number>()
  const mountOf = (path: RawPath): StagedMount => {
    const mount = nearestOf(path, mounts)
    if (mount === undefined) throw new TypeError('Cannot keep a path of no mount of the plan')
    return mount
  }
  const folderOf = (mount: StagedMount, { inode }: IndexEntry): RawPath =>
    below(onHost(plan, mount.layer), String(inode % foldersCount))
  const nameOf = (mount: StagedMount, entry: IndexEntry): RawPath =>
    below(folderOf(mount, entry), `${entry.deviceId}-${entry.inode}`)
  const copyNameOf = (mount: StagedMount, entry: IndexEntry): RawPath =>
    below(folderOf(mount, entry), `${entry.deviceId}-${entry.inode}.copy`)
  const roomOf = (mount: StagedMount): number => {
    const known = rooms.get(mount)
    if (known !== undefined) return known
    const { bavail, bsize } = statfsSync(rawToBytes(onHost(plan, mount.layer)))
    const room = bavail * bsize * copiesShareMax
    rooms.set(mount, room)
    return room
  }

  const copy = (mount: StagedMount, from: Buffer, entry: IndexEntry): Kept => {
    const { size, mode } = entry
    const room = roomOf(mount)
    // Of links and devices everything is noted.
    if (typeOf(mode) !== 'file' || size > copyBytesMax || size > room) return 'nothing'
    rooms.set(mount, room - size)
    copyFileSync(
      from,
      rawToBytes(copyNameOf(mount, entry)),
      constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE,
    )
    return 'copy'
  }

  return {
    keep(path, entry, copied) {
      const mount = mountOf(path)
      const folder = folderOf(mount, entry)
      if (!made.has(folder)) {
        mkdirSync(rawToBytes(folder), { recursive: true, mode: 0o700 })
        made.add(folder)
      }
      const from = rawToBytes(onHost(plan, path))
      const to = nameOf(mount, entry)
      try {
        const isFile = typeOf(entry.mode) === 'file'
        // A link of a lower file of an overlay is a copy in its upper folder, which stays there for ever (overlayfs.rst, "Non-directories").
        if ((copied && isFile) || mount.type === 'overlay') return copy(mount, from, entry)
        try {
          linkSync(from, rawToBytes(to))
          return 'link'
        } catch (error) {
          if (!refusals.includes(systemErrorCode(error) ?? '')) throw error
          return copy(mount, from, entry)
        }
      } catch (error) {
        const code = systemErrorCode(error)
        if (code === 'EEXIST') return isThere(to) ? 'link' : 'copy'
        // It went while we looked.
        if (['ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP'].includes(code ?? '')) return 'nothing'
        throw error
      }
    },
    drop(path, entry) {
      const mount = mountOf(path)
      for (const place of [nameOf(mount, entry), copyNameOf(mount, entry)]) removeFile(place)
    },
    placeOf(path, entry) {
      const mount = mountOf(path)
      const [link, copied] = [nameOf(mount, entry), copyNameOf(mount, entry)]
      if (isThere(copied)) return { place: copied, how: 'copy' }
      return isThere(link) ? { place: link, how: 'link' } : undefined
    },
    prune(needed) {
      for (const mount of mounts.values()) {
        const layer = onHost(plan, mount.layer)
        for (const folder of namesOf(layer)) {
          const at = below(layer, folder)
          for (const name of namesOf(at)) {
            const place = below(at, name)
            if (!needed.has(place)) removeFile(place)
          }
          removeEmpty(at)
        }
      }
    },
  }
}

/** Another subvolume, as many names as there can be, an immutable file, a file system without second names (link(2)). */
const refusals: readonly string[] = ['EXDEV', 'EMLINK', 'EPERM', 'EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'EACCES']

function below(folder: RawPath, name: string): RawPath {
  return joinPath(folder, asRaw(name) as RawName)
}

function isThere(place: RawText): boolean {
  return lstatSync(rawToBytes(place), { throwIfNoEntry: false }) !== undefined
}

function namesOf(folder: RawText): RawText[] {
  try {
    return readdirSync(rawToBytes(folder), { encoding: 'buffer' }).map(rawFromBytes)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return []
    throw error
  }
}

function removeFile(place: RawText): void {
  try {
    unlinkSync(rawToBytes(place))
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
  }
}

function removeEmpty(folder: RawText): void {
  try {
    rmdirSync(rawToBytes(folder))
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(systemErrorCode(error) ?? '')) throw error
  }
}
