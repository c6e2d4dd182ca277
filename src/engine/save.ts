// Adds an entry to the logbook: facts of the machine, its files, its documents, and last the snapshot that commits it.
import { isFailure, VmlError } from '../base/failure.ts'
import type { Clock } from '../base/clock.ts'
import type { Reporter } from '../base/progress.ts'
import { printable } from '../base/raw-text.ts'
import type { CaptureMode, EntryDocument, Snapshot } from '../model/entry.ts'
import type { Machine } from '../model/machine.ts'
import type { PackageSet } from '../model/packages.ts'
import { outermost, type RawPath, rootPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import { readMachinePackages } from '../packages/machine-packages.ts'
import type { PackageManager } from '../packages/package-manager.ts'
import type { MachineFacts } from '../source/facts.ts'
import { findRealPaths } from '../source/real-paths.ts'
import type { Source } from '../source/source.ts'
import { isDamage } from '../store/damage.ts'
import type { Repository, Writer, WriterStatistics } from '../store/store.ts'
import type { Shell } from '../wire/shell.ts'
import { capture, type Captured, look, survey, type Survey } from './capture.ts'
import type { CaptureBase, CaptureRequest, CaptureRoot, Run } from './capture-run.ts'
import { isImported, joinDescription, type LoggedEntry, ownTags, readVmlFile } from './entries.ts'
import { warnOfEmptied } from './emptied.ts'
import { rememberFolders } from './capture-decide.ts'
import {
  decodeFolderMemory,
  encodeFolderMemory,
  type FolderMemory,
  type FolderMemoryStore,
} from './folder-memory.ts'
import { rawPathOf } from './protection.ts'
import { programsFingerprint, programsOf } from './programs.ts'
import { describeEntry, documentsOf, variablesOf } from './entry-documents.ts'
import { storeFolders } from './tree-builder.ts'
import { storeVmlFolder } from './vml-folder.ts'
import { neverCaptured, type OwnPath } from './never-captured.ts'

/** A machine with the ways to ask it. */
export interface OpenMachine {
  readonly machine: Machine
  readonly shell: Shell
  readonly source: Source
  readonly facts: MachineFacts
  readonly packageManagers: readonly PackageManager[]
  /** Given where the machine is this computer: paths that no entry may hold. */
  readonly ownPaths: readonly OwnPath[]
}

export interface SaveRequest {
  readonly title: string
  readonly note: string
  readonly project?: string
  readonly tags: readonly string[]
  readonly mode: CaptureMode
  readonly include: readonly RawPath[]
  readonly exclude: readonly string[]
  /** Instead of the home. */
  readonly only: readonly RawPath[]
  readonly caches: readonly { readonly name: string; readonly path: RawPath }[]
}

/** The entry whose unchanged files are taken over, with its documents. */
export interface SaveBase {
  readonly entry: LoggedEntry
  readonly document: EntryDocument
}

export interface SaveParts {
  readonly open: OpenMachine
  readonly repository: Repository
  /** Chosen by `chooseBase`. */
  readonly base: SaveBase | undefined
  /** Of the base image that the configuration names, where somebody knows it. */
  readonly imageSha256?: string | undefined
  /** What this computer remembers of the base's folders; without it they are compared one by one. */
  readonly folderMemory?: FolderMemoryStore | undefined
  /** The next free number; asked right before the commit. */
  readonly nextNumber: () => Promise<number>
  readonly clock: Clock
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
}

/** Enough to look, where nothing is stored. */
export type SurveyParts = Omit<SaveParts, 'nextNumber' | 'clock' | 'folderMemory'>

export interface Saved {
  readonly snapshot: Snapshot
  readonly document: EntryDocument
  readonly stored: WriterStatistics
  readonly durationMs: number
}

/** A machine as a save finds it, before anything is read of its files or stored. */
export interface SaveLook {
  readonly startedAt: number
  readonly packages: PackageSet | undefined
  readonly run: Run
}

export async function lookForSave(parts: SaveParts, request: SaveRequest): Promise<SaveLook> {
  const startedAt = parts.clock.now()
  const packages = readMachinePackages(parts.open.packageManagers, parts.open.shell, parts)
  packages.catch(() => {})
  const roots = await rootsOf(parts, request)
  const memory = await recall(parts)
  const run = await look(captureRequest(parts, request, roots, memory))
  return { startedAt, packages: await packages, run }
}

/** Looks, and writes the entry; where nobody may write now, it does not look either. */
export async function save(parts: SaveParts, request: SaveRequest): Promise<Saved> {
  await using writer = await parts.repository.beginWrite({ signal: parts.signal })
  return await saveLooked(parts, request, await lookForSave(parts, request), writer)
}

/** Order: file contents and trees, `/.vml/` documents, root tree, then the snapshot: the commit. */
export async function saveLooked(
  parts: SaveParts,
  request: SaveRequest,
  { startedAt, packages, run }: SaveLook,
  writer: Writer,
): Promise<Saved> {
  const captured = await capture(run, writer)
  const { roots } = run.request
  const number = await parts.nextNumber()
  const document = describeEntry(parts, request, { captured, roots, number, startedAt })
  warnOfEmptied(parts.base, document, parts.reporter)
  return await commitEntry({ parts, writer, captured, document, packages, tags: request.tags, startedAt })
}

/** What a save would find and read now; nothing is stored. */
export async function surveyMachine(
  parts: SurveyParts,
  request: Pick<SaveRequest, 'mode' | 'include' | 'exclude' | 'only' | 'caches'>,
): Promise<Survey> {
  return await survey(await look(captureRequest(parts, request, await rootsOf(parts, request))))
}

function captureRequest(
  parts: SurveyParts,
  request: Pick<SaveRequest, 'mode' | 'exclude'>,
  roots: readonly CaptureRoot[],
  memory?: FolderMemory,
): CaptureRequest {
  return {
    source: parts.open.source,
    ...captureBase(parts, request, memory),
    roots,
    never: neverCaptured(parts.open.facts.user.home, parts.open.ownPaths),
    exclude: request.exclude,
    defaults: true,
    reporter: parts.reporter,
    signal: parts.signal,
  }
}

/**
 * Saves exactly these paths, before something changes or removes them. No rule leaves any of them out; fails with `conflict` when one
 * cannot be read, so that the change does not take place.
 */
export async function saveSafety(
  parts: SaveParts,
  paths: readonly RawPath[],
  why: { readonly title: string; readonly project?: string },
): Promise<Saved> {
  const startedAt = parts.clock.now()
  const writer = await parts.repository.beginWrite({ signal: parts.signal })
  await using _closing = writer
  const run = await look({
    source: parts.open.source,
    ...captureBase(parts, { mode: 'incremental' }),
    roots: [],
    exactly: paths,
    never: [],
    exclude: [],
    defaults: false,
    reporter: parts.reporter,
    signal: parts.signal,
  })
  const captured = await capture(run, writer)
  const lost = captured.problems.find(({ problem }) => problem !== 'socket' && problem !== 'vanished')
  if (lost) {
    throw new VmlError('conflict', `Cannot keep "${lost.path}" in a safety entry: it is ${lost.problem}`, {
      hint: 'Nothing was changed. Make it readable, or leave it out of the restore',
    })
  }
  const roots = paths.map((path): CaptureRoot => ({ path, why: 'safety' }))
  const request: SaveRequest = {
    title: why.title,
    note: '',
    ...(why.project === undefined ? {} : { project: why.project }),
    tags: [],
    mode: 'incremental',
    include: [],
    exclude: [],
    only: [],
    caches: [],
  }
  const number = await parts.nextNumber()
  const document = describeEntry(parts, request, { captured, roots, number, startedAt, kind: 'safety' })
  return await commitEntry({ parts, writer, captured, document, packages: undefined, tags: [], startedAt })
}

/** What an entry of this mode is compared with: the machine's own last entry, or its last full one. An imported one may name any machine. */
export function chooseBase(
  entries: readonly LoggedEntry[],
  machine: string,
  mode: CaptureMode,
): LoggedEntry | undefined {
  if (mode === 'full') return undefined
  return entries.findLast(
    (entry) =>
      entry.machine === machine &&
      entry.kind === 'environment' &&
      !isImported(entry) &&
      (mode === 'incremental' || entry.facts?.mode === 'full'),
  )
}

/** What was asked for, by real names: a link in a path, or a home that is one, would be saved instead of what it leads to. */
async function rootsOf(
  { open, reporter, signal }: Pick<SaveParts, 'open' | 'reporter' | 'signal'>,
  request: Pick<SaveRequest, 'only' | 'include' | 'caches'>,
): Promise<CaptureRoot[]> {
  const asked: CaptureRoot[] =
    request.only.length > 0
      ? request.only.map((path) => ({ path, why: 'only' as const }))
      : [{ path: open.facts.user.home, why: 'home' }]
  for (const path of request.include) asked.push({ path, why: 'include' })
  for (const { name, path } of request.caches) asked.push({ path, why: 'cache', name })
  // The home is known by its real name.
  const { home } = open.facts.user
  const unsure = asked.map(({ path }) => path).filter((path) => path !== home)
  const found = unsure.length === 0 ? [] : await findRealPaths(open.shell, unsure, signal)
  const realNames = new Map(unsure.map((path, index) => [path, found[index] ?? path]))
  const roots = new Map<RawPath, CaptureRoot>()
  for (const root of asked) {
    const path = realNames.get(root.path) ?? root.path
    if (path !== root.path)
      reporter.warn({ warning: `Saved under its real name, ${printable(path)}`, item: printable(root.path) })
    if (!roots.has(path)) roots.set(path, { ...root, path })
    // The same folder as a cache part: that is what it is called by.
    else if (root.why === 'cache') roots.set(path, { ...root, path })
  }
  return [...roots.values()]
}

function captureBase(
  parts: Pick<SaveParts, 'base' | 'repository'>,
  request: Pick<SaveRequest, 'mode'>,
  memory?: FolderMemory,
): { base?: CaptureBase } {
  const { base, repository } = parts
  if (!base || request.mode === 'full') return {}
  return {
    base: {
      repository,
      tree: base.entry.snapshot.tree,
      scanStartedNs: BigInt(base.document.scan.startedNs),
      fidelity: base.document.fidelity,
      memory,
    },
  }
}

/** Undefined where nothing fits the base. */
async function recall({ base, folderMemory }: SaveParts): Promise<FolderMemory | undefined> {
  if (!base) return undefined
  const bytes = await folderMemory?.read()
  const memory = bytes && decodeFolderMemory(bytes)
  return memory?.tree === base.entry.snapshot.tree ? memory : undefined
}

async function commitEntry(work: {
  parts: SaveParts
  writer: Writer
  captured: Captured
  document: EntryDocument
  packages: PackageSet | undefined
  tags: readonly string[]
  startedAt: number
}): Promise<Saved> {
  const { parts, writer, captured, document, packages, tags, startedAt } = work
  parts.reporter.progress({ phase: 'writing the entry' })
  const files = await documentsOf(parts.open, document, packages)
  const { nodes, trees } = await storeFolders(writer, captured.run)
  const programs = programsFingerprint(captured.run)
  if (document.kind === 'environment') {
    const libraries = await librariesOrWarning(parts, { writer, captured, nodes, packages, programs })
    if (libraries) files.push({ name: 'libraries.json', bytes: libraries })
  }
  const folder = await storeVmlFolder(writer, files, startedAt)
  const tree = await writer.storeTree([...nodes, folder])
  const snapshot = await writer.commit(
    {
      time: document.startedAt,
      tree,
      ...(parts.base && document.since !== undefined ? { parent: parts.base.entry.snapshot.id } : {}),
      paths: topmostPaths(document),
      hostname: document.machine,
      username: document.user.name,
      tags: [...ownTags(document), ...tags],
      description: joinDescription(document),
    },
    { signal: parts.signal },
  )
  if (document.kind === 'environment') {
    const folders = rememberFolders(captured.run, trees)
    await parts.folderMemory?.write(
      encodeFolderMemory({ tree, indexes: writer.indexes(), programs, folders }),
    )
  }
  return { snapshot, document, stored: writer.statistics(), durationMs: parts.clock.now() - startedAt }
}

/** A snapshot file is read whole by every program: it names the outermost paths, `/.vml/entry.json` all. */
const snapshotPathsMax = 100

function topmostPaths({ roots }: EntryDocument): string[] {
  const byPath = new Map(roots.flatMap(({ raw, path }) => [[rawPathOf(raw) ?? rootPath, path] as const]))
  return outermost([...byPath.keys()])
    .slice(0, snapshotPathsMax)
    .map((path) => byPath.get(path) ?? '/')
}

/** An aid for opening elsewhere: where a machine does not tell, the files are no less worth saving. */
async function librariesOrWarning(
  parts: SaveParts,
  work: Parameters<typeof librariesOf>[1],
): Promise<Buffer | undefined> {
  try {
    return await librariesOf(parts, work)
  } catch (error) {
    if (!isFailure(error, 'remote.protocol', 'remote.command', 'unavailable.timeout')) throw error
    parts.reporter.warn({
      warning: `Not recorded which libraries the programs of this entry need: ${error.message}`,
    })
    return undefined
  }
}

/** What the entry's programs need of the machine. Taken over where nothing that could matter has changed. */
async function librariesOf(
  parts: SaveParts,
  work: {
    writer: Writer
    captured: Captured
    /** Of the root; the folders below are stored. */
    nodes: readonly TreeNode[]
    packages: PackageSet | undefined
    programs: string
  },
): Promise<Buffer> {
  const { base, repository, open, signal } = parts
  const { captured, packages } = work
  const same = captured.run.request.base?.memory?.programs === work.programs
  if (base && (same || captured.statistics.filesRead === 0)) {
    const [before, packagesBefore] = await Promise.all(
      ['libraries.json', 'packages.json'].map(
        async (name) => await readUnlessLost(repository, base.entry.snapshot, name, signal),
      ),
    )
    const { encodePackages } = await import('../model/documents.ts')
    if (before && packagesBefore && packages && packagesBefore.equals(encodePackages(packages))) return before
  }
  const [{ recordLibraries }, { encodeLibraries }] = await Promise.all([
    import('./version-report.ts'),
    import('../model/documents.ts'),
  ])
  const tree = await work.writer.storeTree(work.nodes)
  await work.writer.flush()
  return encodeLibraries(
    await recordLibraries({
      repository,
      tree,
      files: programsOf(captured.run),
      shell: open.shell,
      environment: variablesOf(open.facts),
      packages,
      signal,
    }),
  )
}

/** Undefined where the logbook has lost it: what is there now is recorded anew. */
async function readUnlessLost(
  repository: Repository,
  snapshot: Snapshot,
  name: string,
  signal: AbortSignal | undefined,
): Promise<Buffer | undefined> {
  try {
    return await readVmlFile(repository, snapshot, name, { signal })
  } catch (error) {
    if (!isDamage(error)) throw error
    return undefined
  }
}
