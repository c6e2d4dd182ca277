// Reads the files of a machine into the store: scan, decide what changed, read only that, prove that it held still.
import { isFailure, VmlError } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import { printable } from '../base/raw-text.ts'
import type { CachePart, EntryDocument, EntryStatistics, Fidelity, PathProblem } from '../model/entry.ts'
import type { BlobId, TreeId } from '../model/ids.ts'
import { parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Attributes, TreeNode } from '../model/tree.ts'
import type { ReadFile, ScanProblem, ScanRecord, Source } from '../source/source.ts'
import type { Repository, Writer } from '../store/store.ts'
import {
  applyExclusion,
  cacheTagName,
  cacheTagSignature,
  type Excluded,
  type ExclusionRules,
  ignoreFileBytesMax,
  ignoreFileName,
  openExclusion,
} from './exclusion.ts'
import { Listing } from './listing.ts'
import { openTreeReader, type TreeReader } from './tree-reader.ts'

export interface CaptureRoot {
  readonly path: RawPath
  readonly why: 'home' | 'include' | 'only' | 'cache' | 'safety'
  /** Of a cache part. */
  readonly name?: string
}

/** The entry that unchanged files are taken over from. */
export interface CaptureBase {
  readonly repository: Repository
  readonly tree: TreeId
  /** When its scan began, on the machine's clock. */
  readonly scanStartedNs: bigint
  readonly fidelity: Fidelity
}

export interface CaptureRequest {
  readonly source: Source
  readonly base?: CaptureBase
  readonly roots: readonly CaptureRoot[]
  readonly never: ExclusionRules['never']
  readonly exclude: readonly string[]
  readonly defaults: boolean
  /** Exactly these paths instead of everything below the roots: for a safety entry. No rule leaves any of them out. */
  readonly exactly?: readonly RawPath[]
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
}

export interface CapturedFile {
  readonly attributes: Attributes
  readonly content?: readonly BlobId[]
}

export interface Captured {
  /** What the tree is built from: every path of the roots and the folders above them. */
  readonly files: ReadonlyMap<RawPath, CapturedFile>
  readonly excluded: readonly Excluded[]
  readonly problems: readonly PathProblem[]
  readonly mounts: readonly { readonly path: RawPath; readonly type: string }[]
  readonly caches: readonly CachePart[]
  readonly scanStartedNs: bigint
  readonly statistics: EntryStatistics
  /** Some paths that should be there are not. */
  readonly partial: boolean
}

/** A file that changes while it is read is read this often, then kept with a warning. */
const readsMax = 3
/** The clock that stamps files ticks every 4 to 10 ms even where time is told in nanoseconds. */
const clockTickNs = 20_000_000n
/** ext3, ext4 with small inodes and many servers stamp whole seconds, FAT every other one. */
const coarseTickNs = 2_000_000_000n
const nsPerSecond = 1_000_000_000n

export async function capture(request: CaptureRequest, writer: Writer): Promise<Captured> {
  const run = await scanRoots(request)
  if (!request.exactly) {
    requireRoots(run)
    await applyRules(run)
  }
  await addFoldersAbove(run)
  const changed = await decideChanged(run, (id) => writer.hasBlob('data', id))
  await readChanged(run, writer, changed)
  return finish(run)
}

/** A machine looked at, without reading a file: what `capture` would find and read. */
export interface Survey {
  /** Changed files have no content here. */
  readonly files: ReadonlyMap<RawPath, CapturedFile>
  /** What would be read. */
  readonly changed: readonly RawPath[]
  readonly excluded: readonly Excluded[]
  readonly problems: readonly PathProblem[]
  readonly mounts: readonly { readonly path: RawPath; readonly type: string }[]
}

/** Nothing is read but the rule files, nothing is stored. */
export async function survey(request: CaptureRequest): Promise<Survey> {
  const run = await scanRoots(request)
  requireRoots(run)
  await applyRules(run)
  await addFoldersAbove(run)
  const changed = await decideChanged(run, () => true)
  for (const path of changed) {
    const attributes = run.listing.get(path)?.attributes
    if (attributes) run.files.set(path, { attributes })
  }
  return {
    files: run.files,
    changed,
    excluded: run.excluded,
    problems: [...run.problems.values()],
    mounts: run.mounts,
  }
}

