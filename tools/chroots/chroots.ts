// Images of Debian chroots as tools/chroots/build makes them: built on first use, kept outside the clone.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

export type ChrootFlavour = 'small' | 'full'
export type ImageFileSystem = 'ext4' | 'xfs' | 'btrfs'

/** The file of a file system without partitions, to be copied; some milliseconds where it was built before. */
export async function chrootImage(flavour: ChrootFlavour, fileSystem: ImageFileSystem): Promise<string> {
  const { stdout } = await promisify(execFile)(join(import.meta.dirname, 'build'), [flavour, fileSystem])
  return stdout.trim()
}
