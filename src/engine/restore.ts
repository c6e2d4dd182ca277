// Puts an entry back: plan, safety entry, removal, one stream of the differences, proof by reading back.
import { VmlError } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import { printable } from '../base/raw-text.ts'
import type { TreeId } from '../model/ids.ts'
import type { PathMap } from '../model/path-map.ts'
import { isWithin, parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Attributes, Segment, TreeNode } from '../model/tree.ts'
import type { PathFailure, Source, WriteItem } from '../source/source.ts'
import type { Repository } from '../store/store.ts'
import { contentDigest, digestSegments, type Expected, prove, type ProofReport } from './proof.ts'
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
  const wanted = await collectWanted(request)
  const scope = request.paths.map((path) => destination.map.forward(path))
  const { present, mounts, unreadable } = await lookAtTarget(request, scope, wanted)
  const above = await foldersAbove(request, scope, present)
  refuseMounts(wanted, mounts)
  const plan = planRestore({
    wanted: [...above, ...wanted],
    present,
    overwrite: request.overwrite,
    remove: request.remove,
    scope: request.removeWithin?.map((path) => destination.map.forward(path)) ?? scope,
    protectedBy: (path, attributes) => protection(request, path, attributes, mounts, unreadable),
    owners: destination.owners,
    timeResolutionNs: destination.source.fidelity.timeResolutionNs,
    sameMachine: destination.sameMachine,
  })
  const settled = settleDoubts(plan, await differingDoubts(request, plan))
  return { request, plan: settled, present, endangered: endangeredPaths(settled, present) }
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

async function collectWanted(request: RestoreRequest): Promise<WantedPath[]> {
  const { repository, destination, signal } = request
  const reader = openTreeReader(repository, request.tree, signal)
  const wanted: WantedPath[] = []
  const isOut = (path: RawPath) => isVmlDocument(path) || request.without.some((each) => isWithin(path, each))
  const take = (path: RawPath, node: TreeNode) => {
    if (node.type === 'socket' || node.type === 'irregular') return
    wanted.push({ path: destination.map.forward(path), node: destination.mapOwner(node) })
  }
  for (const path of withoutNested(request.paths)) {
    const node = await reader.node(path)
    if (path !== rootPath) {
      if (!node) {
        throw new VmlError('not-found', `Cannot find "${printable(path)}" in ${request.entryName}`, {
          hint: `Nothing was changed. Look what is there with: vml ls ${request.entryName}`,
        })
      }
      if (isOut(path)) continue
      take(path, node)
    }
    const tree = path === rootPath ? request.tree : node?.subtree
    if (tree === undefined) continue
    for await (const each of walkTree(repository, tree, {
      at: path,
      signal,
      enter: (inner) => !isOut(inner),
    })) {
      if (!isOut(each.path)) take(each.path, each.node)
    }
  }
  return wanted
}

function isVmlDocument(path: RawPath): boolean {
  return path === '/.vml' || path.startsWith('/.vml/')
}

function withoutNested(paths: readonly RawPath[]): RawPath[] {
  return paths.filter((path) => !paths.some((other) => other !== path && isWithin(path, other)))
}

interface Target {
  readonly present: Map<RawPath, Attributes>
  readonly mounts: readonly RawPath[]
  readonly unreadable: readonly RawPath[]
}

async function lookAtTarget(
  request: RestoreRequest,
  scope: readonly RawPath[],
  wanted: readonly WantedPath[],
): Promise<Target> {
  const { source } = request.destination
  const present = new Map<RawPath, Attributes>()
  const mounts: RawPath[] = []
  const unreadable: RawPath[] = []
  // Below a whole folder everything counts, since it may have to go; for single files only they themselves.
  const records =
    request.remove || wanted.length > 10_000
      ? source.scan({ roots: scope, signal: request.signal })
      : source.stat([...new Set(wanted.map(({ path }) => path))], request.signal)
  for await (const record of records) {
    if (record.kind === 'item') present.set(record.path, record.attributes)
    else if (record.kind === 'mount') mounts.push(record.path)
    else if (record.problem !== 'vanished') unreadable.push(record.path)
  }
  return { present, mounts, unreadable }
}

