// `vml restore`: an entry, or a part of it, goes back to a machine or below a folder of this host.
import { asRaw, printable, printableText, rawFromString } from '../base/raw-text.ts'
import { VmlError } from '../base/failure.ts'
import { type EntryDocument, holdsPathsOnly } from '../model/entry.ts'
import { type PathMap, pathMap, identityMap } from '../model/path-map.ts'
import {
  baseName,
  isWithin,
  joinPath,
  nearestIn,
  outermost,
  parseRawPath,
  type RawName,
  type RawPath,
  rootPath,
} from '../model/raw-path.ts'
import type { Attributes, TreeNode } from '../model/tree.ts'
import { entryName, entryWord, type LoggedEntry } from './entries.ts'
import { openProtection, rawPathOf } from './protection.ts'
import {
  isNothingToDo,
  prepareRestore,
  type PreparedRestore,
  type RestoreReport,
  runRestore,
} from './restore.ts'
import { type DamagedPath, damagedFacts, requireReadable } from './restore-damage.ts'
import {
  missingAt,
  type MissingPath,
  type MissingPaths,
  missingWithin,
  readMissing,
} from './restore-missing.ts'
import type { Destination, RestoreRequest } from './restore-request.ts'
import { isDamage } from '../store/damage.ts'
import { neverCaptured } from './never-captured.ts'
import { settledBefore } from './unchanged.ts'
import { openTreeReader, type TreeReader, walkTree } from './tree-reader.ts'
import { type OpenMachine, type Saved } from './save.ts'
import { vmlPath } from './vml-path.ts'

export interface RestoreEntryRequest extends Pick<
  RestoreRequest,
  'repository' | 'overwrite' | 'remove' | 'removeWithin' | 'extras' | 'reporter' | 'signal'
> {
  readonly entry: LoggedEntry
  /** Undefined for an entry of another program: everything in it is restored, no rules are known. */
  readonly document: EntryDocument | undefined
  /** The entry's document, where it cannot be read: it is named with what else is damaged. */
  readonly unread?: DamagedPath | undefined
  /** Below the entry's paths; none means all of the entry. */
  readonly paths: readonly RawPath[]
  readonly destination: Destination
  /** Of this computer, where the destination is this computer. */
  readonly ownPaths: OpenMachine['ownPaths']
  /** What comes of `paths` besides what the tree has. */
  readonly rebuilt?: readonly RebuiltFile[]
  /** Names of cache parts that come along; `all` by default. */
  readonly caches: 'all' | 'none' | readonly string[]
}

/** A file that an entry has in another form than as a content of its tree; `path` is the entry's. */
export interface RebuiltFile {
  readonly path: RawPath
  readonly bytes: Buffer
  readonly attributes: Attributes
}

export interface PreparedEntryRestore extends PreparedRestore {
  /** What the entry knows that it does not have, of what is restored. */
  readonly missing: readonly MissingPath[]
  /** On the target: what is put there besides the plan. */
  readonly rebuilt: readonly RawPath[]
}

