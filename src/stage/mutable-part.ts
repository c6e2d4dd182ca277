// Which files are copied before a change without a stage, since programs write them in place: there, a second name would show the change, too.
import { rawFromString } from '../base/raw-text.ts'
import { baseName, nearestIn, type RawPath } from '../model/raw-path.ts'

/** What tools of packages, and people, write in place (measured: tx.md 1.2, strategy (e)). Some 15 MB on most systems. */
const stateFolders: ReadonlySet<RawPath> = pathSet([
  '/etc',
  '/var/lib/dpkg',
  '/var/lib/apt',
  '/var/lib/ucf',
  '/var/lib/systemd',
  '/var/lib/pam',
  '/var/cache/debconf',
])
/** Databases in files of their own, written in place by rpm and dnf: kept whatever their size, since what came and went is told by comparing them. */
const databaseFolders: ReadonlySet<RawPath> = pathSet([
  '/var/lib/rpm',
  '/usr/lib/sysimage/rpm',
  '/var/lib/dnf',
  '/usr/lib/sysimage/libdnf5',
])
/** State of programs; grub-editenv(1) writes its block in place; cron takes no table with two names; what people put there. */
const mixedFolders: ReadonlySet<RawPath> = pathSet([
  '/var/lib',
  '/var/spool',
  '/boot/grub',
  '/boot/grub2',
  '/boot/loader',
  '/root',
  '/usr/local',
])
/** Layers of images, by the hundred thousand, and nobody's to undo. */
const imageFolders: ReadonlySet<RawPath> = pathSet([
  '/var/lib/docker',
  '/var/lib/containers',
  '/var/lib/containerd',
])
/** Elsewhere scripts edit configuration, and make caches and lists anew by `>`. */
const editedName =
  /(?:conf|config|cnf|cfg|ini|rc|defaults?|rules|list|cache|dir|scale|alias|db|dat|index|idx)$/

/** localedef(1) maps it and writes into it: a locale more is no other file. */
const mappedFiles: ReadonlySet<RawPath> = pathSet(['/usr/lib/locale/locale-archive'])

/** All locales that glibc knows: 220 MB. */
const mappedBytesMax = 512 * 1024 * 1024
const stateBytesMax = 16 * 1024 * 1024
const mixedBytesMax = 1024 * 1024
/** Of any file: a copy of 64 KiB takes no longer than one of 4. */
const smallBytesMax = 64 * 1024

/** A command may do anything: of what it may write in place, all that is small is copied, two seconds' work on 24,000 files (measured). */
export type LiveCause = 'packages' | 'command'

/** A larger one is linked: when it was written in place, that is found, and told. */
export function isCopied(path: RawPath, sizeBytes: number, cause: LiveCause): boolean {
  if (nearestIn(path, databaseFolders) !== undefined) return true
  if (mappedFiles.has(path)) return sizeBytes <= mappedBytesMax
  if (nearestIn(path, stateFolders) !== undefined) return sizeBytes <= stateBytesMax
  if (nearestIn(path, imageFolders) !== undefined) return false
  if (sizeBytes <= smallBytesMax && (cause === 'command' || editedName.test(baseName(path)))) return true
  return nearestIn(path, mixedFolders) !== undefined && sizeBytes <= mixedBytesMax
}

function pathSet(paths: readonly string[]): ReadonlySet<RawPath> {
  return new Set(paths.map((path) => rawFromString(path) as RawPath))
}
