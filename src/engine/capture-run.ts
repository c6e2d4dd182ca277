// What one capture is asked for, and what it knows while it runs.
import type { Reporter } from '../base/progress.ts'
import { printable } from '../base/raw-text.ts'
import type { Fidelity, PathProblem } from '../model/entry.ts'
import type { TreeId } from '../model/ids.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Source } from '../source/source.ts'
import type { Repository } from '../store/store.ts'
import type { CapturedFiles } from './captured-files.ts'
import type { Excluded, ExclusionRules } from './exclusion.ts'
import type { FolderMemory } from './folder-memory.ts'
import type { Listing } from './listing.ts'
import type { Row } from './listing-row.ts'

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
  /** What this computer remembers of its folders, when that still holds. */
  readonly memory?: FolderMemory | undefined
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

/** Changes as the capture goes on. */
export interface Run {
  readonly request: CaptureRequest
  readonly listing: Listing
  /** What is known beyond the listing: what was read, and what was taken over in folders in which something changed. */
  readonly files: CapturedFiles
  /** Folders that are with all below as the base has them. */
  readonly trees: Map<Row, TreeId>
  /** Of some of these folders (capture-decide.ts). */
  readonly fingerprints: Map<Row, string>
  readonly excluded: Excluded[]
  readonly problems: Map<RawPath, PathProblem>
  /** Folders above the roots. */
  readonly above: Set<Row>
  readonly mounts: { path: RawPath; type: string }[]
  readonly scanStartedNs: bigint
  filesRead: number
  bytesRead: number
  warned: boolean
}

export function addProblem(run: Run, path: RawPath, problem: PathProblem['problem'], message?: string): void {
  run.problems.set(path, {
    path: printable(path),
    raw: Buffer.from(path, 'latin1').toString('base64'),
    problem,
    ...(message === undefined ? {} : { message }),
  })
}

/** A path without its content is no part of the entry; whatever lies below it goes with it. */
export function forget(run: Run, path: RawPath): void {
  const row = run.listing.find(path)
  if (row < 0) return
  for (const below of run.listing.below(row)) run.files.delete(below)
  run.listing.remove(row)
}

/** What was listed below a folder that is none any more. */
export function forgetBelow(run: Run, path: RawPath): void {
  const row = run.listing.find(path)
  if (row < 0) return
  for (const child of [...run.listing.children(row)]) {
    for (const below of run.listing.below(child)) run.files.delete(below)
    run.listing.remove(child)
  }
}
