// Images of Debian chroots as tools/chroots/build makes them: built on first use, kept outside the clone.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** `sid`: Debian's newest apt, on ext4, for comparisons; VML does not run in it. */
export type ChrootFlavour = 'small' | 'full' | 'sid'
export type ImageFileSystem = 'ext4' | 'xfs' | 'btrfs'

/** The file of a file system without partitions, to be copied; some milliseconds where it was built before. */
export async function chrootImage(flavour: ChrootFlavour, fileSystem: ImageFileSystem): Promise<string> {
  const [program, ...words] = flavour === 'sid' ? ['sid', fileSystem] : ['build', flavour, fileSystem]
  const { stdout } = await promisify(execFile)(join(import.meta.dirname, program), words)
  return stdout.trim()
}