/** Looks and plans; nothing is changed. */
export async function prepareEntryRestore(request: RestoreEntryRequest): Promise<PreparedEntryRestore> {
  const { repository, entry, document, unread, destination, signal } = request
  refuseOwnFolder(request)
  if (document?.kind === 'transaction' && request.paths.length === 0)
    throw new VmlError(
      'usage',
      `Cannot restore ${entryName(entry)}: it is a transaction, and its paths alone are no state`,
      {
        hint: `Nothing was changed. vml tx undo ${entryWord(entry)} takes it back; vml restore ${entryWord(entry)}:/PATH puts one file back as it was before`,
      },
    )
  const pathsOnly = holdsPathsOnly(document?.kind)
  const missing = await readMissing(repository, { entry, document, unread }, { signal })
  const restored = await inTree(request, await pathsOf(request, missing))
  const without = document ? cacheParts(document, request.caches) : []
  const protectedBy =
    request.remove && document && !pathsOnly
      ? await openProtection({
          repository,
          tree: entry.snapshot.tree,
          document,
          signal,
        })
      : () => undefined
  const never = neverOn(destination, document, request.ownPaths)
  const rebuilt = rebuiltOn(request, never)
  const prepared = await prepareRestore({
    repository,
    tree: entry.snapshot.tree,
    entryName: entryName(entry),
    destination,
    paths: restored.paths,
    // The entry knows what stood at single paths, and nothing of what lies beside them.
    ...(document && pathsOnly ? { exactly: await exactPaths(request, document) } : {}),
    never,
    settledBeforeNs: document ? settledBefore(document.scan, destination.source.fidelity) : 0n,
    without,
    missing,
    overwrite: request.overwrite,
    remove: request.remove,
    removeWithin: withinBoth(restored.whole, request.removeWithin),
    protectedBy,
    extras: [...request.extras, ...rebuilt],
    reporter: request.reporter,
    signal,
  })
  return {
    ...prepared,
    damaged: [...(unread ? [unread] : []), ...prepared.damaged],
    missing: missingWithin(missing, { paths: request.paths, without }),
    rebuilt: rebuilt.map(({ path }) => path),
  }
}

/**
 * A safety entry names its paths. A transaction does not: folders are in its tree for what lies below them, so of what was asked for
 * it gives all that is no folder.
 */
async function exactPaths(
  { repository, entry, paths, signal }: RestoreEntryRequest,
  document: EntryDocument,
): Promise<ReadonlySet<RawPath>> {
  if (document.kind !== 'transaction') return new Set(documentRoots(document))
  const exact = new Set<RawPath>()
  const reader = openTreeReader(repository, entry.snapshot.tree, signal)
  for (const path of outermost(paths)) {
    const node = await reader.node(path)
    if (node !== undefined && node.type !== 'dir') exact.add(path)
    const tree = path === rootPath ? entry.snapshot.tree : node?.subtree
    if (tree === undefined) continue
    // What cannot be read is named by who takes it.
    const onDamage = () => {}
    for await (const inner of walkTree(repository, tree, { at: path, signal, onDamage }))
      if (inner.node.type !== 'dir') exact.add(inner.path)
  }
  return exact
}

/** VML's account of an entry is no part of a machine: it comes to a folder, where it was named. */
function refuseOwnFolder({ paths, destination: { map }, entry }: RestoreEntryRequest): void {
  const own = paths.find((path) => isWithin(path, vmlPath) && map.forward(path) === path)
  if (own === undefined) return
  throw new VmlError(
    'usage',
    `Cannot restore "${printable(own)}" to a machine: it is the logbook's own account of the entry`,
    {
      hint: `Nothing was changed. Put it into a folder: vml restore ${entryWord(entry)}:${printable(own)} --to DIR`,
    },
  )
}

/**
 * Safety entry first: when it cannot be written, nothing is touched. `saveSafety` is told the paths that would
 * change or go. Fails with `partial` (3) when the target refused paths and `proof` (15) when something else is there than
 * the entry says. What cannot be read is in `damaged`, and it is for the caller to fail with `requireReadable` in the end.
 */
