// The version report of an entry that is opened on a machine: what may matter, told before it is used (V15, V16).
import type { RawText } from '../base/raw-text.ts'
import type { BaseFacts } from '../model/entry.ts'
import type { TreeId } from '../model/ids.ts'
import type { LibrariesDocument } from '../model/libraries.ts'
import type { ImageReference } from '../model/machine.ts'
import type { PackageSet } from '../model/packages.ts'
import { type ReportLine, versionReport, type VersionReport } from '../model/version-report.ts'
import type { Repository } from '../store/store.ts'
import type { Shell } from '../wire/shell.ts'
import { findLibraryNeeds } from './library-needs.ts'
import type { WalkedNode } from './tree-reader.ts'
import { readLibraryFacts, readUserNames } from './machine-libraries.ts'

export interface VersionReportRequest {
  readonly entry: {
    readonly repository: Repository
    readonly tree: TreeId
    readonly facts: BaseFacts
    readonly image?: ImageReference
    readonly packages?: PackageSet
    readonly environment?: ReadonlyMap<RawText, RawText>
    /** As recorded when it was saved; without it the needs are known, but not what they were met with. */
    readonly libraries?: LibrariesDocument
  }
  readonly machine: {
    readonly shell: Shell
    readonly facts: BaseFacts
    readonly image?: ImageReference
    readonly packages?: PackageSet
    /** Owners that the restore gives to users of this machine. */
    readonly mappedUids?: ReadonlySet<number>
  }
  readonly signal?: AbortSignal | undefined
}

/** Never a refusal: what cannot be found out is left out or said in an amber line. */
export async function reportVersions({
  entry,
  machine,
  signal,
}: VersionReportRequest): Promise<VersionReport> {
  const found = await findLibraryNeeds({ ...entry, signal })
  const needs = entry.libraries?.needs ?? found.needs
  const libraries = await readLibraryFacts(machine.shell, { needs, packages: machine.packages, signal })
  const users = await readUserNames(machine.shell, { signal })
  const report = versionReport(
    { ...entry, owners: found.owners, needs, libraries: entry.libraries?.libraries ?? [] },
    { ...machine, libraries: [...libraries.values()], ...(users === undefined ? {} : { users }) },
  )
  if (entry.libraries?.complete ?? found.complete) return report
  const text = `Libraries: the entry has more programs than were looked at; ${needs.length} needs are known`
  const line: ReportLine = { topic: 'library', level: 'amber', text }
  return { lines: [...report.lines, line], amber: report.amber + 1 }
}

/** What save records: the needs of a tree that was just stored, and what the machine has for them. */
export async function recordLibraries(request: {
  readonly repository: Repository
  readonly tree: TreeId
  /** What is in the tree, where it is at hand. */
  readonly files?: Iterable<WalkedNode> | AsyncIterable<WalkedNode>
  readonly shell: Shell
  readonly environment?: ReadonlyMap<RawText, RawText>
  readonly packages?: PackageSet | undefined
  readonly signal?: AbortSignal | undefined
}): Promise<LibrariesDocument> {
  const { needs, complete } = await findLibraryNeeds(request)
  const libraries = await readLibraryFacts(request.shell, {
    needs,
    packages: request.packages,
    signal: request.signal,
  })
  return { needs, complete, libraries: [...libraries.values()] }
}
