// Puts an entry back: plan, safety entry, removal, one stream of the differences, proof by reading back.
import { VmlError } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import { printable } from '../base/raw-text.ts'
import type { TreeId } from '../model/ids.ts'
import type { PathMap } from '../model/path-map.ts'
import { isWithin, outermost, parentPath, type RawPath, rootPath, entryPathsMax } from '../model/raw-path.ts'
import type { Attributes, Segment, TreeNode } from '../model/tree.ts'
import type { PathFailure, Source, WriteItem } from '../source/source.ts'
import type { Repository } from '../store/store.ts'
import { findExtents } from '../wire/tar-sparse.ts'
import {
  archiveDifferences,
  contentDigest,
  digestSegments,
  type Expected,
  keepsLinkTimes,
  prove,
  type ProofReport,
} from './proof.ts'
import {
  endangeredPaths,
  isEmptyPlan,
  type Overwrite,
  type PlannedWrite,
  planRestore,
  type RestorePlan,
  settleDoubts,
  type WantedPath,
} from './restore-plan.ts'
import { openTreeReader, walkTree } from './tree-reader.ts'

/** Where an entry's paths go, and what may be done there. */
export interface Destination {
  readonly source: Source
  /** For messages: a machine's name, or a folder. */
  readonly label: string
  readonly map: PathMap
  /** Owners can be given: root on the target. */
  readonly owners: boolean
  readonly mapOwner: (node: TreeNode) => TreeNode
  readonly sameMachine: boolean
}

export interface RestoreRequest {
  readonly repository: Repository
  readonly tree: TreeId
  readonly entryName: string
  readonly destination: Destination
  /** Folders or files of the entry; everything below them is restored. */
  readonly paths: readonly RawPath[]
  /** Paths of the entry that stay out: cache parts, and what the share left out. */
  readonly without: readonly RawPath[]
  /** Of what lies below `paths` only these: an entry of single paths does not speak for the folders that hold them. */
  readonly exactly?: ReadonlySet<RawPath> | undefined
  /** VML's own files, by their paths on the target: neither written nor removed, whatever the entry has. */
  readonly never: readonly { readonly path: RawPath; readonly rule: string }[]
  /** When the entry's scan began, less the tick of the clock: what changed later proves nothing by its ctime. */
  readonly settledBeforeNs: bigint
  readonly overwrite: Overwrite
  readonly remove: boolean
  /** Folders of the entry to which `remove` is kept; all of `paths` without it. */
  readonly removeWithin?: readonly RawPath[] | undefined
  /** The rule, in the words of the entry, that keeps a path of the entry's machine from being removed. */
  readonly protectedBy: (path: RawPath, isFolder: boolean) => string | undefined
  /** Files that VML adds, such as the variables to source; on the target's own paths. */
  readonly extras: readonly {
    readonly path: RawPath
    readonly bytes: Buffer
    readonly attributes: Attributes
  }[]
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
}

export interface PreparedRestore {
  readonly request: RestoreRequest
  readonly plan: RestorePlan
  readonly present: ReadonlyMap<RawPath, Attributes>
  /** Paths that are there and would change or go: the safety entry holds them. */
  readonly endangered: readonly RawPath[]
}

export interface RestoreReport {
  readonly plan: RestorePlan
  readonly proof: ProofReport
  readonly failures: readonly PathFailure[]
}

/** Looks at entry and target, changes nothing. */
export async function prepareRestore(request: RestoreRequest): Promise<PreparedRestore> {
  const { destination, reporter } = request
  reporter.progress({ phase: 'comparing' })
  const { wanted, own } = await collectWanted(request)
  const scope = scopeOf(request)
  const target = await lookAtTarget(request, scope, wanted)
  const above = await foldersAbove(request, wanted, target.present)
  refuseMounts(wanted, target.mounts)
  refuseUnreadable(wanted, target)
  const { fidelity } = destination.source
  const plan = planRestore({
    wanted: [...above, ...wanted],
    present: target.present,
    overwrite: request.overwrite,
    remove: request.remove,
    scope: request.removeWithin?.map((path) => destination.map.forward(path)) ?? scope,
    protectedBy: openGuard(request, target),
    owners: destination.owners,
    timeResolutionNs: fidelity.timeResolutionNs,
    sameMachine: destination.sameMachine,
    settledBeforeNs: request.settledBeforeNs,
    attributesTold: fidelity.xattrs || fidelity.acls,
    linkTimes: keepsLinkTimes(fidelity),
  })
  const settled = settleDoubts(plan, await differingDoubts(request, plan))
  const standing = await standingExtras(request)
  return {
    request,
    plan: { ...settled, left: [...settled.left, ...own] },
    present: target.present,
    endangered: [...new Set([...endangeredPaths(settled, target.present), ...standing])].sort(),
  }
}