export async function carryOut(
  prepared: PreparedRestore,
  saveSafety: (paths: readonly RawPath[]) => Promise<Saved>,
): Promise<CarriedOut> {
  if (isNothingToDo(prepared))
    return { report: undefined, safety: undefined, damaged: prepared.damaged, kept: 'Nothing was changed' }
  const safety = prepared.endangered.length > 0 ? await saveSafety(prepared.endangered) : undefined
  const kept = safety
    ? `What was there is kept in entry #${safety.document.number}`
    : 'Nothing that was there was changed'
  let report: RestoreReport
  try {
    report = await runRestore(prepared)
  } catch (error) {
    const signal = prepared.request.signal
    if (signal?.aborted) {
      const { label, source } = prepared.request.destination
      // To this host each file gets its name when it is whole; a machine's tar writes under the name itself.
      const files = source.local ? 'No file is cut short there' : 'A file may be cut short there'
      throw new VmlError('cancelled', `Cancelled: ${label} is half restored`, {
        cause: error,
        details: { interrupted: true },
        hint: `${files}. Run the same command again to finish it. ${kept}`,
      })
    }
    if (!(error instanceof VmlError)) throw error
    // Found before the first byte was written; but what had to go may be gone by then.
    const untouched = error.code === 'conflict' && prepared.plan.removals.length === 0
    if (untouched) throw error
    throw new VmlError(error.code === 'conflict' ? 'failed' : error.code, error.message, {
      details: error.details,
      cause: error,
      hint: `The restore is not whole. ${kept}; run the same command again to finish it`,
    })
  }
  requireEqual(report, kept, prepared.request.destination.label)
  return { report, safety, damaged: report.damaged, kept }
}

export interface CarriedOut {
  /** Undefined where there was nothing to do. */
  readonly report: RestoreReport | undefined
  readonly safety: Saved | undefined
  readonly damaged: readonly DamagedPath[]
  /** What became of what was there, as a sentence. */
  readonly kept: string
}

export function requireProof(report: RestoreReport, kept: string, label: string): void {
  requireEqual(report, kept, label)
  requireReadable(report.damaged, { label, kept })
}

function requireEqual(report: RestoreReport, kept: string, label: string): void {
  const { differences } = report.proof
  if (differences.length === 0) return
  const refused = new Map(report.failures.map(({ path, message }) => [path, message]))
  const unexplained = differences.filter(({ path }) => !refused.has(path))
  const shown = differences.slice(0, 20).map(({ path, what }) => {
    const why = refused.get(path)
    return `${printable(path)} ${what}${why === undefined ? '' : ` (${why})`}`
  })
  // A path may differ in more than one way.
  const paths = new Set(differences.map(({ path }) => path)).size
  const unread =
    report.damaged.length > 0
      ? `\nThe logbook is damaged too: ${report.damaged.length} paths of the entry could not be read, see vml check --read-data`
      : ''
  throw new VmlError(
    unexplained.length > 0 ? 'proof' : 'partial',
    `Cannot restore everything to ${label}: ${paths} of ${report.proof.checked + report.proof.absent} paths are not as the entry has them`,
    {
      details: { differences: shown, damaged: damagedFacts(report.damaged) },
      hint: `${kept}. These paths differ:\n  ${shown.join('\n  ')}${unread}`,
    },
  )
}

interface RestoredPaths {
  readonly paths: readonly RawPath[]
  /** Folders that the entry speaks for as a whole; all of `paths` where it is undefined. */
  readonly whole?: readonly RawPath[]
}

/**
 * The roots as they were saved, or the named paths with the roots below them, which may lie on other file systems. A
 * snapshot of another program speaks for the paths that it names: the folders above those are in its tree for their
 * attributes only, and nothing may go from them.
 */
async function pathsOf(request: RestoreEntryRequest, missing: MissingPaths): Promise<RestoredPaths> {
  const { document, repository, entry, paths, signal } = request
  if (document && holdsPathsOnly(document.kind)) {
    return { paths: outermost(paths.length > 0 ? paths : documentRoots(document)), whole: [] }
  }
  const roots = document ? documentRoots(document) : await foreignRoots(request)
  if (roots === undefined) {
    const top = await repository.readTree(entry.snapshot.tree, { signal })
    const all = top.filter((node) => node.name !== '.vml').map((node) => joinPath(rootPath, node.name))
    return { paths: paths.length > 0 ? paths : all, whole: [] }
  }
  if (paths.length === 0) return { paths: await withoutMissing(request, roots, missing) }
  const inner = roots.filter((root) => paths.some((path) => isWithin(root, path)))
  const whole = paths.filter((path) => roots.some((root) => isWithin(path, root)))
  return { paths: [...paths, ...inner], whole: [...whole, ...inner] }
}

