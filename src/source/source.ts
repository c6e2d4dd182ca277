// The face of a machine's files: where entries come from and go back to. Names are bytes and stay bytes.
import type { RawText } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Attributes, Segment } from '../model/tree.ts'
import type { Fidelity } from '../model/entry.ts'
import type { ListedPath } from '../wire/folder-reader.ts'
import type { LocalCalls } from './local-walk.ts'
import type { Extent } from '../wire/tar-sparse.ts'

export interface Scanned {
  readonly kind: 'item'
  readonly path: RawPath
  readonly attributes: Attributes
}
export interface ScanProblem {
  readonly kind: 'problem'
  readonly path: RawPath
  readonly problem: 'unreadable' | 'vanished' | 'dead-mount'
  readonly message: string
}
/** A mount point below a root: its folder is recorded, nothing below it is read. */
export interface ScannedMount {
  readonly kind: 'mount'
  readonly path: RawPath
  readonly type: string
}
/** Names of users and groups by their numbers. */
export interface OwnerNames {
  readonly users: ReadonlyMap<number, RawText>
  readonly groups: ReadonlyMap<number, RawText>
}
export type ScanRecord = Scanned | ScanProblem | ScannedMount

/** Takes paths as they are found, each once, parents before children. */
export interface ListedSink {
  /** What is added next lies directly in this folder, which was given before. */
  enter(folder: RawPath): void
  /** Not kept by the sink: the object serves the next one, too. */
  add(path: ListedPath): void
}

export interface ScanRequest {
  /** Folders or files to list with everything below, each kept to its own file system. A missing one is a `vanished` problem. */
  readonly roots: readonly RawPath[]
  /** Folders never entered (they are still listed themselves). */
  readonly prune?: readonly RawPath[]
  /** The times that are listed will be relied on: what programs change from now on must give files new ones. */
  readonly settle?: boolean
  /** Told at the end who the owners are, whose names the records need not have. */
  readonly onOwners?: (names: OwnerNames) => void
  /** Takes most items in place of records, which is quicker. Records stand for what is not given to it. */
  readonly sink?: ListedSink
  /** Given by a source of this computer to the one that it stands on: a sink is then filled by this process itself. */
  readonly calls?: LocalCalls
  readonly signal?: AbortSignal | undefined
}

export interface ReadFile {
  readonly kind: 'file'
  readonly path: RawPath
  /** As found when it was read: link target and extended attributes are known here at the latest. */
  readonly attributes: Attributes
  /** For another name of a file that this stream has already carried: no segments follow. */
  readonly hardLinkTo?: RawPath
  /** Must be read to its end before the next record is asked for. Empty for everything that is not a regular file. */
  segments(): AsyncIterable<Segment>
}
export type ReadRecord = ReadFile | ScanProblem

export interface Digest {
  readonly path: RawPath
  /** SHA-256 of the content, lower-case hex; undefined when it could not be read. */
  readonly sha256: string | undefined
}

export interface WriteItem {
  readonly path: RawPath
  readonly attributes: Attributes
  /** For another name of a file that this write has already carried (or that already stands there unchanged). */
  readonly hardLinkTo?: RawPath
  /** Where data lies, ascending and apart, when that is known ahead: only then do holes become holes again. */
  readonly extents?: readonly Extent[]
  /** Content of a regular file; its lengths add up to `attributes.size`. Items behind this one may have been taken before it is asked for. */
  segments(): AsyncIterable<Segment>
}

export interface PathFailure {
  readonly path: RawPath
  readonly message: string
}

export interface LocalFiles {
  /** Where each thread may try out on a small file what the system can do. */
  readonly temporaryFolder: string
}

/** Reads and writes the files of one machine. One user of it at a time. */
export interface Source extends AsyncDisposable {
  /** Set where they are files of this computer that this process can read itself, with all that the machine's tools tell. */
  readonly local?: LocalFiles
  /** What this machine's tools can tell and keep. */
  readonly fidelity: Fidelity
  /** Nanoseconds since the epoch on the machine's own clock. */
  clockNs(signal?: AbortSignal): Promise<bigint>
  /** Parents before children, otherwise in any order. `/proc/self/mountinfo` decides on mounts; a mount that does not answer within 5 s is `dead-mount`. */
  scan(request: ScanRequest): AsyncIterable<ScanRecord>
  /** The attributes of exactly these paths, links not followed; a missing one is a `vanished` problem. */
  stat(paths: readonly RawPath[], signal?: AbortSignal): AsyncIterable<ScanRecord>
  /**
   * Content and full attributes of exactly these paths (folders without what is in them); FIFOs are never opened.
   * Sockets must not be asked for. A problem for a path that has come already takes its content back.
   */
  read(paths: readonly RawPath[], signal?: AbortSignal): AsyncIterable<ReadRecord>
  /** SHA-256 of regular files, computed on the machine. */
  digest(paths: readonly RawPath[], signal?: AbortSignal): AsyncIterable<Digest>
  /**
   * Removes these paths and nothing else: files and links are unlinked, folders removed only when empty.
   * Given deepest first. No component is followed if it is a link: such a path fails.
   */
  remove(paths: readonly RawPath[], signal?: AbortSignal): Promise<readonly PathFailure[]>
  /**
   * Writes items in the given order (parents before children); what stands at a path is replaced, a folder keeps
   * its content. Before the first byte every folder on the way that is not itself written must be a real folder
   * (`conflict` otherwise, nothing changed). Times and modes of folders are set last. A write that is cut off can be repeated.
   */
  write(
    items: AsyncIterable<WriteItem>,
    parents: readonly RawPath[],
    signal?: AbortSignal,
  ): Promise<readonly PathFailure[]>
}