interface Run {
  readonly request: CaptureRequest
  readonly listing: Listing
  readonly files: Map<RawPath, CapturedFile>
  readonly excluded: Excluded[]
  readonly problems: Map<RawPath, PathProblem>
  /** Folders above the roots. */
  readonly above: Set<RawPath>
  readonly mounts: { path: RawPath; type: string }[]
  readonly scanStartedNs: bigint
  filesRead: number
  bytesRead: number
  warned: boolean
}

async function scanRoots(request: CaptureRequest): Promise<Run> {
  const { source, signal } = request
  const run: Run = {
    request,
    listing: new Listing(),
    files: new Map(),
    excluded: [],
    problems: new Map(),
    above: new Set(),
    mounts: [],
    scanStartedNs: await source.clockNs(signal),
    filesRead: 0,
    bytesRead: 0,
    warned: false,
  }
  const records = request.exactly
    ? source.stat(request.exactly, signal)
    : source.scan({
        roots: request.roots.map((root) => root.path),
        prune: request.never.map((each) => each.path),
        signal,
      })
  for await (const record of records) {
    takeScanned(run, record)
    if (run.listing.size % 1000 === 0) {
      request.reporter.progress({ phase: 'scanning', filesDone: run.listing.size })
    }
  }
  return run
}

/** A root that is not there is a mistake of the request, not an empty entry. */
function requireRoots(run: Run): void {
  for (const { path } of run.request.roots) {
    const problem = run.problems.get(path)?.problem
    if (run.listing.get(path) || (problem !== undefined && problem !== 'vanished')) continue
    throw new VmlError('not-found', `Cannot save "${printable(path)}": the machine has no such path`, {
      hint: 'Nothing was stored. Check the path, or leave it out',
    })
  }
}

function takeScanned(run: Run, record: ScanRecord): void {
  if (record.kind === 'item') {
    if (record.attributes.type === 'socket') addProblem(run, record.path, 'socket')
    else run.listing.add(record.path, record.attributes)
  } else if (record.kind === 'mount') {
    run.mounts.push({ path: record.path, type: record.type })
  } else addProblem(run, record.path, record.problem, record.message)
}

function addProblem(run: Run, path: RawPath, problem: PathProblem['problem'], message?: string): void {
  run.problems.set(path, {
    path: printable(path),
    raw: Buffer.from(path, 'latin1').toString('base64'),
    problem,
    ...(message === undefined ? {} : { message }),
  })
}

async function applyRules(run: Run): Promise<void> {
  const { request, listing } = run
  const rules: ExclusionRules = {
    never: request.never,
    exclude: request.exclude,
    defaults: request.defaults,
    ...(await readRuleFiles(run)),
  }
  // Inner roots first: what the user named stays, whatever the rules of the folder around it say.
  const kept = new Map<RawPath, Attributes>()
  const done = new Set<RawPath>()
  const gone = new Set<RawPath>()
  for (const root of [...request.roots].sort((a, b) => b.path.length - a.path.length)) {
    const left = applyExclusion(listing, root.path, openExclusion(rules, root.path, root.why !== 'home'))
    refuseNever(root, left)
    for (const each of left) {
      if (isBelowAny(each.path, done)) continue
      gone.add(each.path)
      run.excluded.push(each)
    }
    for (const item of listing.below(root.path)) kept.set(item.path, item.attributes)
    done.add(root.path)
  }
  for (const [path, attributes] of [...kept].sort(([a], [b]) => a.length - b.length))
    listing.add(path, attributes)
  // A problem inside an excluded folder is nobody's concern, unless it is inside a root within that folder.
  for (const path of run.problems.keys()) if (isOutside(path, gone, done)) run.problems.delete(path)
}

/** Who asks for nothing but what is never captured must not be told that it was saved. */
function refuseNever(root: CaptureRoot, left: readonly Excluded[]): void {
  const rule = root.why === 'home' ? undefined : left.find(({ path }) => path === root.path)?.rule
  if (rule === undefined) return
  throw new VmlError('usage', `Cannot save "${printable(root.path)}": ${rule}`, {
    hint: 'Nothing was stored. Leave it out',
  })
}

