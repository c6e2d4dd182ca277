// Programs that have a file open for writing which a commit has replaced or removed: what they write from then on is in no path of the machine.
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { asRaw, rawFromBytes, rawFromString, type RawText } from '../base/raw-text.ts'
import { baseName, nearestIn, type RawPath } from '../model/raw-path.ts'
import type { FileStatus } from '../wire/libc.ts'
import { parseMountRows } from '../wire/mount-table.ts'
import { isMadeAnew } from './changed-since.ts'
import { type CommitDisk, isSameThing } from './commit-disk.ts'
import { typeOf } from './fingerprint.ts'
import { inFolder, type Journal } from './journal.ts'

export interface OpenWriter {
  readonly path: RawPath
  readonly processId: number
  /** As the kernel cuts it: 15 bytes. */
  readonly program: RawText
}

export interface WriterSearch {
  /** What lies aside: what stood there before the commit, or, when that was taken back, what it had put there. */
  readonly aside: 'kept' | 'made'
  /** It is only a warning: a machine with very many open files is not looked through. */
  mayGoOn(): boolean
}

interface Opened {
  readonly processId: number
  /** In /proc. */
  readonly file: string
  /** The last part of the one that it has for the kernel. */
  readonly name: string
  /** As the kernel tells it without a look at the file itself (Linux 5.14). */
  readonly inode?: string
  readonly mountId: number
}

interface Aside {
  readonly at: RawText
  readonly path: RawPath
}

/**
 * While what lies aside is still there. Of a file that has another name nothing is lost, nor of what programs make anew. As root sees them; of others nothing
 * is told.
 */
export function findOpenWriters(
  disk: Pick<CommitDisk, 'look'>,
  journal: Pick<Journal, 'steps' | 'inside'>,
  { aside, mayGoOn }: WriterSearch,
): OpenWriter[] {
  const opened = openFiles(mayGoOn)
  const found = new Map<string, OpenWriter>()
  for (const { at, path } of liesAside(journal, aside)) {
    if (opened.isNone || !mayGoOn()) break
    if (isMadeAnew(path)) continue
    const status = disk.look(at)
    if (!status || typeOf(status.mode) !== 'file') continue
    const writers = opened.of(baseName(path), status)
    if (writers.length === 0 || !isLastOf(disk, journal, aside, status)) continue
    for (const processId of writers)
      found.set(`${processId} ${path}`, { path, processId, program: programOf(processId) })
  }
  return [...found.values()].toSorted((one, other) => one.processId - other.processId)
}

/** Also what lies in a folder that does. */
export function* liesAside(
  { steps, inside = new Set() }: Pick<Journal, 'steps' | 'inside'>,
  aside: WriterSearch['aside'],
): Generator<Aside> {
  const tops = new Map<RawPath, RawText>()
  for (const step of steps) {
    const at =
      aside === 'kept' ? ('kept' in step ? step.kept : undefined) : 'made' in step ? step.made : undefined
    if (at === undefined) continue
    tops.set(step.path, at)
    yield { at, path: step.path }
  }
  for (const path of inside) {
    const top = nearestIn(path, tops)
    const at = top === undefined ? undefined : tops.get(top)
    if (top !== undefined && at !== undefined && top !== path)
      yield { at: inFolder(at, path.slice(top.length + 1)), path }
  }
}

/** All of its names lie aside. */
function isLastOf(
  disk: Pick<CommitDisk, 'look'>,
  journal: Pick<Journal, 'steps' | 'inside'>,
  aside: WriterSearch['aside'],
  status: FileStatus,
): boolean {
  let names = 0
  if (status.links === 1) return true
  for (const { at } of liesAside(journal, aside)) {
    const other = disk.look(at)
    if (other && isSameThing(other, status)) names++
  }
  return names >= status.links
}

/** What is open for writing now. */
export interface OpenFiles {
  readonly isNone: boolean
  /** Processes that have a file open; `name`: the last part of one that it has, or had. */
  of(name: RawText, status: FileStatus): number[]
}