/** Of a path that is rebuilt the tree may have nothing. */
async function inTree(
  { repository, entry, rebuilt = [], signal }: RestoreEntryRequest,
  restored: RestoredPaths,
): Promise<RestoredPaths> {
  if (rebuilt.length === 0) return restored
  const reader = openTreeReader(repository, entry.snapshot.tree, signal)
  const paths: RawPath[] = []
  for (const path of restored.paths)
    if ((await mayHave(reader, path)) || !rebuilt.some((file) => isWithin(file.path, path))) paths.push(path)
  return { ...restored, paths }
}

function rebuiltOn(
  { rebuilt = [], destination: { map } }: RestoreEntryRequest,
  never: RestoreRequest['never'],
): RestoreRequest['extras'] {
  const own = new Set(never.map(({ path }) => path))
  return rebuilt
    .map((file) => ({ ...file, path: map.forward(file.path) }))
    .filter(({ path }) => nearestIn(path, own) === undefined)
}

/** A folder that the entry began with may be lost: then it is named as that, and the rest is restored. */
async function withoutMissing(
  { repository, entry, signal }: RestoreEntryRequest,
  roots: readonly RawPath[],
  missing: MissingPaths,
): Promise<RawPath[]> {
  const reader = openTreeReader(repository, entry.snapshot.tree, signal)
  const there: RawPath[] = []
  for (const root of roots)
    if (root === rootPath || missingAt(missing, root) === undefined || (await reader.node(root)))
      there.push(root)
  return there
}

/** Where both agree that something may go. */
function withinBoth(
  whole: readonly RawPath[] | undefined,
  asked: readonly RawPath[] | undefined,
): readonly RawPath[] | undefined {
  if (whole === undefined || asked === undefined) return whole ?? asked
  return [
    ...whole.filter((path) => asked.some((other) => isWithin(path, other))),
    ...asked.filter((path) => whole.some((other) => other !== path && isWithin(path, other))),
  ]
}

/** Undefined where the snapshot does not say, or not in paths of its tree. */
async function foreignRoots({
  repository,
  entry,
  signal,
}: RestoreEntryRequest): Promise<RawPath[] | undefined> {
  const reader = openTreeReader(repository, entry.snapshot.tree, signal)
  const roots: RawPath[] = []
  for (const text of entry.snapshot.paths) {
    const path = parseRawPath(rawFromString(text))
    if (path === undefined || (path !== rootPath && !(await mayHave(reader, path)))) return undefined
    roots.push(path)
  }
  return roots.length > 0 ? roots : undefined
}

/** What damage hides is found to be damaged when it is restored. */
async function mayHave(reader: TreeReader, path: RawPath): Promise<boolean> {
  try {
    return (await reader.node(path)) !== undefined
  } catch (error) {
    if (!isDamage(error)) throw error
    return true
  }
}

function documentRoots(document: EntryDocument): RawPath[] {
  return document.roots.flatMap(({ raw }) => rawPathOf(raw) ?? [])
}

/** VML's own files, as the target calls them. */
function neverOn(
  { map }: Destination,
  document: EntryDocument | undefined,
  ownPaths: RestoreEntryRequest['ownPaths'],
): RestoreRequest['never'] {
  const home = document && rawPathOf(document.user.homeRaw)
  return home === undefined
    ? ownPaths.map(({ path, what }) => ({ path, rule: what }))
    : neverCaptured(map.forward(home), ownPaths)
}

