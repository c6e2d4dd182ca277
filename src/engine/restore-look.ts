// Looks at the entry and at the target before a restore: what is wanted, what stands there, what must stay.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import {
  baseName,
  entryPathsMax,
  isWithin,
  nearestIn,
  nearestOf,
  outermost,
  parentPath,
  type RawPath,
  rootPath,
} from '../model/raw-path.ts'
import type { Attributes, TreeNode } from '../model/tree.ts'
import { isOfRestore, judgeLeftover } from '../source/restore-leftover.ts'
import { standingOf } from '../source/standing.ts'
import type { Scanned, Source } from '../source/source.ts'
import { isDamage } from '../store/damage.ts'
import { archiveDifferences, contentDigest, digestSegments } from './proof.ts'
import type { DamagedPath } from './restore-damage.ts'
import { missingAt, missingReasons } from './restore-missing.ts'
import type { RestorePlan, WantedPath } from './restore-plan.ts'
import { neededOf } from './restore-node.ts'
import type { RestoreRequest } from './restore-request.ts'
import { vmlPath } from './vml-path.ts'
import { openTreeReader, walkTree } from './tree-reader.ts'

export interface Wanted {
  readonly wanted: WantedPath[]
  /** Of the entry, but VML's own files on the target: they stay as they are. */
  readonly own: { path: RawPath; why: string }[]
  /** Folders whose tree cannot be read: neither made nor changed. */
  readonly damaged: readonly DamagedPath[]
}

export async function collectWanted(request: RestoreRequest): Promise<Wanted> {
  const { repository, destination, signal } = request
  const reader = openTreeReader(repository, request.tree, signal)
  const wanted: WantedPath[] = []
  const own: { path: RawPath; why: string }[] = []
  const damaged = new Map<RawPath, DamagedPath>()
  const onePlaceEach = openPlaces(request)
  const without = new Set(request.without)
  const never = new Map(request.never.map(({ path, rule }) => [path, rule]))
  const onDamage = (path: RawPath, why: string) => {
    const target = destination.map.forward(path)
    damaged.set(target, { path: target, type: 'folder', why })
  }
  // VML's own folder comes where it was named, and never with what is around it.
  const named = request.paths.filter((path) => isWithin(path, vmlPath))
  const isOwnFolder = (path: RawPath) =>
    isWithin(path, vmlPath) && !named.some((each) => isWithin(path, each))
  const isOut = (path: RawPath, target: RawPath): boolean => {
    if (isOwnFolder(path) || without.has(path)) return true
    const rule = never.get(target)
    if (rule !== undefined) own.push({ path: target, why: rule })
    return rule !== undefined
  }
  const take = (path: RawPath, target: RawPath, node: TreeNode) => {
    if (node.type === 'socket' || node.type === 'irregular') return
    if (request.exactly && !request.exactly.has(path)) return
    onePlaceEach(path, target)
    if (wanted.length >= entryPathsMax) {
      throw new VmlError('unsupported', `Cannot restore more than ${entryPathsMax} paths at once`, {
        hint: 'Nothing was changed. Restore folders of it one by one: ENTRY:/path',
      })
    }
    const owned = destination.mapOwner(node)
    wanted.push({ path: target, node: destination.source.local ? neededOf(owned, destination) : owned })
  }
  for (const path of outermost(request.paths)) {
    const node = await reader.node(path).catch((error: unknown) => {
      if (!isDamage(error)) throw error
      onDamage(path, error.message)
      return undefined
    })
    if (damaged.has(destination.map.forward(path))) continue
    if (path !== rootPath) {
      if (!node) {
        const lost = request.missing && missingAt(request.missing, path)
        const because = lost === undefined ? '' : `: ${missingReasons[lost]}`
        throw new VmlError(
          'not-found',
          `Cannot find "${printable(path)}" in ${request.entryName}${because}`,
          {
            hint: `Nothing was changed. Look what is there with: vml ls ${request.entryName.replace('#', '')}`,
          },
        )
      }
      if (isOwnFolder(path) || nearestIn(path, without) !== undefined) continue
      const target = destination.map.forward(path)
      const rule = nearestOf(target, never)
      if (rule !== undefined) own.push({ path: target, why: rule })
      if (rule !== undefined) continue
      take(path, target, node)
    }
    const tree = path === rootPath ? request.tree : node?.subtree
    if (tree === undefined) continue
    const out = new Set<RawPath>()
    const enter = (inner: RawPath) => !out.has(inner)
    for await (const each of walkTree(repository, tree, { at: path, signal, enter, onDamage })) {
      const target = destination.map.forward(each.path)
      if (isOut(each.path, target)) out.add(each.path)
      else take(each.path, target, each.node)
    }
  }
  if (damaged.size === 0) return { wanted, own, damaged: [] }
  return { wanted: wanted.filter(({ path }) => !damaged.has(path)), own, damaged: [...damaged.values()] }
}

/**
 * Fails with `conflict` where two paths of the entry would come to one place, as the home of one user does that goes where an included
 * folder of the entry lies: whichever came last would have won.
 */
function openPlaces({
  destination: { map },
  entryName,
}: RestoreRequest): (path: RawPath, target: RawPath) => void {
  const from = new Map<RawPath, RawPath>()
  // A single folder that everything lies in keeps apart what is apart.
  if (map.renames.length === 0 || (map.renames.length === 1 && map.renames[0]?.from === rootPath))
    return () => {}
  return (path, target) => {
    const other = from.get(target)
    if (other !== undefined && other !== path) {
      throw new VmlError(
        'conflict',
        `Cannot restore ${entryName}: both "${printable(other)}" and "${printable(path)}" of it come to "${printable(target)}"`,
        {
          hint: `Nothing was changed. Restore one of the two alone, as in vml restore ${entryName.replace('#', '')}:${printable(path)}, or everything below a folder of its own with --to DIR`,
        },
      )
    }
    from.set(target, path)
  }
}