function isBelowAny(path: RawPath, folders: ReadonlySet<RawPath>): boolean {
  for (let at = path; ; at = parentPath(at)) {
    if (folders.has(at)) return true
    if (at === rootPath) return false
  }
}

/** Whether an excluded folder comes before a root on the way up. */
function isOutside(path: RawPath, gone: ReadonlySet<RawPath>, roots: ReadonlySet<RawPath>): boolean {
  for (let at = path; ; at = parentPath(at)) {
    if (gone.has(at)) return true
    if (roots.has(at) || at === rootPath) return false
  }
}

async function readRuleFiles(run: Run): Promise<Pick<ExclusionRules, 'ignoreFiles' | 'cacheFolders'>> {
  const ignoreFiles = new Map<RawPath, Uint8Array>()
  const cacheFolders = new Set<RawPath>()
  const wanted: RawPath[] = []
  for (const { path, attributes } of run.listing.items()) {
    if (attributes.type !== 'file') continue
    const isRules = path.endsWith(`/${ignoreFileName}`) || path.endsWith(`/${cacheTagName}`)
    if (isRules && (attributes.size ?? 0) <= ignoreFileBytesMax) wanted.push(path)
  }
  if (wanted.length === 0) return { ignoreFiles, cacheFolders }
  for await (const record of run.request.source.read(wanted, run.request.signal)) {
    if (record.kind !== 'file' || record.attributes.type !== 'file') continue
    const content = await collect(record)
    if (record.path.endsWith(`/${ignoreFileName}`)) ignoreFiles.set(parentPath(record.path), content)
    else if (content.toString('latin1').startsWith(cacheTagSignature))
      cacheFolders.add(parentPath(record.path))
  }
  return { ignoreFiles, cacheFolders }
}

async function collect(file: ReadFile): Promise<Buffer> {
  const parts: Uint8Array[] = []
  let length = 0
  for await (const segment of file.segments()) {
    const bytes =
      segment.kind === 'data'
        ? Buffer.from(segment.bytes)
        : Buffer.alloc(Math.min(segment.length, ignoreFileBytesMax))
    length += bytes.length
    if (length <= ignoreFileBytesMax) parts.push(bytes)
  }
  return Buffer.concat(parts)
}

/** The folders from `/` down to each path, so that a plain restore of the tree gives them their own modes and owners. */
async function addFoldersAbove(run: Run): Promise<void> {
  const missing = new Set<RawPath>()
  for (const path of run.listing.paths()) {
    for (
      let folder = parentPath(path);
      folder !== rootPath && !run.listing.get(folder) && !missing.has(folder);
    ) {
      missing.add(folder)
      folder = parentPath(folder)
    }
  }
  if (missing.size === 0) return
  for (const path of missing) run.above.add(path)
  const wanted = [...missing].sort((a, b) => a.length - b.length)
  for await (const record of run.request.source.stat(wanted, run.request.signal)) {
    if (record.kind === 'item' && record.attributes.type === 'dir')
      run.listing.add(record.path, record.attributes)
  }
}

/** Takes over what the base proves to be unchanged (design decision 5) and returns the rest, parents first. */
async function decideChanged(run: Run, isStored: (blob: BlobId) => boolean): Promise<RawPath[]> {
  const { base } = run.request
  const changed: RawPath[] = []
  const reader = base ? openTreeReader(base.repository, base.tree, run.request.signal) : undefined
  for (const { path, attributes } of run.listing.items()) {
    const node = reader ? await nodeOf(run, reader, path) : undefined
    // Content that the logbook has lost is read again, so that this entry at least has it.
    const isWhole = node?.content?.every(isStored) ?? true
    if (base && node && isWhole && isUnchanged(node, attributes, base, run.request.source.fidelity)) {
      run.files.set(path, takeOver(node, attributes))
    } else changed.push(path)
  }
  return changed.sort(comparePaths)
}