/** Folders of the entry above the restored paths: made where they are missing, never changed where they are. */
async function foldersAbove(
  request: RestoreRequest,
  scope: readonly RawPath[],
  present: Map<RawPath, Attributes>,
): Promise<WantedPath[]> {
  const { destination } = request
  const above = new Set<RawPath>()
  for (const path of scope) {
    for (let folder = parentPath(path); folder !== rootPath; folder = parentPath(folder)) above.add(folder)
  }
  for (const path of scope) above.delete(path)
  if (above.size === 0) return []
  const wanted: WantedPath[] = []
  const missing = new Set<RawPath>()
  for await (const record of destination.source.stat([...above].sort(), request.signal)) {
    if (record.kind === 'problem' && record.problem === 'vanished') missing.add(record.path)
    else if (record.kind === 'item' && record.attributes.type !== 'dir')
      throw notAFolder(record.path, destination.label)
  }
  const reader = openTreeReader(request.repository, request.tree, request.signal)
  for (const path of [...missing].sort()) {
    const node = await reader.node(destination.map.backward(path))
    wanted.push({ path, node: node?.type === 'dir' ? destination.mapOwner(node) : plainFolder(path) })
    present.delete(path)
  }
  return wanted
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

function refuseMounts(wanted: readonly WantedPath[], mounts: readonly RawPath[]): void {
  for (const mount of mounts) {
    const inside = wanted.find(({ path }) => path !== mount && isWithin(path, mount))
    if (!inside) continue
    throw new VmlError(
      'conflict',
      `Cannot restore "${printable(inside.path)}": another file system is mounted at "${printable(mount)}"`,
      {
        hint: 'Nothing was changed. Unmount it, or restore elsewhere with --to',
      },
    )
  }
}

function protection(
  request: RestoreRequest,
  path: RawPath,
  attributes: Attributes,
  mounts: readonly RawPath[],
  unreadable: readonly RawPath[],
): string | undefined {
  if (attributes.type === 'socket') return 'a socket, which no entry holds'
  if (mounts.some((mount) => isWithin(path, mount))) return 'another mount'
  if (unreadable.some((each) => isWithin(path, each))) return 'not readable now'
  const original = request.destination.map.backward(path)
  if (request.without.some((each) => isWithin(original, each)))
    return 'a part of the entry that is not restored'
  return request.protectedBy(original, attributes.type === 'dir')
}

async function differingDoubts(request: RestoreRequest, plan: RestorePlan): Promise<ReadonlySet<RawPath>> {
  const nodes = new Map(plan.doubtful.map(({ path, node }) => [path, node]))
  const differing = new Set(nodes.keys())
  if (nodes.size === 0) return differing
  for await (const { path, sha256 } of request.destination.source.digest([...nodes.keys()], request.signal)) {
    const node = nodes.get(path)
    if (
      node &&
      sha256 !== undefined &&
      sha256 === (await contentDigest(request.repository, node, request.signal))
    ) {
      differing.delete(path)
    }
  }
  return differing
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
    yield writeItem(request, write, expected)
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

function writeItem(
  request: RestoreRequest,
  write: PlannedWrite,
  expected: Map<RawPath, Expected>,
): WriteItem {
  const { path, node, hardLinkTo } = write
  const { repository, signal } = request
  expected.set(path, {
    attributes: node,
    ...(node.type === 'file' ? { sha256: () => contentDigest(repository, node, signal) } : {}),
  })
  return {
    path,
    attributes: node,
    ...(hardLinkTo === undefined ? {} : { hardLinkTo }),
    segments: () =>
      node.type === 'file' ? repository.readFile(node.content ?? [], { signal }) : noSegments(),
  }
}

async function* dataSegments(bytes: Buffer): AsyncIterable<Segment> {
  if (bytes.length > 0) yield { kind: 'data', bytes }
}

async function* noSegments(): AsyncIterable<Segment> {}
