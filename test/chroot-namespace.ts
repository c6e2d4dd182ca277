// Namespaces in which the `/` of a chroot is the only one there is, held by one process for as long as a test wants them.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ImageFileSystem } from '../tools/chroots/chroots.ts'

export interface NamespaceOptions {
  /** What `/` lies on. Default: ext4. */
  readonly fileSystem?: ImageFileSystem | 'tmpfs'
  /** The network of this computer. Default: loopback and nothing else. */
  readonly network?: boolean
  /** Folders that lie on a mount of their own: another file system of the same kind, on btrfs another subvolume. Default: none. */
  readonly apart?: readonly string[]
  /** Its own systemd is the first process, as in a container. Default: one that does nothing. */
  readonly systemd?: boolean
}

export interface Namespace extends AsyncDisposable {
  /** Of its first process, as this computer numbers it: what `/proc/PID/root` and nsenter want. */
  readonly pid: number
}

interface NamespacePaths {
  /** A private copy for this chroot alone; for tmpfs the image that it is filled from. */
  readonly image: string
  /** An empty folder of this computer. */
  readonly mountPoint: string
  /** Shown at `/opt/vml`, read-only. */
  readonly project: string
  /** Shown at `/srv/archive`, read-only. */
  readonly archiveFolder: string
  /** Where Node keeps compiled code; shown at `/run/vml-code`. */
  readonly codeCache: string
}

/** Words for setpriv(1): nothing that runs beside a systemd may set the clock of this computer, or its kernel's modules. */
export const bounded: readonly string[] = ['--bounding-set=-sys_time,-sys_module,-sys_boot']

// Pid, mount, host name, IPC and network are its own. Nothing of this computer's files is in reach but what is bound, and the kernel
// undoes every mount, and frees the loop device, when the last process has gone.
const script = `
set -eu
image=$1 root=$2 project=$3 archive=$4 code=$5 system=$6 network=$7 init=$8
shift 8
# Of the one that was ended before, whose mounts the kernel may still be at.
[ $system = tmpfs ] || while losetup -j "$image" | grep -q .; do sleep 0.1; done
case $system in
  # Nobody pulls the plug here: without barriers a sync costs no wait for this computer's disk.
  ext4) mount -t ext4 -o loop,barrier=0 "$image" "$root" ;;
  btrfs) mount -t btrfs -o loop,nobarrier,subvol=@ "$image" "$root" ;;
  xfs) mount -t xfs -o loop,nouuid "$image" "$root" ;;
  tmpfs)
    mkdir "$root.from"
    mount -o loop,ro,noload "$image" "$root.from"
    mount -t tmpfs -o mode=755 tmpfs "$root"
    cp -a "$root.from/." "$root"
    umount "$root.from"
    rmdir "$root.from"
    ;;
esac
for path; do
  new=$root.new
  mkdir -p "$new" "$root.top"
  case $system in
    tmpfs) mount -t tmpfs -o mode=755 tmpfs "$new" ;;
    ext4 | xfs)
      part=$image$(echo "$path" | tr / -)
      truncate -s 2G "$part"
      mkfs.$system -q "$part"
      mount -t $system -o loop$([ $system = xfs ] || echo ,barrier=0) "$part" "$new"
      [ $system = xfs ] || rmdir "$new/lost+found"
      ;;
    btrfs)
      device=$(findmnt -nvo SOURCE "$root")
      subvolume=@$(echo "$path" | tr / -)
      mount -t btrfs -o nobarrier "$device" "$root.top"
      btrfs -q subvolume create "$root.top/$subvolume"
      umount "$root.top"
      mount -t btrfs -o nobarrier,subvol="$subvolume" "$device" "$new"
      ;;
  esac
  cp -a "$root$path/." "$new"
  find "$root$path" -mindepth 1 -delete
  mount --move "$new" "$root$path"
done
if [ "$init" = systemd ]; then
  # Control groups of its own: "0" is whoever writes it, cgroups(7).
  mkdir "$root.groups"
  mount -t cgroup2 cgroup2 "$root.groups"
  # What a killed test left behind, as its folder is by the name of its process.
  for old in "$root.groups"/vml-chroot-*; do
    number=\${old##*/vml-chroot-}
    [ ! -d "$old" ] || [ -d "/proc/\${number%%-*}" ] || find "$old" -depth -type d -exec rmdir {} +
  done
  group=$root.groups/$(basename "$(dirname "$root")")
  mkdir "$group"
  echo 0 >"$group/cgroup.procs"
  umount "$root.groups"
  rmdir "$root.groups"
fi
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
# Settings of the kernel are this computer's.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
umask 0
mknod -m 666 "$root/dev/null" c 1 3
mknod -m 666 "$root/dev/zero" c 1 5
mknod -m 666 "$root/dev/full" c 1 7
mknod -m 666 "$root/dev/random" c 1 8
mknod -m 666 "$root/dev/urandom" c 1 9
mknod -m 666 "$root/dev/tty" c 5 0
umask 022
# What is written there would end this computer.
[ ! -e "$root/proc/sysrq-trigger" ] || mount --bind "$root/dev/null" "$root/proc/sysrq-trigger"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
mkdir -m 1777 "$root/run/lock"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
mkdir "$root/run/vml-code"
mount --bind "$code" "$root/run/vml-code"
mount --bind "$project" "$root/opt/vml"
mount -o remount,bind,ro "$root/opt/vml"
mkdir -p "$root/srv/archive"
mount --bind "$archive" "$root/srv/archive"
mount -o remount,bind,ro "$root/srv/archive"
[ "$network" = yes ] || ip link set lo up
[ "$network" = no ] || cat /etc/resolv.conf >"$root/etc/resolv.conf"
hostname chroot
# Its number for those outside: this is still their /proc.
read -r pid rest </proc/self/stat
mkdir "$root/run/old"
cd "$root"
pivot_root . run/old
umount -l /run/old
rmdir /run/old
if [ "$init" = systemd ]; then
  echo "$pid"
  exec unshare --cgroup sh -c 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec env -i container=vml PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"' sh \
    setpriv ${bounded.join(' ')} /lib/systemd/systemd >/dev/null 2>&1 </dev/null
fi
# The first process of a pid namespace is left what others leave behind: bash lets such end, dash would not. It ends with its input.
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin bash -c 'echo "$1"; exec >/dev/null 2>&1; while read -r line; do :; done' init "$pid"
`

