// Where repairs of a logbook left damaged files that are still there: beside its others, or on this computer.
import { lstat, opendir, stat } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { systemErrorCode } from '../base/failure.ts'
import type { Config } from './config.ts'
import type { Logbook } from './open.ts'

/** Folders of this computer; what a far storage has set aside is not asked for. */
export async function damagedPlaces(
  { folders }: Config,
  { location, repository }: Logbook,
): Promise<readonly string[]> {
  const places = [
    ...(isAbsolute(location) ? [join(location, 'damaged')] : []),
    join(folders.data, 'damaged', repository.id),
  ]
  const found = await Promise.all(
    places.map(async (place) =>
      (await stat(place).catch(() => undefined))?.isDirectory() === true ? [place] : [],
    ),
  )
  return found.flat()
}

export interface PlaceSize {
  readonly files: number
  readonly bytes: number
  /** False where there is more: not all of it could be looked at, or it would have taken too long. */
  readonly complete: boolean
}

/** A repair sets packs, index files and snapshots aside: far fewer. A status must not take minutes for them. */
const countedFilesMax = 100_000
/** `damaged/data/AB/ID` is three deep. */
const depthMax = 8

/** Files as long as they are; no link is followed. */
export async function measurePlace(place: string, signal?: AbortSignal): Promise<PlaceSize> {
  const size = { files: 0, bytes: 0, complete: true }
  const walk = async (folder: string, depth: number): Promise<void> => {
    try {
      for await (const { name } of await opendir(folder)) {
        signal?.throwIfAborted()
        if (size.files >= countedFilesMax || depth > depthMax) {
          size.complete = false
          return
        }
        const path = join(folder, name)
        const found = await lstat(path)
        if (found.isDirectory()) await walk(path, depth + 1)
        else {
          size.files++
          size.bytes += found.size
        }
      }
    } catch (error) {
      // Removed meanwhile, or somebody else's: the folder is named all the same.
      if (systemErrorCode(error) === undefined) throw error
      size.complete = false
    }
  }
  await walk(place, 1)
  return size
}
