// Every path below a folder with all that a file system says of it, hashes and attributes included: what whole trees are compared by.
import { createHash } from 'node:crypto'
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  type BigIntStats,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { asRaw, rawFromBytes, rawToBytes, type RawText } from '../src/base/raw-text.ts'
import { openLibc, type Libc } from '../src/wire/libc.ts'
import { meaningOf } from './tree-meanings.ts'

export type TreeNodeType = 'file' | 'dir' | 'symlink' | 'fifo' | 'socket' | 'dev' | 'chardev'

export interface TreeEntry {
  readonly type: TreeNodeType
  /** Permission bits; of a link they mean nothing and are 0. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtimeNs: bigint
  /** Of files. */
  readonly size?: bigint
  readonly sha256?: string
  readonly linkTarget?: RawText
  /** Of devices. */
  readonly device?: bigint
  /** The first path, as the tree is walked, that is one file with it; absent there, and where no other path of the tree is. */
  readonly sameFileAs?: RawText
  /** `NAME=HEX` in order: capabilities and ACLs are among them. */
  readonly xattrs: readonly string[]
  /** Of files that are equal in meaning, not in bytes: see tree-meanings.ts. */
  readonly meaning?: string
}

export interface Tree {
  /** The folder on this computer that it was read from. */
  readonly root: string
  /** By absolute path, `/` included. */
  readonly entries: ReadonlyMap<RawText, TreeEntry>
}

export interface ReadTreeOptions {
  /** Paths that are left out with all below them. Default: what `openChroot` mounts, and VML's own state. */
  readonly without?: readonly string[]
}

const mountsOfTestBed: readonly string[] = [
  '/proc',
  '/sys',
  '/dev',
  '/run',
  '/tmp',
  '/opt/vml',
  '/srv/archive',
]
const stateOfVml = ['/var/lib/vml', '/.vml-stage']

const fileTypes: Readonly<Record<number, TreeNodeType>> = {
  [constants.S_IFREG]: 'file',
  [constants.S_IFDIR]: 'dir',
  [constants.S_IFLNK]: 'symlink',
  [constants.S_IFIFO]: 'fifo',
  [constants.S_IFSOCK]: 'socket',
  [constants.S_IFBLK]: 'dev',
  [constants.S_IFCHR]: 'chardev',
}
const readBytes = 1024 * 1024
// A chroot of 31,000 paths is the largest: more is a loop or a mistake.
const pathsMax = 2_000_000

interface Reading extends Tree {
  readonly entries: Map<RawText, TreeEntry>
  readonly without: ReadonlySet<string>
  readonly libc: Libc
  readonly buffer: Buffer
  /** First paths of files with more than one name, by their number. */
  readonly firstNames: Map<string, RawText>
}

/** A second for a gigabyte. Nothing may change meanwhile: a path that goes away is a failure. */
export function readTree(
  root: string,
  { without = [...mountsOfTestBed, ...stateOfVml] }: ReadTreeOptions = {},
): Tree {
  const libc = openLibc(tmpdir())
  if (libc === undefined) throw new Error('Trees are compared with node:ffi, which this Node lacks')
  const reading: Reading = {
    root,
    entries: new Map(),
    without: new Set(without),
    libc,
    buffer: Buffer.allocUnsafe(readBytes),
    firstNames: new Map(),
  }
  readFolder(reading, asRaw(''))
  return { root, entries: reading.entries }
}

function readFolder(reading: Reading, folder: RawText) {
  if (folder === '') reading.entries.set(asRaw('/'), readEntry(reading, folder))
  const names = readdirSync(rawToBytes(placeOf(reading, folder)), { encoding: 'buffer' })
  for (const name of names.map(rawFromBytes).toSorted()) {
    const path = asRaw(`${folder}/${name}`)
    if (reading.without.has(path)) continue
    const entry = readEntry(reading, path)
    reading.entries.set(path, entry)
    if (reading.entries.size > pathsMax) throw new Error(`More than ${pathsMax} paths in ${reading.root}`)
    if (entry.type === 'dir') readFolder(reading, path)
  }
}

function placeOf({ root }: Reading, path: RawText): RawText {
  return asRaw(`${rawFromBytes(Buffer.from(root))}${path === '' ? '/.' : path}`)
}

function readEntry(reading: Reading, path: RawText): TreeEntry {
  const place = placeOf(reading, path)
  const bytes = rawToBytes(place)
  const stat = lstatSync(bytes, { bigint: true })
  const type = fileTypes[Number(stat.mode) & constants.S_IFMT]
  if (type === undefined) throw new Error(`A type of file that is not known, at ${bytes.toString()}`)
  const content = contentOf(reading, place, { stat, type })
  const entry = {
    type,
    mode: type === 'symlink' ? 0 : Number(stat.mode) & 0o7777,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mtimeNs: stat.mtimeNs,
    xattrs: content.xattrs,
    ...namesOf(reading, stat, path, type),
  }
  if (type === 'file') {
    const { sha256 } = content
    const meaning = meaningOf(path, bytes.toString())
    return { ...entry, size: stat.size, sha256, ...(meaning === undefined ? {} : { meaning }) }
  }
  if (type === 'symlink')
    return { ...entry, linkTarget: rawFromBytes(readlinkSync(bytes, { encoding: 'buffer' })) }
  if (type === 'dev' || type === 'chardev') return { ...entry, device: stat.rdev }
  return entry
}

/** By what is found in the tree: a count of names would also have those that VML's state or a test holds elsewhere. */
function namesOf(
  { firstNames }: Reading,
  stat: BigIntStats,
  path: RawText,
  type: TreeNodeType,
): { sameFileAs?: RawText } {
  if (type === 'dir' || stat.nlink === 1n) return {}
  const number = `${stat.dev} ${stat.ino}`
  const first = firstNames.get(number)
  if (first !== undefined) return { sameFileAs: first }
  firstNames.set(number, path)
  return {}
}

interface Content {
  readonly xattrs: readonly string[]
  readonly sha256: string
}

/** By device, inode, size and time of change. */
const remembered = new Map<string, Content>()
/** The kernel's clock moves in steps of some milliseconds: within one, a second change has the same time. */
const settledMs = 2000

/**
 * A tree is read again and again, and most of it is as it was: nothing but the kernel sets the time of change, and it does with every change of a
 * content or an attribute.
 */
function contentOf(
  { libc, buffer }: Reading,
  place: RawText,
  { stat, type }: { readonly stat: BigIntStats; readonly type: TreeNodeType },
): Content {
  const key = `${stat.dev} ${stat.ino} ${stat.size} ${stat.ctimeNs}`
  const known = remembered.get(key)
  if (known) return known
  const content = {
    xattrs: readAttributes(libc, place),
    sha256: type === 'file' ? hashOf(rawToBytes(place), stat, buffer) : '',
  }
  if (stat.ctimeMs < Date.now() - settledMs) remembered.set(key, content)
  return content
}

function readAttributes(libc: Libc, place: RawText): string[] {
  return libc
    .readXattrs(place)
    .map(({ name, value }) => `${name}=${Buffer.from(value).toString('hex')}`)
    .toSorted()
}

function hashOf(place: Buffer, seen: BigIntStats, buffer: Buffer): string {
  const file = openSync(place, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    if (fstatSync(file, { bigint: true }).ino !== seen.ino)
      throw new Error(`Replaced while it was read: ${place.toString()}`)
    const hash = createHash('sha256')
    for (;;) {
      const length = readSync(file, buffer)
      if (length === 0) return hash.digest('hex')
      hash.update(buffer.subarray(0, length))
    }
  } finally {
    closeSync(file)
  }
}
