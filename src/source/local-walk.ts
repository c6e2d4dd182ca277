// Walks folders of this computer by calls of the system, as `find -xdev` would: most paths go to a sink, what is out of the ordinary is told.
import { type BigIntStats, constants, lstatSync, readlinkSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import { describeSystemError } from '../base/system-error.ts'
import { baseName, joinPath, parentPath, type RawName, type RawPath } from '../model/raw-path.ts'
import type { Attributes, NodeType } from '../model/tree.ts'
import type { FolderReader, ListedPath } from '../wire/folder-reader.ts'
import { here, type Libc } from '../wire/libc.ts'
import type { WalkPlan } from './find-plan.ts'
import type { ListedSink, ScanProblem } from './source.ts'
import type { StatResult } from './stat.ts'

/** What it is done with. */
export interface LocalCalls {
  readonly libc: Libc
  readonly reader: FolderReader
}

/** Folders so deep below a start are left to somebody who need not keep all above them open. */
const depthMax = 100
/** The process looks after signals and other work at least so often, but for a folder of more names. */
const pathsAtOnce = 4096

const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

interface OpenFolder {
  readonly file: number
  /** In it, still to be entered. */
  readonly left: RawPath[]
}

interface Walk extends LocalCalls {
  readonly pruned: ReadonlySet<RawPath>
  readonly aroundPruned: ReadonlySet<RawPath>
  readonly sink: ListedSink
  /** Of the start. */
  readonly deviceId: bigint | undefined
  paths: number
}

/**
 * Parents before children. The start, what is pruned, sockets and folders of other file systems come as results, the sink takes the
 * rest. A start that cannot be looked at gives nothing. `tooDeep` is told of folders that were listed and not entered.
 */
export async function* walkHere(
  calls: LocalCalls,
  start: RawPath,
  options: Pick<WalkPlan, 'prune'> & {
    readonly sink: ListedSink
    readonly tooDeep: (path: RawPath) => void
    readonly signal: AbortSignal | undefined
  },
): AsyncIterable<StatResult | ScanProblem> {
  const { prune, sink, tooDeep, signal } = options
  const pruned = new Set(prune)
  const attributes = lookAt(start)
  if (attributes === undefined) return
  yield { path: start, verdict: pruned.has(start) ? 'pruned' : 'item', isEnd: false, attributes }
  if (attributes.type !== 'dir' || pruned.has(start)) return
  const { deviceId } = attributes
  const walk: Walk = {
    ...calls,
    pruned,
    aroundPruned: new Set(prune.map(parentPath)),
    sink,
    deviceId,
    paths: 0,
  }
  // From the start down to the folder that is being read: each is opened in the one above, so that no link can come between.
  const open: OpenFolder[] = []
  try {
    for (let next: RawPath | undefined = start; next !== undefined; next = nextFolder(walk, open)) {
      if (open.length >= depthMax) tooDeep(next)
      else yield* readFolder(walk, next, open)
      if (walk.paths < pathsAtOnce) continue
      walk.paths = 0
      await setImmediate()
      signal?.throwIfAborted()
    }
  } finally {
    for (const { file } of open) calls.libc.close(file)
  }
}

/** Closes what is done with. */
function nextFolder({ libc }: Walk, open: OpenFolder[]): RawPath | undefined {
  for (let folder = open.at(-1); folder; folder = open.at(-1)) {
    const next = folder.left.pop()
    if (next !== undefined) return next
    libc.close(folder.file)
    open.pop()
  }
  return undefined
}

/** What the sink does not take of it. Folders to be entered are left in the last one of `open`. */
function readFolder(walk: Walk, path: RawPath, open: OpenFolder[]): (StatResult | ScanProblem)[] {
  const { libc, reader, pruned, sink } = walk
  const told: (StatResult | ScanProblem)[] = []
  const left: RawPath[] = []
  const mayBePruned = walk.aroundPruned.has(path)
  let closed = false
  const found = (listed: ListedPath): void => {
    walk.paths++
    const isFolder = listed.type === 'dir'
    if (!isFolder && !mayBePruned && listed.type !== 'socket') {
      sink.add(listed)
      return
    }
    const child = joinPath(path, nameOf(listed))
    const isPruned = pruned.has(child)
    if (isPruned || listed.type === 'socket' || (isFolder && listed.deviceId !== walk.deviceId)) {
      const verdict = isPruned ? 'pruned' : 'item'
      told.push({ path: child, verdict, isEnd: false, attributes: attributesOf(listed) })
      return
    }
    sink.add(listed)
    if (isFolder) left.push(child)
  }
  const failed = (name: RawName, code: string): void => {
    // Where names can be read and nothing be looked at, the folder cannot be entered.
    if (code !== 'EACCES') told.push(problemOf(joinPath(path, name), code))
    else if (!closed) told.push(problemOf(path, code))
    closed ||= code === 'EACCES'
  }
  try {
    const above = open.at(-1)
    const file = above
      ? libc.openAt(above.file, baseName(path), folderFlags)
      : libc.openAt(here, path, folderFlags)
    open.push({ file, left })
    sink.enter(path)
    reader.list(file, { found, failed })
  } catch (error) {
    const code = codeOf(error)
    if (code === undefined) throw error
    told.push(problemOf(path, code))
  }
  // The last one is the next.
  left.reverse()
  return told
}

function problemOf(path: RawPath, code: string): ScanProblem {
  const problem = code === 'ENOENT' ? 'vanished' : 'unreadable'
  return { kind: 'problem', path, problem, message: describeSystemError(code) }
}

/** Of a failure of the system, not of one of ours. */
function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return /^E(?!RR_)[A-Z0-9]+$/.test(code) ? code : undefined
}