/** What is looked at on the target: the restored paths, and where folders within them go under another name. */
function scopeOf({ paths, destination: { map } }: RestoreRequest): RawPath[] {
  const moved = map.renames.filter(({ from }) => paths.some((path) => isWithin(from, path)))
  return [...new Set([...paths.map((path) => map.forward(path)), ...moved.map(({ to }) => to)])]
}

/** Files that VML adds and that are there already: they are replaced, so the safety entry holds them. */
async function standingExtras({ extras, destination, signal }: RestoreRequest): Promise<RawPath[]> {
  const standing: RawPath[] = []
  for await (const record of destination.source.stat(
    extras.map(({ path }) => path),
    signal,
  )) {
    if (record.kind === 'item' && record.attributes.type !== 'file') {
      throw new VmlError(
        'conflict',
        `Cannot write "${printable(record.path)}" on ${destination.label}: a ${record.attributes.type} stands there`,
        { hint: 'Nothing was changed. Move it away' },
      )
    }
    if (record.kind === 'item') standing.push(record.path)
  }
  return standing
}

/**
 * Changes the target as planned. Order: removals (deepest first), then one stream of writes with folders' times
 * last, then proof. Cut off anywhere it can be repeated: what is half written differs from the entry and is planned again.
 * Fails with `partial` when the target refused some paths, `proof` when what is there is not what the entry says.
 */
export async function runRestore(prepared: PreparedRestore): Promise<RestoreReport> {
  const { request, plan } = prepared
  const { source } = request.destination
  const failures: PathFailure[] = []
  if (plan.removals.length > 0) {
    request.reporter.progress({ phase: 'removing', filesTotal: plan.removals.length })
    failures.push(
      ...(await source.remove(
        plan.removals.map(({ path }) => path),
        request.signal,
      )),
    )
  }
  const expected = new Map<RawPath, Expected>()
  if (plan.writes.length > 0 || request.extras.length > 0) {
    failures.push(
      ...(await source.write(writeItems(prepared, expected), writeParents(prepared), request.signal)),
    )
  }
  request.reporter.progress({ phase: 'proving', filesTotal: expected.size })
  const proof = await prove({
    source,
    expected,
    // What made way for another type is seen as that type.
    absent: plan.removals.filter(({ why }) => why === 'not-in-entry').map(({ path }) => path),
    owners: request.destination.owners,
    reporter: request.reporter,
    signal: request.signal,
  })
  return { plan, proof, failures }
}

export function isNothingToDo(prepared: PreparedRestore): boolean {
  return isEmptyPlan(prepared.plan) && prepared.request.extras.length === 0
}

interface Wanted {
  readonly wanted: WantedPath[]
  /** Of the entry, but VML's own files on the target: they stay as they are. */
  readonly own: { path: RawPath; why: string }[]
}

async function collectWanted(request: RestoreRequest): Promise<Wanted> {
  const { repository, destination, signal } = request
  const reader = openTreeReader(repository, request.tree, signal)
  const wanted: WantedPath[] = []
  const own: { path: RawPath; why: string }[] = []
  const without = new Set(request.without)
  const never = new Map(request.never.map(({ path, rule }) => [path, rule]))
  const isOut = (path: RawPath): boolean => {
    if (isVmlDocument(path) || without.has(path)) return true
    const rule = never.get(destination.map.forward(path))
    if (rule !== undefined) own.push({ path: destination.map.forward(path), why: rule })
    return rule !== undefined
  }
  const take = (path: RawPath, node: TreeNode) => {
    if (node.type === 'socket' || node.type === 'irregular') return
    if (request.exactly && !request.exactly.has(path)) return
    if (wanted.length >= entryPathsMax) {
      throw new VmlError('unsupported', `Cannot restore more than ${entryPathsMax} paths at once`, {
        hint: 'Nothing was changed. Restore folders of it one by one: ENTRY:/path',
      })
    }
    wanted.push({ path: destination.map.forward(path), node: destination.mapOwner(node) })
  }
  for (const path of outermost(request.paths)) {
    const node = await reader.node(path)
    if (path !== rootPath) {
      if (!node) {
        throw new VmlError('not-found', `Cannot find "${printable(path)}" in ${request.entryName}`, {
          hint: `Nothing was changed. Look what is there with: vml ls ${request.entryName}`,
        })
      }
      if (isVmlDocument(path) || nearest(path, without) !== undefined) continue
      const rule = nearest(destination.map.forward(path), never)
      if (rule !== undefined) own.push({ path: destination.map.forward(path), why: rule })
      if (rule !== undefined) continue
      take(path, node)
    }
    const tree = path === rootPath ? request.tree : node?.subtree
    if (tree === undefined) continue
    const out = new Set<RawPath>()
    const enter = (inner: RawPath) => !out.has(inner)
    for await (const each of walkTree(repository, tree, { at: path, signal, enter })) {
      if (isOut(each.path)) out.add(each.path)
      else take(each.path, each.node)
    }
  }
  return { wanted, own }
}