export interface Target {
  readonly present: Map<RawPath, Attributes>
  readonly mounts: ReadonlySet<RawPath>
  readonly unreadable: ReadonlyMap<RawPath, string>
  /** What a restore that was cut off held there: nobody's, so that it is neither kept nor compared. */
  readonly leftovers: readonly RawPath[]
  /** What such a restore had taken from its place, and nobody else has: it is treated as any file, and named. */
  readonly setAside: readonly RawPath[]
}

/** Everything at and below the restored paths: what stands there may be in the way, or have to go. */
export async function lookAtTarget(
  request: RestoreRequest,
  scope: readonly RawPath[],
  wanted: readonly WantedPath[],
): Promise<Target> {
  const target: Target & {
    mounts: Set<RawPath>
    unreadable: Map<RawPath, string>
    leftovers: RawPath[]
    setAside: RawPath[]
  } = {
    leftovers: [],
    setAside: [],
    present: new Map<RawPath, Attributes>(),
    mounts: new Set<RawPath>(),
    unreadable: new Map<RawPath, string>(),
  }
  const { source } = request.destination
  const ofTheEntry = new Set(wanted.map(({ path }) => path).filter((path) => isOfRestore(baseName(path))))
  const leftover = ({ path, attributes }: Scanned) =>
    attributes.type === 'dir' || ofTheEntry.has(path)
      ? undefined
      : judgeLeftover(baseName(path), () => standingOf(attributes))
  const take = async (records: ReturnType<Source['scan']>) => {
    for await (const record of records) {
      const left = record.kind === 'item' ? leftover(record) : undefined
      if (left === 'in-hand') continue
      if (left === 'set-aside') target.setAside.push(record.path)
      if (left === 'nobodys') target.leftovers.push(record.path)
      else if (record.kind === 'item') target.present.set(record.path, record.attributes)
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
export async function foldersAbove(
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

export function refuseMounts(wanted: readonly WantedPath[], mounts: ReadonlySet<RawPath>): void {
  if (mounts.size === 0) return
  for (const { path } of wanted) {
    const mount = path === rootPath ? undefined : nearestIn(parentPath(path), mounts)
    if (mount === undefined) continue
    throw new VmlError(
      'conflict',
      `Cannot restore "${printable(path)}": another file system is mounted at "${printable(mount)}"`,
      {
        hint: 'Nothing was changed. Unmount it, or restore elsewhere with --to',
      },
    )
  }
}

/** Where nobody could look, something may stand that no safety entry would hold. */
export function refuseUnreadable(wanted: readonly WantedPath[], { present, unreadable }: Target): void {
  if (unreadable.size === 0) return
  for (const { path } of wanted) {
    const message = nearestOf(present.has(path) && path !== rootPath ? parentPath(path) : path, unreadable)
    if (message === undefined) continue
    throw new VmlError(
      'conflict',
      `Cannot restore "${printable(path)}": what stands there cannot be read (${message})`,
      { hint: 'Nothing was changed. Make the folder readable, or restore elsewhere with --to' },
    )
  }
}

/** The rule that keeps a path of the target from being removed, if any. */
export function openGuard(
  request: RestoreRequest,
  { mounts, unreadable }: Target,
  damaged: readonly DamagedPath[],
): (path: RawPath, attributes: Attributes) => string | undefined {
  const { map } = request.destination
  const never = new Map(request.never.map(({ path, rule }) => [path, rule]))
  const without = new Set(request.without)
  const moved = new Set(map.renames.map(({ from }) => from))
  const added = new Set(request.extras.map(({ path }) => path))
  const unknown = new Set(damaged.map(({ path }) => path))
  return (path, attributes) => {
    if (attributes.type === 'socket') return 'a socket, which no entry holds'
    const own = nearestOf(path, never)
    if (own !== undefined) return own
    if (nearestIn(path, mounts) !== undefined) return 'another mount'
    if (nearestIn(path, unreadable) !== undefined) return 'not readable now'
    if (added.has(path)) return 'written by this restore'
    if (nearestIn(path, unknown) !== undefined) return 'what the entry has there cannot be read'
    const original = map.backward(path)
    // The entry's folder of that name goes elsewhere here, so that it says nothing of this one.
    if (original === path && nearestIn(path, moved) !== undefined) return 'not what the entry has there'
    if (nearestIn(original, without) !== undefined) return 'a part of the entry that is not restored'
    const missing = request.missing && missingAt(request.missing, original)
    if (missing !== undefined) return missingReasons[missing]
    return request.protectedBy(original, attributes.type === 'dir')
  }
}

/** Reading such a file as an archive costs little more than its digest, and tells its attributes too. */
const packedBytesMax = 1024 * 1024

/** What cannot be compared, because the entry's content cannot be read, counts as differing and is named in `damaged`. */
export async function differingDoubts(
  request: RestoreRequest,
  plan: Pick<RestorePlan, 'doubtful'>,
  damaged: DamagedPath[] = [],
): Promise<ReadonlySet<RawPath>> {
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
  const isEqual = async (path: RawPath, node: TreeNode, sha256: string) => {
    try {
      return sha256 === (await contentDigest(repository, node, signal))
    } catch (error) {
      if (!isDamage(error)) throw error
      damaged.push({ path, type: 'file', why: error.message })
      return false
    }
  }
  for await (const { path, sha256 } of source.digest(hashed, signal)) {
    const node = nodes.get(path)
    if (node && sha256 !== undefined && (await isEqual(path, node, sha256))) differing.delete(path)
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
    if (node.type === 'file' && !(await isEqual(record.path, node, sha256))) continue
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
