// Where things are kept, and made ready: rename and link work only within one mount and one device, so each has a folder of its own.
import type { RawText } from '../base/raw-text.ts'
import { asRaw } from '../base/raw-text.ts'
import { baseName, parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { FileStatus } from '../wire/libc.ts'
import type { CommitDisk, LookedDisk } from './commit-disk.ts'
import { below, inFolder, type KeepFolder } from './journal.ts'

/** A mount and a device on it, such as a subvolume: between things of one region rename and link work. */
export type Region = string

export function regionOf({ mountId, deviceId }: FileStatus): Region {
  return `${mountId}:${deviceId}`
}

export interface KeepFolders {
  /** The region of what stands in a folder below the root. */
  regionIn(folder: RawPath): Region
  /**
   * Two places for what stands at a path: one to keep the old thing, one to make the new one. They have its own name, in a folder for
   * each folder of the root, so that one call of mv can move all that comes or goes there (`recover-script.ts`). `staying`: the
   * folder nearest to it that is there before and after.
   */
  placesOf(path: RawPath, staying: RawPath): { kept: RawText; made: RawText }
  /** Those that were asked for, as they are before any of them is made. */
  used(): KeepFolder[]
}

/**
 * `given` are folders that may be used, one for each mount. Where none of them lies in a region, such as a subvolume or a
 * mount that nobody named, `.vml-stage/keep` of its topmost folder is taken. Nothing is made yet.
 */
export function planKeepFolders(options: {
  disk: LookedDisk
  root: RawText
  given: readonly RawText[]
}): KeepFolders {
  const { disk, root, given } = options
  const regions = new Map<RawPath, Region>()
  const known = new Map<Region, RawText>()
  for (const folder of given) {
    const region = regionOf(nearestThere(disk, folder).status)
    if (!known.has(region)) known.set(region, folder)
  }
  const used = new Map<RawText, KeepFolder>()
  const numbers = new Map<RawPath, number>()
  const regionIn = (folder: RawPath): Region => {
    const found = regions.get(folder)
    if (found !== undefined) return found
    const region = regionOf(nearestThere(disk, below(root, folder)).status)
    regions.set(folder, region)
    return region
  }
  const topOf = (folder: RawPath): RawPath => {
    const region = regionIn(folder)
    let top = folder
    while (top !== rootPath && regionIn(parentPath(top)) === region) top = parentPath(top)
    return top
  }
  const keepIn = (folder: RawPath): RawText => {
    const region = regionIn(folder)
    let keep = known.get(region)
    if (keep === undefined) {
      keep = inFolder(inFolder(below(root, topOf(folder)), '.vml-stage'), 'keep')
      known.set(region, keep)
    }
    if (!used.has(keep)) used.set(keep, plan(disk, keep))
    return keep
  }
  return {
    regionIn,
    placesOf(path, staying) {
      const parent = parentPath(path)
      const number = numbers.get(parent) ?? numbers.size
      numbers.set(parent, number)
      const folder = inFolder(keepIn(staying), String(number))
      const name = baseName(path)
      return { kept: asRaw(`${folder}/${name}`), made: asRaw(`${folder}.new/${name}`) }
    },
    used: () => [...used.values()],
  }
}

export function makeKeepFolder(disk: CommitDisk, { made, aboveMtimeNs }: KeepFolder): void {
  for (const folder of made) disk.makeFolder(folder, 0o700)
  const outermost = made[0]
  // A folder of the machine gets its time back.
  if (outermost !== undefined) disk.setMtime(above(outermost), aboveMtimeNs)
}

/** Folders of the keeps in which these places lie. */
export function makePlaceFolders(disk: CommitDisk, places: readonly RawText[]): void {
  for (const folder of new Set(places.map(above))) disk.makeFolder(folder, 0o700)
}

export function above(path: RawText): RawText {
  return asRaw(path.slice(0, path.lastIndexOf('/')) || '/')
}

function plan(disk: LookedDisk, folder: RawText): KeepFolder {
  const { path, status } = nearestThere(disk, folder)
  const made: RawText[] = []
  for (let at = folder; at !== path; at = above(at)) made.unshift(at)
  return { folder, made, aboveMtimeNs: status.mtimeNs }
}

function nearestThere(disk: LookedDisk, folder: RawText): { path: RawText; status: FileStatus } {
  for (let path = folder; ; path = above(path)) {
    const status = disk.look(path)
    if (status !== undefined) return { path, status }
    if (path === rootPath) throw new Error('Cannot look at the root')
  }
}