function isVmlDocument(path: RawPath): boolean {
  return path === '/.vml' || path.startsWith('/.vml/')
}

/** What is said of the path itself or of the nearest folder above it. */
function nearest(
  path: RawPath,
  among: ReadonlyMap<RawPath, string> | ReadonlySet<RawPath>,
): string | undefined {
  for (let at = path; ; at = parentPath(at)) {
    if (among.has(at)) return 'get' in among ? among.get(at) : at
    if (at === rootPath) return undefined
  }
}

interface Target {
  readonly present: Map<RawPath, Attributes>
  readonly mounts: ReadonlySet<RawPath>
  readonly unreadable: ReadonlyMap<RawPath, string>
}

/** Everything at and below the restored paths: what stands there may be in the way, or have to go. */
async function lookAtTarget(
  request: RestoreRequest,
  scope: readonly RawPath[],
  wanted: readonly WantedPath[],
): Promise<Target> {
  const target: Target & { mounts: Set<RawPath>; unreadable: Map<RawPath, string> } = {
    present: new Map<RawPath, Attributes>(),
    mounts: new Set<RawPath>(),
    unreadable: new Map<RawPath, string>(),
  }
  const { source } = request.destination
  const take = async (records: ReturnType<Source['scan']>) => {
    for await (const record of records) {
      if (record.kind === 'item') target.present.set(record.path, record.attributes)
      else if (record.kind === 'mount') target.mounts.add(record.path)
      else if (record.problem !== 'vanished') target.unreadable.set(record.path, record.message)
    }
  }
  const scan = (roots: readonly RawPath[]) =>
    source.scan({ roots, prune: request.never.map(({ path }) => path), signal: request.signal })
  if (!request.exactly) {
    await take(scan(scope))
    return target
  }
  // Single paths are looked at one by one; what is seen through a link is not there.
  const looked = new Set(wanted.map(({ path }) => path))
  for (const { path } of wanted)
    for (let at = parentPath(path); at !== rootPath && !looked.has(at); at = parentPath(at)) looked.add(at)
  await take(source.stat([...looked], request.signal))
  for (const path of [...target.present.keys()].sort()) {
    const parent = parentPath(path)
    if (parent !== rootPath && target.present.get(parent)?.type !== 'dir') target.present.delete(path)
  }
  const inTheWay = wanted.filter(
    ({ path, node }) => node.type !== 'dir' && target.present.get(path)?.type === 'dir',
  )
  if (inTheWay.length > 0) await take(scan(inTheWay.map(({ path }) => path)))
  return target
}

/** Folders of the entry above the restored paths: made where they are missing, never changed where they are. */
async function foldersAbove(
  request: RestoreRequest,
  wanted: readonly WantedPath[],
  present: Map<RawPath, Attributes>,
): Promise<WantedPath[]> {
  const { destination } = request
  const known = new Set(wanted.map(({ path }) => path))
  const above = new Set<RawPath>()
  for (const { path } of [...wanted, ...request.extras]) {
    for (
      let folder = parentPath(path);
      folder !== rootPath && !known.has(folder);
      folder = parentPath(folder)
    ) {
      known.add(folder)
      above.add(folder)
    }
  }
  if (above.size === 0) return []
  const made: WantedPath[] = []
  const missing = new Set<RawPath>()
  for await (const record of destination.source.stat([...above].sort(), request.signal)) {
    if (record.kind === 'problem' && record.problem === 'vanished') missing.add(record.path)
    else if (record.kind === 'item' && record.attributes.type !== 'dir')
      throw notAFolder(record.path, destination.label)
  }
  const reader = openTreeReader(request.repository, request.tree, request.signal)
  for (const path of [...missing].sort()) {
    const node = await reader.node(destination.map.backward(path))
    made.push({ path, node: node?.type === 'dir' ? destination.mapOwner(node) : plainFolder(path) })
    present.delete(path)
  }
  return made
}

