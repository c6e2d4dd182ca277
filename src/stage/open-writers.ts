// Programs that have a file open for writing which a commit has replaced or removed: what they write from then on is in no path of the machine.
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { asRaw, rawFromBytes, rawFromString, type RawText } from '../base/raw-text.ts'
import { baseName, nearestIn, type RawPath } from '../model/raw-path.ts'
import type { FileStatus } from '../wire/libc.ts'
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
  const opened = openForWriting(mayGoOn)
  if (opened.size === 0) return []
  // A commit may move very many files: looked at is only what has the name of one that is open.
  const files = new Map<string, readonly [FileStatus, RawPath]>()
  const named = new Set<string>()
  for (const { at, path } of liesAside(journal, aside)) {
    const name = baseName(path)
    if (!opened.has(name) || isMadeAnew(path)) continue
    const status = disk.look(at)
    if (!status || typeOf(status.mode) !== 'file') continue
    files.set(thingOf(status), [status, path])
    named.add(name)
  }
  if (files.size === 0) return []
  const found = new Map<string, OpenWriter>()
  for (const name of named)
    for (const { processId, file } of opened.get(name) ?? []) {
      const [status, path] = files.get(openedThing(file) ?? '') ?? []
      if (status === undefined || path === undefined || !isLastOf(disk, journal, aside, status)) continue
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
export function openFiles(mayGoOn: () => boolean): { isOpen(name: RawText, status: FileStatus): boolean } {
  const opened = openForWriting(mayGoOn)
  return {
    isOpen: (name, status) =>
      (opened.get(name) ?? []).some(({ file }) => openedThing(file) === thingOf(status)),
  }
}

/** By the last part of the name that it has. */
function openForWriting(mayGoOn: () => boolean): ReadonlyMap<string, readonly Opened[]> {
  const opened = new Map<string, Opened[]>()
  for (const id of namesIn('/proc')) {
    if (!/^\d+$/.test(id)) continue
    for (const number of namesIn(`/proc/${id}/fd`)) {
      if (!mayGoOn()) return opened
      const file = `/proc/${id}/fd/${number}`
      const name = nameOf(file)
      if (name === undefined || !isForWriting(`/proc/${id}/fdinfo/${number}`)) continue
      const others = opened.get(name)
      if (others) others.push({ processId: Number(id), file })
      else opened.set(name, [{ processId: Number(id), file }])
    }
  }
  return opened
}

/** As it was opened, or moved since; the kernel says so where it has the name no more (proc(5)). Sockets and such have none. */
function nameOf(opened: string): string | undefined {
  const path = whileThere(() => rawFromBytes(readlinkSync(opened, { encoding: 'buffer' }))) ?? ''
  if (!path.startsWith('/')) return undefined
  return path.slice(path.lastIndexOf('/') + 1).replace(/ \(deleted\)$/, '')
}

function thingOf({ deviceId, inode }: Pick<FileStatus, 'deviceId' | 'inode'>): string {
  return `${deviceId}:${inode}`
}

/** A look at a file of a server that does not answer would never end: only at what has a name that was asked for. */
function openedThing(opened: string): string | undefined {
  return whileThere(() => {
    const { dev, ino } = statSync(opened, { bigint: true })
    return thingOf({ deviceId: dev, inode: ino })
  })
}

/** The flags of open(2), in octal (proc(5)). */
function isForWriting(info: string): boolean {
  const flags = whileThere(() => /^flags:\s*([0-7]+)$/m.exec(readFileSync(info, 'latin1'))?.[1])
  return flags !== undefined && (Number.parseInt(flags, 8) & accessBits) !== 0
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