export function openFiles(mayGoOn: () => boolean): OpenFiles {
  const opened = openForWriting(mayGoOn)
  const byInode = Map.groupBy(opened, ({ inode }) => inode)
  const mounts = new Map<number, ReadonlySet<number>>()
  // A look at a file of a server that does not answer would never end: only at one that has the name, or lies on a disk.
  const isSafe = (each: Opened, name: RawText): boolean => {
    if (each.name === name) return true
    const local = mounts.get(each.processId) ?? localMounts(each.processId)
    mounts.set(each.processId, local)
    return local.has(each.mountId)
  }
  return {
    isNone: opened.length === 0,
    of(name, status) {
      const all = [...(byInode.get(String(status.inode)) ?? []), ...(byInode.get(undefined) ?? [])]
      const its = all.filter(
        (each) =>
          (each.inode !== undefined || each.name === name) &&
          isSafe(each, name) &&
          openedThing(each.file) === thingOf(status),
      )
      return [...new Set(its.map(({ processId }) => processId))]
    },
  }
}

function openForWriting(mayGoOn: () => boolean): Opened[] {
  const opened: Opened[] = []
  for (const id of namesIn('/proc')) {
    if (!/^\d+$/.test(id)) continue
    for (const number of namesIn(`/proc/${id}/fd`)) {
      if (!mayGoOn()) return opened
      const file = `/proc/${id}/fd/${number}`
      const name = nameOf(file)
      const info = name === undefined ? undefined : readInfo(`/proc/${id}/fdinfo/${number}`)
      if (name !== undefined && info?.isForWriting)
        opened.push({ processId: Number(id), file, name, ...info })
    }
  }
  return opened
}

/**
 * As it was opened, or moved since; the kernel says so where it has the name no more (proc(5)): a file that has another name by now is told by its number. Sockets and such have
 * none.
 */
function nameOf(opened: string): string | undefined {
  const path = whileThere(() => rawFromBytes(readlinkSync(opened, { encoding: 'buffer' }))) ?? ''
  if (!path.startsWith('/')) return undefined
  return path.slice(path.lastIndexOf('/') + 1).replace(/ \(deleted\)$/, '')
}

function thingOf({ deviceId, inode }: Pick<FileStatus, 'deviceId' | 'inode'>): string {
  return `${deviceId}:${inode}`
}

function openedThing(opened: string): string | undefined {
  return whileThere(() => {
    const { dev, ino } = statSync(opened, { bigint: true })
    return thingOf({ deviceId: dev, inode: ino })
  })
}

/** Of file systems that no other machine, and no program, has to answer for. */
function localMounts(processId: number): ReadonlySet<number> {
  const text = whileThere(() => rawFromBytes(readFileSync(`/proc/${processId}/mountinfo`))) ?? asRaw('')
  return new Set(parseMountRows(text).flatMap(({ id, type }) => (localTypes.has(type) ? [id] : [])))
}

const localTypes: ReadonlySet<string> = new Set([
  'ext2',
  'ext3',
  'ext4',
  'xfs',
  'btrfs',
  'tmpfs',
  'overlay',
  'f2fs',
  'zfs',
  'bcachefs',
  'jfs',
])

type Info = Pick<Opened, 'inode' | 'mountId'> & { readonly isForWriting: boolean }

/** See proc(5): the flags of open(2) are in octal. */
function readInfo(file: string): Info | undefined {
  return whileThere(() => {
    const text = readFileSync(file, 'latin1')
    const inode = /^ino:\s*(\d+)$/m.exec(text)?.[1]
    const flags = Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(text)?.[1] ?? '0', 8)
    return {
      isForWriting: (flags & accessBits) !== 0,
      mountId: Number(/^mnt_id:\s*(\d+)$/m.exec(text)?.[1] ?? -1),
      ...(inode === undefined ? {} : { inode }),
    }
  })
}

const accessBits = 0o3

function programOf(id: number): RawText {
  return whileThere(() => asRaw(readFileSync(`/proc/${id}/comm`, 'latin1').trimEnd())) ?? rawFromString('?')
}

function namesIn(folder: string): string[] {
  return whileThere(() => readdirSync(folder)) ?? []
}

/** Processes end, and files are closed, at any time. */
function whileThere<Result>(look: () => Result): Result | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}