function notAFolder(path: RawPath, label: string): VmlError {
  return new VmlError(
    'conflict',
    `Cannot restore through "${printable(path)}" on ${label}: it is not a folder`,
    {
      hint: 'Nothing was changed. A link is never followed: move it away, or restore elsewhere with --to',
    },
  )
}

function plainFolder(path: RawPath): TreeNode {
  const name = path.slice(path.lastIndexOf('/') + 1)
  return { name: name as TreeNode['name'], type: 'dir', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n }
}

function refuseMounts(wanted: readonly WantedPath[], mounts: ReadonlySet<RawPath>): void {
  if (mounts.size === 0) return
  for (const { path } of wanted) {
    const mount = path === rootPath ? undefined : nearest(parentPath(path), mounts)
    if (mount === undefined) continue
    throw new VmlError(
      'conflict',
      `Cannot restore "${printable(path)}": another file system is mounted at "${printable(mount as RawPath)}"`,
      {
        hint: 'Nothing was changed. Unmount it, or restore elsewhere with --to',
      },
    )
  }
}

/** Where nobody could look, something may stand that no safety entry would hold. */
function refuseUnreadable(wanted: readonly WantedPath[], { present, unreadable }: Target): void {
  if (unreadable.size === 0) return
  for (const { path } of wanted) {
    const message = nearest(present.has(path) && path !== rootPath ? parentPath(path) : path, unreadable)
    if (message === undefined) continue
    throw new VmlError(
      'conflict',
      `Cannot restore "${printable(path)}": what stands there cannot be read (${message})`,
      { hint: 'Nothing was changed. Make the folder readable, or restore elsewhere with --to' },
    )
  }
}

/** The rule that keeps a path of the target from being removed, if any. */
function openGuard(
  request: RestoreRequest,
  { mounts, unreadable }: Target,
): (path: RawPath, attributes: Attributes) => string | undefined {
  const { map } = request.destination
  const never = new Map(request.never.map(({ path, rule }) => [path, rule]))
  const without = new Set(request.without)
  const moved = new Set(map.renames.map(({ from }) => from))
  const added = new Set(request.extras.map(({ path }) => path))
  return (path, attributes) => {
    if (attributes.type === 'socket') return 'a socket, which no entry holds'
    const own = nearest(path, never)
    if (own !== undefined) return own
    if (nearest(path, mounts) !== undefined) return 'another mount'
    if (nearest(path, unreadable) !== undefined) return 'not readable now'
    if (added.has(path)) return 'written by this restore'
    const original = map.backward(path)
    // The entry's folder of that name goes elsewhere here, so that it says nothing of this one.
    if (original === path && nearest(path, moved) !== undefined) return 'not what the entry has there'
    if (nearest(original, without) !== undefined) return 'a part of the entry that is not restored'
    return request.protectedBy(original, attributes.type === 'dir')
  }
}

/** Reading such a file as an archive costs little more than its digest, and tells its attributes too. */
const packedBytesMax = 1024 * 1024

async function differingDoubts(request: RestoreRequest, plan: RestorePlan): Promise<ReadonlySet<RawPath>> {
  const nodes = new Map(plan.doubtful.map(({ path, node }) => [path, node]))
  const differing = new Set(nodes.keys())
  if (nodes.size === 0) return differing
  const { repository, destination, signal } = request
  const { source } = destination
  const told = source.fidelity.xattrs || source.fidelity.acls
  const hashed: RawPath[] = []
  const packed: RawPath[] = []
  for (const [path, { type, size = 0, xattrs = [] }] of nodes) {
    const asArchive = type !== 'file' || xattrs.length > 0 || size <= packedBytesMax
    if (asArchive && (told || type !== 'file')) packed.push(path)
    else hashed.push(path)
  }
  const isEqual = async (node: TreeNode, sha256: string) =>
    sha256 === (await contentDigest(repository, node, signal))
  for await (const { path, sha256 } of source.digest(hashed, signal)) {
    const node = nodes.get(path)
    if (node && sha256 !== undefined && (await isEqual(node, sha256))) differing.delete(path)
  }
  // Of several names of one file the first brings all that is to be known.
  const equalAs = new Map<RawPath, TreeNode>()
  for await (const record of source.read(packed, signal)) {
    if (record.kind !== 'file') {
      differing.add(record.path)
      continue
    }
    const node = nodes.get(record.path)
    const sha256 = record.attributes.type === 'file' ? await digestSegments(record.segments()) : ''
    if (!node) continue
    const first = record.hardLinkTo === undefined ? undefined : equalAs.get(record.hardLinkTo)
    if (record.hardLinkTo !== undefined) {
      if (first && sameStored(first, node)) differing.delete(record.path)
      continue
    }
    if (archiveDifferences(node, record.attributes, source.fidelity).length > 0) continue
    if (node.type === 'file' && !(await isEqual(node, sha256))) continue
    differing.delete(record.path)
    equalAs.set(record.path, node)
  }
  return differing
}

