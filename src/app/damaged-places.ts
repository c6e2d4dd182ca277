// Where repairs of a logbook left damaged files that are still there: beside its others, or on this computer.
import { stat } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
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