/** The cache parts of an entry that are not wanted. Fails with `not-found` where one is that the entry does not have. */
export function cacheParts(document: EntryDocument, wanted: RestoreEntryRequest['caches']): RawPath[] {
  if (wanted === 'all') return []
  const names = document.caches.map(({ name }) => name)
  const unknown = wanted === 'none' ? undefined : wanted.find((name) => !names.includes(name))
  if (unknown !== undefined) {
    throw new VmlError('not-found', `Cannot find the cache part "${printableText(unknown)}" in the entry`, {
      hint: `Nothing was changed. ${names.length === 0 ? 'It has none' : `It has: ${names.map(printableText).join(', ')}`}`,
    })
  }
  const unwanted = document.caches.filter(({ name }) => wanted === 'none' || !wanted.includes(name))
  return unwanted.flatMap(({ raw }) => rawPathOf(raw) ?? [])
}

/** Everything of the entry below a folder: `/home/lab/x` becomes `FOLDER/home/lab/x`; one named path comes under its own name. */
export function mapBelow(folder: RawPath, paths: readonly RawPath[]): PathMap {
  if (paths.length === 0) return pathMap([{ from: rootPath, to: folder }])
  return pathMap(
    paths.map((path) => ({ from: path, to: path === rootPath ? folder : joinPath(folder, baseName(path)) })),
  )
}

/** Home to home, and the owner's ids with it, where the user of the target is another one. A transaction is of a machine, and of nobody's home. */
export function mapHome(
  saved: EntryDocument | undefined,
  target: { readonly home: RawPath; readonly uid: number; readonly gid: number },
): { map: PathMap; mapOwner: (node: TreeNode) => TreeNode; describe: string[] } {
  const document = saved?.kind === 'transaction' ? undefined : saved
  const home = document && rawPathOf(document.user.homeRaw)
  const describe: string[] = []
  const renamed = home !== undefined && home !== target.home && home !== rootPath
  if (renamed) describe.push(`${printable(home)} → ${printable(target.home)}`)
  const map = renamed ? pathMap([{ from: home, to: target.home }]) : identityMap
  const user = document?.user
  if (user && (user.uid !== target.uid || user.gid !== target.gid)) {
    describe.push(`owner ${user.uid}:${user.gid} → ${target.uid}:${target.gid}`)
  }
  return { map, mapOwner: user ? ownerMap(user, target) : (node) => node, describe }
}

/** Ids of the entry's user become those of the user on the target; every other id stays. */
export function ownerMap(
  from: { readonly uid: number; readonly gid: number },
  to: { readonly uid: number; readonly gid: number },
): (node: TreeNode) => TreeNode {
  if (from.uid === to.uid && from.gid === to.gid) return (node) => node
  return (node) => ({
    ...node,
    uid: node.uid === from.uid ? to.uid : node.uid,
    gid: node.gid === from.gid ? to.gid : node.gid,
  })
}

/** Belong to the shell that was asked, not to the environment. */
const ofTheMoment: ReadonlySet<string> = new Set([
  ...['_', 'PWD', 'OLDPWD', 'SHLVL', 'SSH_CLIENT', 'SSH_CONNECTION', 'SSH_TTY'],
  // A shell ends rather than set them again.
  ...['UID', 'EUID', 'PPID', 'BASHOPTS', 'SHELLOPTS', 'BASH_VERSINFO'],
])

const environmentFile = rawFromString('.vml-environment.sh') as RawName

/** A file that a POSIX shell can source to get the entry's variables; names that no shell takes are left as comments. */
export function environmentScript(variables: ReadonlyMap<string, string>, entry: string): Buffer {
  const lines = [`# Environment variables of entry ${entry}, written by vml restore --env`]
  for (const [name, value] of variables) {
    if (ofTheMoment.has(name)) continue
    if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
      lines.push(`export ${name}='${value.replaceAll("'", `'\\''`)}'`)
    else lines.push(`# not a name for a shell: ${printable(asRaw(name))}`)
  }
  return Buffer.from(`${lines.join('\n')}\n`, 'latin1')
}

export function environmentPath(folder: RawPath): RawPath {
  return joinPath(folder, environmentFile)
}
