// Reads the files of a machine into the store: scan, decide what changed, read only that, prove that it held still.
import { printable } from '../base/raw-text.ts'
import type { CachePart, EntryStatistics, PathProblem } from '../model/entry.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Writer } from '../store/store.ts'
import { readChanged } from './capture-read.ts'
import type { CapturedFile, CaptureRequest, CaptureRoot, Run } from './capture-run.ts'
import { addFoldersAbove, applyRules, decideChanged, requireRoots, scanRoots } from './capture-scan.ts'
import type { Excluded } from './exclusion.ts'

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
