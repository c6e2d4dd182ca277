// Real packages from Debian's mirror for an archive of a chroot: fetched once, kept in the cache of builds.
import { execFile } from 'node:child_process'
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Chroot } from './chroot.ts'

export interface MirrorOptions {
  /** And the installed version of each package that apt would replace, for an archive that does not forget. Default: no. */
  readonly installed?: boolean
  /** As if Debian's next release were among the sources, too. Default: no. */
  readonly newer?: boolean
}

/**
 * What apt would take for this chroot as it is now, with the words of a command, such as `['install', 'nginx']` or `['dist-upgrade']`:
 * paths for `publishFiles` of its archive. Debian's security archive is newer than the base: both have versions of many packages.
 */
export async function mirrorPackages(
  chroot: Chroot,
  words: readonly string[],
  { installed = false, newer = false }: MirrorOptions = {},
): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'vml-mirror-'))
  try {
    // apt asks for the real path of what it is given, and would read this computer's own: see `Chroot.path`.
    const status = join(folder, 'status')
    await copyFile(join(chroot.path, 'var/lib/dpkg/status'), status)
    const program = join(import.meta.dirname, '../tools/chroots/packages')
    const options = [...(installed ? ['--installed'] : []), ...(newer ? ['--newer'] : []), status, ...words]
    const { stdout } = await promisify(execFile)(program, options, { maxBuffer: outputBytesMax })
    return stdout.split('\n').filter((line) => line !== '')
  } finally {
    await rm(folder, { recursive: true })
  }
}

// A path for each of some thousand packages.
const outputBytesMax = 4 * 1024 * 1024
