// Images of Debian chroots as tools/chroots/build makes them: built on first use, kept outside the clone.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

/**
 * `rpm`: a small one with rpm and dnf; tools/images/rpm-chroot makes it. `sid`: Debian's newest apt, for comparisons; VML does not run in it. Both
 * on ext4 alone.
 */
export type ChrootFlavour = 'small' | 'full' | 'rpm' | 'sid'
export type ImageFileSystem = 'ext4' | 'xfs' | 'btrfs'

const builders: { readonly [flavour in ChrootFlavour]?: readonly [string, ...string[]] } = {
  rpm: ['../images/rpm-chroot', '--image'],
  sid: ['sid', 'ext4'],
}

/** The file of a file system without partitions, to be copied; some milliseconds where it was built before. */
export async function chrootImage(flavour: ChrootFlavour, fileSystem: ImageFileSystem): Promise<string> {
  const [program, ...words] = builders[flavour] ?? ['build', flavour, fileSystem]
  const { stdout } = await promisify(execFile)(join(import.meta.dirname, program), words)
  return stdout.trim()
}