/** Nothing but folders, which stay when all that ran in them has ended. */
const removeGroups = `
mount -t cgroup2 cgroup2 "$1" && find "$1/$(basename "$(dirname "$1")")" -depth -type d -exec rmdir {} +
`

// Twenty mounts, and on tmpfs a copy of some gigabytes.
const readyMsMax = 120_000

/** Fails with what the script said. */
export async function holdNamespace(
  { image, mountPoint, project, archiveFolder, codeCache }: NamespacePaths,
  { fileSystem = 'ext4', network = false, apart = [], systemd = false }: NamespaceOptions,
): Promise<Namespace> {
  const words = [
    image,
    mountPoint,
    project,
    archiveFolder,
    codeCache,
    fileSystem,
    network ? 'yes' : 'no',
    systemd ? 'systemd' : 'none',
    ...apart,
  ]
  const child = spawn(
    // The kernel ends it when this process is gone, and with its first process all others of the namespace.
    'setpriv',
    [
      ...['--pdeathsig', 'SIGKILL', 'unshare', '--mount', '--propagation', 'private', '--pid', '--fork'],
      ...['--kill-child=SIGKILL', '--uts', '--ipc', ...(network ? [] : ['--net'])],
      ...['sh', '-c', script, 'sh', ...words],
    ],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  )
  const gone = once(child, 'exit')
  let said = ''
  const ready = Promise.withResolvers<number>()
  let pid = ''
  child.stdin.on('error', () => {})
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
  child.stdout.on('data', (chunk: Buffer) => {
    pid += chunk.toString()
    if (pid.endsWith('\n')) ready.resolve(Number(pid))
  })
  child.on('error', ready.reject)
  child.on('close', (status) => ready.reject(new Error(`A chroot cannot be mounted (${status}): ${said}`)))
  const late = sleep(readyMsMax, undefined, { ref: false }).then(() => {
    throw new Error(`A chroot was not mounted in ${readyMsMax / 1000} s: ${said}`)
  })
  try {
    const first = await Promise.race([ready.promise, late])
    const end = async () => {
      // It is gone when all others are, and unshare waits for it: pid_namespaces(7).
      if (child.exitCode === null && child.signalCode === null) process.kill(first, 'SIGKILL')
      await gone
      if (systemd)
        await once(spawn('unshare', ['--mount', 'sh', '-c', removeGroups, 'sh', mountPoint]), 'exit')
    }
    return { pid: first, [Symbol.asyncDispose]: end }
  } catch (error) {
    child.kill('SIGKILL')
    await gone
    throw error
  }
}
