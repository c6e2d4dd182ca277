// Reads the files of a machine into the store: scan, decide what changed, read only that, prove that it held still.
import { printable } from '../base/raw-text.ts'
import { keepHeapSmall } from '../base/sweep.ts'
import type { CachePart, EntryStatistics, PathProblem } from '../model/entry.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Writer } from '../store/store.ts'
import { freeMemory, returnLargePieces } from '../wire/free-memory.ts'
import { readChanged } from './capture-read.ts'
import type { CaptureRequest, CaptureRoot, Run } from './capture-run.ts'
import { type CapturedFile, CapturedFiles } from './captured-files.ts'
import { decideChanged } from './capture-decide.ts'
import { addFoldersAbove, applyRules, requireRoots, scanRoots } from './capture-scan.ts'
import type { Row } from './listing-row.ts'
import type { Excluded } from './exclusion.ts'

export interface Captured {
  /** What the tree is built from: the paths of the roots and the folders above them. */
  readonly run: Run
  readonly excluded: readonly Excluded[]
  readonly problems: readonly PathProblem[]
  readonly mounts: readonly { readonly path: RawPath; readonly type: string }[]
  readonly caches: readonly CachePart[]
  readonly scanStartedNs: bigint
  readonly statistics: EntryStatistics
  /** Some paths that should be there are not. */
  readonly partial: boolean
}

/** What is there, by the rules of the request. Nothing is read but the rule files, nothing is stored. */
export async function look(request: CaptureRequest): Promise<Run> {
  // Lists of paths grow by being copied, and what is read goes through few buffers that stay.
  if (request.source.local) returnLargePieces()
  const run = await scanRoots(request)
  if (!request.exactly) {
    requireRoots(run)
    await applyRules(run)
  }
  await addFoldersAbove(run)
  return run
}

/** So many are worth the time that it takes to tidy up after the scan. */
const manyChanged = 20_000

/** Of a machine that was looked at just now: what changes until its files are read is found out then. */
export async function capture(run: Run, writer: Writer): Promise<Captured> {
  const memory = run.request.base?.memory
  const changed = await decideChanged(run, {
    isStored: (id) => writer.hasBlob('data', id),
    isTreeStored: (id) => writer.hasBlob('tree', id),
    memory: memory && writer.hasAll(memory.indexes) ? memory : undefined,
  })
  if (changed.length >= manyChanged) {
    freeMemory()
    keepHeapSmall()
  }
  await readChanged(run, writer, changed)
  if (await writer.endLanes()) freeMemory()
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

/** Leaves the run as it is: it can be captured afterwards. */
export async function survey(looked: Run): Promise<Survey> {
  const run: Run = { ...looked, files: new CapturedFiles(looked.listing) }
  const changed = await decideChanged(run, {
    isStored: () => true,
    isTreeStored: () => true,
    everyPath: true,
  })
  return {
    files: filesOf(run, changed),
    changed: changed.map((row) => run.listing.path(row)),
    excluded: run.excluded,
    problems: [...run.problems.values()],
    mounts: run.mounts,
  }
}

/** Changed ones without content. */
function filesOf({ listing, files }: Run, changed: readonly Row[]): Map<RawPath, CapturedFile> {
  const found = new Map<RawPath, CapturedFile>()
  for (const row of files.rows()) {
    const file = files.get(row)
    if (file) found.set(listing.path(row), file)
  }
  for (const row of changed) found.set(listing.path(row), { attributes: listing.attributes(row) })
  return found
}

function finish(run: Run): Captured {
  const { request } = run
  const problems = [...run.problems.values()]
  return {
    run,
    excluded: run.excluded,
    problems,
    mounts: run.mounts,
    caches: request.roots.filter((root) => root.why === 'cache').map((root) => describeCache(run, root)),
    scanStartedNs: run.scanStartedNs,
    statistics: { ...count(run, run.listing.rows()), filesRead: run.filesRead, bytesRead: run.bytesRead },
    partial: problems.some(({ problem }) => problem === 'unreadable' || problem === 'dead-mount'),
  }
}

function count(
  { listing, files }: Run,
  rows: Iterable<Row>,
): Pick<EntryStatistics, 'files' | 'folders' | 'others' | 'bytes'> {
  const sum = { files: 0, folders: 0, others: 0, bytes: 0 }
  for (const row of rows) {
    if (!listing.isKnown(row)) continue
    if (listing.isFolder(row)) sum.folders++
    else if (listing.type(row) === 'file') {
      sum.files++
      sum.bytes += files.bytes(row)
    } else sum.others++
  }
  return sum
}

function describeCache(run: Run, root: CaptureRoot): CachePart {
  const row = run.listing.find(root.path)
  const { files, bytes } = row < 0 ? { files: 0, bytes: 0 } : count(run, run.listing.below(row))
  return {
    name: root.name ?? '',
    path: printable(root.path),
    raw: Buffer.from(root.path, 'latin1').toString('base64'),
    files,
    bytes,
  }
}