function sameStored(left: TreeNode, right: TreeNode): boolean {
  const { content: one = [], xattrs: some = [] } = left
  const { content: other = [], xattrs: others = [] } = right
  return (
    one.length === other.length &&
    one.every((id, index) => id === other[index]) &&
    some.length === others.length
  )
}

/** Folders on the way to a write that are there already: each must be a real folder when the first byte goes out. */
function writeParents({ plan, request }: PreparedRestore): RawPath[] {
  const made = new Set<RawPath>()
  for (const { path, node, reason } of plan.writes)
    if (node.type === 'dir' && reason !== 'folder') made.add(path)
  const parents = new Set<RawPath>()
  for (const { path } of [...plan.writes, ...request.extras]) {
    for (
      let folder = parentPath(path);
      folder !== rootPath && !parents.has(folder);
      folder = parentPath(folder)
    ) {
      if (!made.has(folder)) parents.add(folder)
    }
  }
  return [...parents].sort()
}

async function* writeItems(
  prepared: PreparedRestore,
  expected: Map<RawPath, Expected>,
): AsyncIterable<WriteItem> {
  const { plan, request } = prepared
  const bytesTotal = plan.bytes
  let bytesDone = 0
  let filesDone = 0
  for (const write of plan.writes) {
    yield await writeItem(prepared, write, expected)
    if (write.hardLinkTo === undefined) bytesDone += write.node.size ?? 0
    request.reporter.progress({
      phase: 'writing',
      filesDone: ++filesDone,
      filesTotal: plan.writes.length,
      bytesDone,
      bytesTotal,
      item: printable(write.path),
    })
  }
  for (const { path, bytes, attributes } of request.extras) {
    expected.set(path, { attributes, sha256: () => digestSegments(dataSegments(bytes)) })
    yield { path, attributes, segments: () => dataSegments(bytes) }
  }
}

async function writeItem(
  { request, present }: PreparedRestore,
  write: PlannedWrite,
  expected: Map<RawPath, Expected>,
): Promise<WriteItem> {
  const { path, node, hardLinkTo } = write
  const { repository, signal } = request
  expected.set(path, {
    attributes: node,
    ...(node.type === 'file' ? { sha256: () => contentDigest(repository, node, signal) } : {}),
    standing: node.type === 'dir' && present.get(path)?.type === 'dir',
  })
  const segments = () =>
    node.type === 'file' ? repository.readFile(node.content ?? [], { signal }) : noSegments()
  return {
    path,
    attributes: node,
    ...(hardLinkTo === undefined
      ? await withHoles(node, segments, request.destination.source)
      : { hardLinkTo, segments }),
  }
}

/** From here on a file may well have holes that are worth one look. */
const holedBytesMin = 64 * 1024
/** Up to here a file is held in memory, so that it is read from the store once. */
const heldBytesMax = 32 * 1024 * 1024

/** The archive names the holes before the data: a file is looked through first, a large one only where it repeats itself. */
async function withHoles(
  node: TreeNode,
  segments: () => AsyncIterable<Segment>,
  source: Source,
): Promise<Pick<WriteItem, 'extents' | 'segments'>> {
  const { content = [], size = 0 } = node
  if (node.type !== 'file' || size < holedBytesMin || !source.fidelity.sparse) return { segments }
  if (size > heldBytesMax) {
    const repeats = content.some((id, index) => id === content[index + 1])
    return repeats ? { extents: await findExtents(segments()), segments } : { segments }
  }
  const held: Segment[] = []
  for await (const segment of segments())
    held.push(segment.kind === 'hole' ? segment : { kind: 'data', bytes: Buffer.from(segment.bytes) })
  return { extents: await findExtents(eachOf(held)), segments: () => eachOf(held) }
}

async function* eachOf<T>(items: readonly T[]): AsyncIterable<T> {
  yield* items
}

async function* dataSegments(bytes: Buffer): AsyncIterable<Segment> {
  if (bytes.length > 0) yield { kind: 'data', bytes }
}

async function* noSegments(): AsyncIterable<Segment> {}