const nameOf = ({ names, nameStart, nameEnd }: ListedPath): RawName =>
  names.toString('latin1', nameStart, nameEnd) as RawName

const nsPerSecond = 1_000_000_000n

function attributesOf(listed: ListedPath): Attributes {
  const { type, mode, uid, gid, links, size, deviceId, linkTarget } = listed
  return {
    type,
    mode,
    uid,
    gid,
    mtimeNs: BigInt(listed.mtimeSeconds) * nsPerSecond + BigInt(listed.mtimeNanoseconds),
    ctimeNs: BigInt(listed.ctimeSeconds) * nsPerSecond + BigInt(listed.ctimeNanoseconds),
    inode: (BigInt(listed.inodeHigh) << 32n) | BigInt(listed.inodeLow),
    deviceId,
    links,
    ...(type === 'file' ? { size } : {}),
    ...(linkTarget === undefined || linkTarget === '' ? {} : { linkTarget }),
  }
}

function lookAt(path: RawPath): Attributes | undefined {
  try {
    const name = rawToBytes(path)
    const stat = lstatSync(name, { bigint: true })
    const type = typeOf(stat)
    return {
      type,
      mode: Number(stat.mode & 0o7777n),
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      mtimeNs: stat.mtimeNs,
      ctimeNs: stat.ctimeNs,
      inode: stat.ino,
      deviceId: stat.dev,
      links: Number(stat.nlink),
      ...(type === 'file' ? { size: Number(stat.size) } : {}),
      ...(type === 'symlink' ? { linkTarget: rawFromBytes(readlinkSync(name, 'buffer')) } : {}),
    }
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return undefined
  }
}

function typeOf(stat: BigIntStats): NodeType {
  if (stat.isFile()) return 'file'
  if (stat.isDirectory()) return 'dir'
  if (stat.isSymbolicLink()) return 'symlink'
  if (stat.isFIFO()) return 'fifo'
  if (stat.isSocket()) return 'socket'
  if (stat.isBlockDevice()) return 'dev'
  return stat.isCharacterDevice() ? 'chardev' : 'irregular'
}