/** A folder of the base that cannot be read costs time, not the save: what lies in it is read again. */
async function nodeOf(run: Run, reader: TreeReader, path: RawPath): Promise<TreeNode | undefined> {
  try {
    return await reader.node(path)
  } catch (error) {
    if (!isDamage(error)) throw error
    if (!run.warned) {
      run.request.reporter.warn({
        warning: `The entry before is damaged (${error.message}): what it does not tell is read again; see vml check`,
      })
    }
    run.warned = true
    return undefined
  }
}

function isDamage(error: unknown): error is VmlError {
  return isFailure(
    error,
    'integrity.format',
    'integrity.hash',
    'integrity.mac',
    'integrity.missing',
    'integrity.truncated',
  )
}

function comparePaths(left: RawPath, right: RawPath): number {
  return left < right ? -1 : left > right ? 1 : 0
}

/**
 * Equal type, mode, owner, size, mtime, ctime and inode at the finest resolution that both scans had; and nothing that may have
 * changed in the same tick of the clock after the base looked at it.
 */
export function isUnchanged(
  node: TreeNode,
  now: Attributes,
  base: Pick<CaptureBase, 'scanStartedNs' | 'fidelity'>,
  fidelity: Fidelity,
): boolean {
  if (node.type !== now.type || node.mode !== now.mode || node.uid !== now.uid || node.gid !== now.gid)
    return false
  if (now.type === 'file' && node.size !== now.size) return false
  if (now.type === 'symlink' && now.linkTarget !== undefined && node.linkTarget !== now.linkTarget)
    return false
  if (node.device !== now.device && node.device !== undefined && now.device !== undefined) return false
  // A base that could not record what can be recorded now (no GNU tar then) is read again.
  if ((fidelity.xattrs && !base.fidelity.xattrs) || (fidelity.acls && !base.fidelity.acls)) return false
  if (node.ctimeNs === undefined || now.ctimeNs === undefined) return false
  if (node.inode === undefined || node.inode !== now.inode) return false
  const resolution = BigInt(Math.max(fidelity.timeResolutionNs, base.fidelity.timeResolutionNs, 1))
  if (!sameTime(node.mtimeNs, now.mtimeNs, resolution) || !sameTime(node.ctimeNs, now.ctimeNs, resolution))
    return false
  return isSettled(node.ctimeNs, base.scanStartedNs - resolution - clockTickNs)
}

/**
 * Whether a path of this ctime cannot have been changed again in the same tick after a scan saw it. The machine's tools
 * tell nanoseconds whatever the file system keeps: a stamp of a whole second is taken for one of a coarse file system.
 */
export function isSettled(ctimeNs: bigint, beforeNs: bigint): boolean {
  return ctimeNs < beforeNs - (ctimeNs % nsPerSecond === 0n ? coarseTickNs : 0n)
}

/** For `isSettled`: what a scan allows for, where the file system stamps as finely as the machine's tools tell. */
export function settledBefore(scan: EntryDocument['scan'], fidelity: Fidelity): bigint {
  return (
    BigInt(scan.startedNs) - BigInt(Math.max(scan.resolutionNs, fidelity.timeResolutionNs, 1)) - clockTickNs
  )
}

export function sameTime(left: bigint, right: bigint, resolutionNs: bigint): boolean {
  return resolutionNs <= 1n ? left === right : floorTo(left, resolutionNs) === floorTo(right, resolutionNs)
}

function floorTo(time: bigint, resolution: bigint): bigint {
  const rest = time % resolution
  return rest < 0n ? time - rest - resolution : time - rest
}

function takeOver(node: TreeNode, now: Attributes): CapturedFile {
  const attributes: Attributes = {
    ...now,
    mtimeNs: node.mtimeNs,
    ...(node.ctimeNs === undefined ? {} : { ctimeNs: node.ctimeNs }),
    ...(node.linkTarget === undefined ? {} : { linkTarget: node.linkTarget }),
    ...(node.xattrs === undefined ? {} : { xattrs: node.xattrs }),
    ...(node.device === undefined ? {} : { device: node.device }),
  }
  return node.content === undefined ? { attributes } : { attributes, content: node.content }
}

