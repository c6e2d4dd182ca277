// The first look of a capture: what is there, what the rules leave out, what has changed since the base.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { nearestIn, parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { ReadFile, ScanRecord } from '../source/source.ts'
import { addProblem, type CaptureRequest, type CaptureRoot, type Run } from './capture-run.ts'
import { CapturedFiles } from './captured-files.ts'
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
import { type Row, rootRow } from './listing-row.ts'

export async function scanRoots(request: CaptureRequest): Promise<Run> {
  const { source, signal } = request
  const listing = new Listing()
  const run: Run = {
    request,
    listing,
    files: new CapturedFiles(listing),
    trees: new Map(),
    fingerprints: new Map(),
    excluded: [],
    problems: new Map(),
    above: new Set(),
    mounts: [],
    scanStartedNs: await source.clockNs(signal),
    filesRead: 0,
    bytesRead: 0,
    warned: false,
  }
  const tellProgress = (): void => {
    if (listing.size % 1000 === 0) request.reporter.progress({ phase: 'scanning', filesDone: listing.size })
  }
  const records = request.exactly
    ? source.stat(request.exactly, signal)
    : source.scan({
        roots: request.roots.map((root) => root.path),
        prune: request.never.map((each) => each.path),
        settle: true,
        onOwners: (names) => listing.nameOwners(names),
        sink: {
          enter: (folder) => listing.enter(folder),
          add(path) {
            listing.addListed(path)
            tellProgress()
          },
        },
        signal,
      })
  for await (const record of records) {
    if (record.kind === 'item' && record.attributes.type !== 'socket')
      run.listing.addNew(record.path, record.attributes)
    else takeScanned(run, record)
    tellProgress()
  }
  return run
}

/** A root that is not there is a mistake of the request, not an empty entry. */
export function requireRoots(run: Run): void {
  for (const { path } of run.request.roots) {
    const problem = run.problems.get(path)?.problem
    if (run.listing.find(path) >= 0 || (problem !== undefined && problem !== 'vanished')) continue
    throw new VmlError('not-found', `Cannot save "${printable(path)}": the machine has no such path`, {
      hint: 'Nothing was stored. Check the path, or leave it out',
    })
  }
}

export function takeScanned(run: Run, record: ScanRecord): void {
  if (record.kind === 'item') {
    if (record.attributes.type === 'socket') addProblem(run, record.path, 'socket')
    else run.listing.add(record.path, record.attributes)
  } else if (record.kind === 'mount') {
    run.mounts.push({ path: record.path, type: record.type })
  } else addProblem(run, record.path, record.problem, record.message)
}

export async function applyRules(run: Run): Promise<void> {
  const { request, listing } = run
  const rules: ExclusionRules = {
    never: request.never,
    exclude: request.exclude,
    defaults: request.defaults,
    ...(await readRuleFiles(run)),
  }
  // Inner roots first: what the user named stays, whatever the rules of the folder around it say.
  const done = new Set<RawPath>()
  const rows = new Set<Row>()
  const gone = new Set<RawPath>()
  for (const root of [...request.roots].sort((a, b) => b.path.length - a.path.length)) {
    const exclusion = openExclusion(rules, root.path, root.why !== 'home')
    const left = applyExclusion(listing, root.path, exclusion, rows)
    refuseNever(root, left)
    for (const each of left) {
      if (nearestIn(each.path, done) !== undefined) continue
      gone.add(each.path)
      run.excluded.push(each)
    }
    done.add(root.path)
    const row = listing.find(root.path)
    if (row >= 0) rows.add(row)
  }
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
  const { listing } = run
  for (const row of listing.rows()) {
    if (listing.type(row) !== 'file' || listing.bytes(row) > ignoreFileBytesMax) continue
    if (listing.isNamed(row, ignoreFileName) || listing.isNamed(row, cacheTagName))
      wanted.push(listing.path(row))
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
export async function addFoldersAbove(run: Run): Promise<void> {
  const { listing, request } = run
  const missing: RawPath[] = []
  for (const row of listing.rows()) {
    if (row === rootRow || !listing.isFolder(row) || listing.isKnown(row)) continue
    run.above.add(row)
    missing.push(listing.path(row))
  }
  if (missing.length === 0) return
  for await (const record of request.source.stat(missing, request.signal)) {
    if (record.kind === 'item' && record.attributes.type === 'dir')
      listing.add(record.path, record.attributes)
  }
}
