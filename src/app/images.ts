// The image library of this computer, and the image records that came with shares.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock } from '../base/clock.ts'
import { isFailure } from '../base/failure.ts'
import { makePrivateFolder, writeFileDurable } from '../base/files.ts'
import { parseImageRecordJson } from '../image/image-record.ts'
import { type ImageLibrary, openImageLibrary } from '../image/library.ts'
import type { ImageRecord } from '../model/image.ts'
import type { ImageReference } from '../model/machine.ts'
import type { Config } from './config.ts'

/** More than anybody receives; the folder is ours alone. */
const recordsMax = 10_000

export function openLibrary(config: Config, clock: Clock): ImageLibrary {
  return openImageLibrary(libraryOptions(config, clock))
}

function libraryOptions(config: Config, clock: Clock) {
  return { folder: join(config.folders.data, 'images'), catalogues: config.images.catalogues, clock }
}

/** A save does not wait longer for a catalogue that says nothing. */
const digestTimeoutMs = 5_000

/** The SHA-256 of an image's disk, where the library or a catalogue knows the image; who cannot be asked is passed over. */
export async function findDigest(
  config: Config,
  { reference, clock, signal }: { reference: ImageReference; clock: Clock; signal: AbortSignal },
): Promise<string | undefined> {
  const library = openImageLibrary({ ...libraryOptions(config, clock), idleTimeoutMs: digestTimeoutMs })
  try {
    const offered = await rememberedImages(config)
    return (await library.resolve({ reference }, { signal, offered })).record.items.disk.sha256
  } catch (error) {
    if (!isFailure(error, 'image.unobtainable', 'unavailable.network', 'unavailable.timeout')) throw error
    return undefined
  }
}

/** Keeps where an image can be had, so that `vml open` finds it long after the share is gone. */
export async function rememberImage(config: Config, record: ImageRecord): Promise<void> {
  const folder = recordsFolder(config)
  await makePrivateFolder(folder)
  await writeFileDurable(join(folder, `${record.items.disk.sha256}.json`), JSON.stringify(record))
}

export async function rememberedImages(config: Config): Promise<ImageRecord[]> {
  const folder = recordsFolder(config)
  const names = await readdir(folder).catch(() => [])
  const records: ImageRecord[] = []
  for (const name of names.slice(0, recordsMax)) {
    if (!/^[0-9a-f]{64}\.json$/.test(name)) continue
    const path = join(folder, name)
    try {
      records.push(parseImageRecordJson(await readFile(path), path))
    } catch (error) {
      // As good as none: another place may have the image.
      if (!isFailure(error, 'integrity.format')) throw error
    }
  }
  return records
}

function recordsFolder(config: Config): string {
  return join(config.folders.data, 'image-records')
}