/** Reads in rounds: what moved while it was read is read again, and kept with a warning after the last round. */
async function readChanged(run: Run, writer: Writer, changed: readonly RawPath[]): Promise<void> {
  let wanted = changed
  for (let round = 1; wanted.length > 0; round++) {
    const read = await readOnce(run, writer, wanted)
    const moved = await findMoved(run, read)
    if (round === readsMax) {
      for (const path of moved) {
        addProblem(run, path, 'changed-while-read')
        run.request.reporter.warn({
          warning: 'Changed while it was read; kept as it was read last',
          item: printable(path),
        })
      }
      return
    }
    wanted = moved
  }
}

async function readOnce(run: Run, writer: Writer, wanted: readonly RawPath[]): Promise<RawPath[]> {
  const { source, reporter, signal } = run.request
  const asked = new Set(wanted)
  const regular: RawPath[] = []
  const links: { path: RawPath; to: RawPath; attributes: Attributes }[] = []
  const bytesTotal = wanted.reduce((sum, path) => sum + (run.listing.get(path)?.attributes.size ?? 0), 0)
  let filesDone = 0
  for await (const record of source.read(wanted, signal)) {
    const isFirst = asked.delete(record.path)
    if (record.kind !== 'file') {
      // It may follow the file itself: then the content that came is not the file's.
      takeUnread(run, record)
      continue
    }
    if (!isFirst) continue
    const attributes = merged(run, record)
    if (attributes.type !== 'dir') forgetBelow(run, record.path)
    if (record.hardLinkTo !== undefined) links.push({ path: record.path, to: record.hardLinkTo, attributes })
    else if (attributes.type === 'file') {
      run.files.set(record.path, await storeFile(writer, record, attributes, run))
    } else run.files.set(record.path, { attributes })
    if (attributes.type === 'file') regular.push(record.path)
    reporter.progress({
      phase: 'reading',
      filesDone: ++filesDone,
      filesTotal: wanted.length,
      bytesDone: run.bytesRead,
      bytesTotal,
      item: printable(record.path),
    })
  }
  for (const { path, to, attributes } of links) takeLink(run, path, to, attributes)
  for (const path of asked) {
    addProblem(run, path, 'unreadable', 'The machine did not send it')
    forget(run, path)
  }
  return regular
}

/** A folder that cannot be opened keeps what the scan knows of it; what is above the roots is no loss at all. */
function takeUnread(run: Run, record: ScanProblem): void {
  const { path, problem, message } = record
  const scanned = run.listing.get(path)?.attributes
  if (scanned?.type === 'dir' && problem !== 'vanished') {
    run.files.set(path, { attributes: scanned })
    if (!run.above.has(path)) addProblem(run, path, problem, message)
    return
  }
  addProblem(run, path, problem, message)
  forget(run, path)
}

/** A path without its content is no part of the entry; whatever lies below it goes with it. */
function forget(run: Run, path: RawPath): void {
  forgetBelow(run, path)
  run.files.delete(path)
  run.listing.remove(path)
}

/** What was listed below a folder that is none any more. */
function forgetBelow(run: Run, path: RawPath): void {
  const item = run.listing.get(path)
  if (!item || item.children.size === 0) return
  for (const child of [...item.children.values()]) {
    for (const { path: below } of run.listing.below(child.path)) run.files.delete(below)
    run.listing.remove(child.path)
  }
}

/** The scan knows inode, ctime and owner's names; the stream knows link targets, attributes and finer times. */
function merged(run: Run, record: ReadFile): Attributes {
  const scanned = run.listing.get(record.path)?.attributes
  const { linkTarget, xattrs, mtimeNs, device } = record.attributes
  // Another name of a link or FIFO comes as no type of its own.
  const isSame = scanned?.type === record.attributes.type || record.hardLinkTo !== undefined
  if (!scanned || !isSame) {
    addProblem(run, record.path, 'changed-while-read', 'It became a file of another type')
    return record.attributes
  }
  if (record.hardLinkTo !== undefined) return scanned
  return {
    ...scanned,
    mtimeNs: finerTime(scanned.mtimeNs, mtimeNs),
    ...(device === undefined ? {} : { device }),
    ...(linkTarget === undefined ? {} : { linkTarget }),
    ...(xattrs === undefined || xattrs.length === 0 ? {} : { xattrs }),
  }
}

