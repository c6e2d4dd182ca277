// An entry: one line of the logbook. What restic's snapshot has no field for stands in `/.vml/entry.json`.
import type { EntryId, SnapshotId, TreeId } from './ids.ts'
import type { ImageReference } from './machine.ts'

export type EntryKind = 'environment' | 'safety' | 'transaction'

/** Such an entry has single paths, what was there before something changed them: it speaks for no folder, and nobody means it by "the last one". */
export function holdsPathsOnly(kind: EntryKind | 'foreign' | undefined): boolean {
  return kind === 'safety' || kind === 'transaction'
}
/** What was read: everything, what changed since the entry before, or what changed since the last full one. */
export type CaptureMode = 'full' | 'incremental' | 'differential'

/** A snapshot file as the store reads and writes it (restic, doc/design.rst, "Snapshots"). */
export interface Snapshot {
  readonly id: SnapshotId
  /** RFC 3339, as written. */
  readonly time: string
  readonly tree: TreeId
  readonly parent?: SnapshotId
  readonly original?: SnapshotId
  readonly paths: readonly string[]
  readonly hostname: string
  readonly username: string
  readonly tags: readonly string[]
  /** As rustic writes it; other programs drop it. */
  readonly description?: string
  readonly programVersion?: string
  /** Other fields of restic (`uid`, `gid`, `excludes`, `summary`) or of foreign programs, kept when it is rewritten. */
  readonly otherFields?: Readonly<Record<string, unknown>>
}

export interface ExcludedPath {
  /** printable() form of the path. */
  readonly path: string
  /** The path's bytes, base64. */
  readonly raw: string
  /** The rule as the user can find it: `.vmlignore:3 *.o`, `default: browser caches`, `--exclude *.root`. */
  readonly rule: string
}

export interface PathProblem {
  readonly path: string
  readonly raw: string
  readonly problem: 'unreadable' | 'vanished' | 'changed-while-read' | 'socket' | 'mount' | 'dead-mount'
  readonly message?: string
}

export interface CachePart {
  readonly name: string
  readonly path: string
  readonly raw: string
  readonly files: number
  readonly bytes: number
}

/** What the machine's tools could tell and keep, so that proof compares exactly what was recorded. */
export interface Fidelity {
  readonly timeResolutionNs: number
  readonly ctime: boolean
  readonly inode: boolean
  readonly ownerNames: boolean
  readonly xattrs: boolean
  readonly acls: boolean
  readonly sparse: boolean
  /** Plain sentences on what could not be recorded, for `show`. */
  readonly notes: readonly string[]
}

export interface BaseFacts {
  /** `PRETTY_NAME` and the rest of /etc/os-release. */
  readonly os?: Readonly<Record<string, string>>
  readonly cernvmRelease?: string
  readonly kernel?: string
  readonly architecture?: string
  readonly hostname?: string
  readonly loginShell?: string
}

/** `/.vml/entry.json`, schema 1. Fields are only ever added. */
export interface EntryDocument {
  readonly schema: 1
  readonly kind: EntryKind
  readonly title: string
  readonly note: string
  readonly machine: string
  readonly project?: string
  readonly number: number
  readonly mode: CaptureMode
  readonly modeReason?: string
  /** The entry that unchanged files were taken over from. */
  readonly since?: EntryId
  /** RFC 3339. */
  readonly startedAt: string
  readonly user: {
    readonly name: string
    readonly uid: number
    readonly gid: number
    readonly home: string
    readonly homeRaw: string
  }
  readonly roots: readonly {
    readonly path: string
    readonly raw: string
    readonly why: 'home' | 'include' | 'only' | 'cache' | 'safety'
  }[]
  readonly image?: ImageReference & { readonly guessed: boolean; readonly sha256?: string }
  readonly facts: BaseFacts
  readonly scan: { readonly startedNs: string; readonly resolutionNs: number }
  readonly fidelity: Fidelity
  /** The rules in force beside the `.vmlignore` files of the tree; a restore never deletes what they match. */
  readonly rules: { readonly exclude: readonly string[]; readonly defaults: boolean }
  readonly excluded: readonly ExcludedPath[]
  readonly problems: readonly PathProblem[]
  readonly mounts: readonly { readonly path: string; readonly raw: string; readonly type: string }[]
  readonly cvmfs: readonly { readonly repository: string; readonly revision?: string }[]
  readonly caches: readonly CachePart[]
  readonly outcome: 'complete' | 'partial'
  readonly statistics: EntryStatistics
}

export interface EntryStatistics {
  readonly files: number
  readonly folders: number
  readonly others: number
  /** Logical bytes of all files. */
  readonly bytes: number
  readonly filesRead: number
  readonly bytesRead: number
}

/** A line of the log: the snapshot, seen as an entry. */
export interface Entry {
  readonly id: EntryId
  readonly snapshot: Snapshot
  readonly number?: number
  readonly machine: string
  readonly kind: EntryKind | 'foreign'
  readonly project?: string
  /** The user's own tags, without VML's. */
  readonly tags: readonly string[]
  readonly title: string
  readonly note: string
  readonly takenAt: Date
}

/** Where in the tree VML's own documents lie; the name is VML's alone and never captured from a guest. */
export const vmlFolder = '/.vml'
