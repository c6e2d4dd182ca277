// What an engine of transactions asks of a machine's package system, whichever it is: dpkg with apt, or rpm with dnf.
import type { Clock } from '../base/clock.ts'
import type { RawText } from '../base/raw-text.ts'
import type { InstalledPackage } from '../model/packages.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { PackageTransition, Validation } from '../model/transaction-record.ts'
import type { LockHolder } from '../wire/record-lock.ts'
import type { Shell } from '../wire/shell.ts'
import type { BrokenDependency } from './broken-dependency.ts'
import type { Consistency, UnfinishedPackage } from './dpkg-oracle.ts'

/** Where its programs are asked, and its files lie. */
export interface PackageHost {
  readonly shell: Shell
  /** Of the machine, as this host sees it. */
  readonly root: RawPath
  /** A folder of ours: private folders are made in it, and taken away again. */
  readonly state: RawPath
  readonly signal?: AbortSignal | undefined
}

/** A file as sources of old packages know it. */
export interface SourcedFile {
  readonly package: { readonly name: string; readonly version: string; readonly architecture: string }
  /** As the package names it. */
  readonly inside: RawPath
  /** Of the content in the package, where the system keeps that. */
  readonly md5?: string
}

export interface SourcedFiles {
  /** The file that lies there, where a package says that it brought it; whether it is as it came has to be compared. */
  fileOf(path: RawPath): SourcedFile | undefined
}

/** What it says of all packages at one moment. */
export interface PackageState {
  readonly manager: 'dpkg' | 'rpm'
  /** Those of which the files are there, by name, then architecture. */
  readonly packages: readonly InstalledPackage[]
  /** In the middle of what only an interrupted or failed run leaves. */
  readonly unfinished: readonly string[]
  /** Names of the packages that list a path. */
  ownersOf(path: RawPath): readonly string[]
  /** Whose a path is, what the system itself keeps of a package included. */
  packageOf(path: RawPath): string | undefined
  /** Whether a package's own list says so. */
  isConfiguration(path: RawPath): boolean
  readonly files: SourcedFiles
}

/** What became of the packages in one transaction, beside its paths: documents of its record. */
export type PackageRecords = ReadonlyMap<string, Uint8Array>

export interface UndoOfPackages {
  /** Of the transactions that are taken back, newest first: what `record` gave. */
  readonly records: readonly PackageRecords[]
  /** Names of packages that stay as they are, though the transactions changed them. */
  readonly staying: ReadonlySet<string>
  /** What the undo makes of a file: its content, `gone`, or undefined where it stays as it is. */
  planned(path: RawPath): Promise<Buffer | 'gone' | undefined>
}

export interface PlannedPackages {
  readonly transitions: readonly PackageTransition[]
  /** Names of packages that were changed again since, so that they cannot be taken back. */
  readonly changedSince: readonly string[]
  /** What does not hold together then, and did now. */
  readonly broken: readonly BrokenDependency[]
  /** The same in the system's own words, where it names no package. */
  readonly sentences: readonly string[]
  /** Files of the database to be written, beside the paths that are planned one by one; `gone` where one is to be removed. */
  readonly files: ReadonlyMap<RawPath, Buffer | 'gone'>
  /** Paths of the packages that come back, or get another version, with their names; configuration and folders may be left out. */
  listed(): Promise<ReadonlyMap<RawPath, string>>
  /** What was said of all packages when it was planned, where a proof afterwards is to tell it from what the undo has made. */
  readonly before?: PackageCondition
  /** What it leaves half done, since that was so before the transactions, or is so now. */
  readonly unfinished?: readonly UnfinishedPackage[]
}

/** What dpkg and apt say of all packages. */
export interface PackageCondition {
  /** What `dpkg --audit` prints, line by line: nothing, on a machine in order. */
  readonly audit: readonly string[]
  readonly consistency: Consistency
}

/** A file that is not as its package has it. */
export interface DifferingFile {
  readonly path: RawPath
  readonly configuration: boolean
  /** It is not there. */
  readonly missing: boolean
}

export interface PackageProof {
  readonly validations: readonly Validation[]
  /** Why it does not stand: nobody expected this. */
  readonly failure?: {
    readonly sentence: string
    readonly details: Readonly<Record<string, unknown>>
    /** What else can be done. */
    readonly hint?: string
  }
}

/**
 * That the files of so many packages were compared, and are theirs but for configuration; of none, nothing is told. Where one differs that may differ, whoever
 * expected that tells so instead.
 */
export function verifiedOf(
  name: string,
  count: number,
  differing: readonly { readonly configuration: boolean }[],
): readonly Validation[] {
  if (count === 0 || differing.some(({ configuration }) => !configuration)) return []
  return [{ name, outcome: 'passed', message: `${count} ${count === 1 ? 'package' : 'packages'}` }]
}

export interface PackageLockRequest {
  readonly clock: Clock
  /** 0: not at all. */
  readonly waitMs?: number
  readonly signal?: AbortSignal | undefined
  /** Told once, when the wait begins. */
  readonly onWait?: (holder: LockHolder) => void
}

export interface PackageSystem<State extends PackageState = PackageState> {
  readonly manager: State['manager']
  /** Files and folders that hold what it knows. They are kept whole where they are changed in place, however large they are. */
  readonly databases: readonly RawPath[]
  /** By its database. */
  isThere(root: RawPath): boolean
  /**
   * Undefined where the root has no database of it. `was` gives files as they were before, in the place of those that lie there. Leaves no trace
   * in the database's folders.
   */
  read(host: PackageHost, was?: (path: RawPath) => Buffer | undefined): Promise<State | undefined>
  /** Keeps in a folder of ours what `record` and, after a crash, `readKept` need when the database has changed. */
  keep(host: PackageHost, state: State, folder: RawPath): Promise<State>
  readKept(host: PackageHost, folder: RawPath): Promise<State | undefined>
  transitions(before: State, after: State): readonly PackageTransition[]
  /** What would become of the packages: `placeOf` says where what is to lie at a path lies now. */
  preview(
    host: PackageHost,
    placeOf: (path: RawPath) => RawText | undefined,
  ): Promise<readonly PackageTransition[]>
  /** What an undo needs of the change, beside the paths; `before` may be of `keep`. */
  record(
    host: PackageHost,
    states: { readonly before: State; readonly after: State },
  ): Promise<PackageRecords>
  /** Changes nothing. */
  planUndo(host: PackageHost, now: State, undo: UndoOfPackages): Promise<PlannedPackages>
  /** After an undo: its own checks, of the packages that it changed. `isExpected`: the file may differ from its package's. */
  prove(
    host: PackageHost,
    proof: {
      readonly transitions: readonly PackageTransition[]
      readonly before?: PackageCondition | undefined
      readonly unfinished?: readonly UnfinishedPackage[] | undefined
      /** The oldest transaction that was taken back, as it is told: `#10`. */
      readonly since?: string | undefined
      readonly isExpected: (file: DifferingFile) => boolean
    },
  ): Promise<PackageProof>
  /** Files of installed packages that are not as these have them: by content, or missing. */
  verify(host: PackageHost, packages: readonly InstalledPackage[]): Promise<readonly DifferingFile[]>
  /** Keeps it out while its files are changed past it. `store.locked` when the wait was in vain. */
  lock(request: PackageLockRequest): Promise<AsyncDisposable>
}
