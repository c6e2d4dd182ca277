// snapper on the btrfs of a chroot, as its package sets it up: a snapshot before and after each run of apt.
import type { Chroot } from '../test/chroot.ts'
import { mirrorPackages } from '../test/mirror-packages.ts'
import type { PackageArchive } from '../test/package-archive.ts'

/** There is no message bus in a chroot: snapper then works by itself, as it does in a rescue system. */
const program = `#!/bin/sh
exec /usr/bin/snapper --no-dbus "$@"
`

/** With quotas, by which it is told what only snapshots hold. */
export async function installSnapper(chroot: Chroot, archive: PackageArchive): Promise<void> {
  await archive.publishFiles(await mirrorPackages(chroot, ['install', 'snapper', 'btrfs-progs']))
  await chroot.sh(
    'apt-get -y install snapper btrfs-progs && cat >/usr/local/bin/snapper && chmod 755 /usr/local/bin/snapper',
    {
      input: program,
    },
  )
  // It asks there what `/` is.
  await chroot.sh('[ -e /etc/mtab ] || ln -s /proc/self/mounts /etc/mtab')
  await chroot.sh('snapper -c root create-config / && btrfs quota enable / && btrfs quota rescan -w /')
}

/** Bytes on the disk that would come back if all snapshots went. */
export async function pinnedBytes(chroot: Chroot): Promise<number> {
  await chroot.sh('btrfs filesystem sync / && btrfs quota rescan -w / >/dev/null')
  const { stdout: usage } = await chroot.sh('btrfs filesystem usage -b / 2>/dev/null')
  const used = Number(/^ *Used:\s+(\d+)/m.exec(usage)?.[1])
  // The subvolume that is `/`: what it refers to stays.
  const { stdout: groups } = await chroot.sh(
    'btrfs qgroup show --raw / | awk -v id="0/$(btrfs inspect-internal rootid /)" \'$1 == id { print $2 }\'',
  )
  const bytes = used - Number(groups)
  if (!Number.isFinite(bytes)) throw new Error(`btrfs does not say what it holds: ${usage}${groups}`)
  return bytes
}