/** Where the scan tells whole seconds and the stream more, the stream's time is the file's. */
function finerTime(scanned: bigint, streamed: bigint): bigint {
  return scanned % nsPerSecond === 0n && floorTo(streamed, nsPerSecond) === scanned ? streamed : scanned
}

async function storeFile(
  writer: Writer,
  record: ReadFile,
  attributes: Attributes,
  run: Run,
): Promise<CapturedFile> {
  const sink = writer.openFile()
  try {
    for await (const segment of record.segments()) {
      run.bytesRead += segment.kind === 'data' ? segment.bytes.length : segment.length
      await sink.write(segment)
    }
    const stored = await sink.finish()
    run.filesRead++
    return { attributes: { ...attributes, size: stored.size }, content: stored.content }
  } catch (error) {
    sink.abort()
    throw error
  }
}

function takeLink(run: Run, path: RawPath, to: RawPath, attributes: Attributes): void {
  const target = run.files.get(to)
  if (!target || target.attributes.type !== attributes.type) {
    addProblem(run, path, 'unreadable', `The file it is another name of was not read`)
    forget(run, path)
    return
  }
  const { size, linkTarget, device, xattrs, mtimeNs } = target.attributes
  run.files.set(path, {
    attributes: {
      ...attributes,
      mtimeNs,
      ...(size === undefined ? {} : { size }),
      ...(linkTarget === undefined ? {} : { linkTarget }),
      ...(device === undefined ? {} : { device }),
      ...(xattrs === undefined ? {} : { xattrs }),
    },
    ...(target.content === undefined ? {} : { content: target.content }),
  })
}

/** Looks again at what was read; the newer attributes count, and a file that moved is named. */
async function findMoved(run: Run, read: readonly RawPath[]): Promise<RawPath[]> {
  const { source, signal } = run.request
  const moved: RawPath[] = []
  if (read.length === 0) return moved
  const resolution = BigInt(Math.max(source.fidelity.timeResolutionNs, 1))
  for await (const record of source.stat(read, signal)) {
    if (record.kind === 'mount') continue
    if (record.kind === 'problem') {
      takeScanned(run, record)
      forget(run, record.path)
      continue
    }
    const before = run.listing.get(record.path)?.attributes
    const file = run.files.get(record.path)
    if (!before || !file) continue
    if (heldStill(before, record.attributes, file.attributes.size, resolution)) continue
    run.listing.add(record.path, record.attributes)
    moved.push(record.path)
  }
  return moved
}

function heldStill(
  before: Attributes,
  after: Attributes,
  readBytes: number | undefined,
  resolution: bigint,
): boolean {
  return (
    before.type === after.type &&
    before.inode === after.inode &&
    after.size === readBytes &&
    sameTime(before.mtimeNs, after.mtimeNs, resolution) &&
    (before.ctimeNs === undefined ||
      after.ctimeNs === undefined ||
      sameTime(before.ctimeNs, after.ctimeNs, resolution))
  )
}

function finish(run: Run): Captured {
  const { request } = run
  let files = 0
  let folders = 0
  let others = 0
  let bytes = 0
  for (const { attributes } of run.files.values()) {
    if (attributes.type === 'file') {
      files++
      bytes += attributes.size ?? 0
    } else if (attributes.type === 'dir') folders++
    else others++
  }
  const problems = [...run.problems.values()]
  return {
    files: run.files,
    excluded: run.excluded,
    problems,
    mounts: run.mounts,
    caches: request.roots.filter((root) => root.why === 'cache').map((root) => describeCache(run, root)),
    scanStartedNs: run.scanStartedNs,
    statistics: { files, folders, others, bytes, filesRead: run.filesRead, bytesRead: run.bytesRead },
    partial: problems.some(({ problem }) => problem === 'unreadable' || problem === 'dead-mount'),
  }
}

function describeCache(run: Run, root: CaptureRoot): CachePart {
  let files = 0
  let bytes = 0
  for (const { attributes } of run.listing.below(root.path)) {
    if (attributes.type !== 'file') continue
    files++
    bytes += attributes.size ?? 0
  }
  return {
    name: root.name ?? '',
    path: printable(root.path),
    raw: Buffer.from(root.path, 'latin1').toString('base64'),
    files,
    bytes,
  }
}
