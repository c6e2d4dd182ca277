// What a stage on a machine over ssh changes, exactly: the list of its upper folders against the root as it was, with fingerprints that the machine computes.
import { VmlError } from '../base/failure.ts'
import { asRaw, printable } from '../base/raw-text.ts'
import { compareRaw, nearestOf, parentPath, type RawName, type RawPath, rootPath } from '../model/raw-path.ts'
import { isMereWriting } from '../model/mere-writing.ts'
import type { Fingerprint, PathChange } from '../model/transaction.ts'
import type { Attributes } from '../model/tree.ts'
import { listBelow } from '../source/list-below.ts'
import { isChange } from '../stage/change-set.ts'
import { overlayPrefix } from '../stage/fingerprint.ts'
import { keyOf, withOtherNames } from '../stage/hard-links.ts'
import { namesByNumber } from '../stage/index-copies.ts'
import { indexedStatus, listedStatus } from '../stage/listed-index.ts'
import { lowerConflicts } from '../stage/lower-conflicts.ts'
import { overlaysOf, type MountPlan, type StagedMount } from '../stage/mount-plan.ts'
import { entryOf, type RootIndex, rowsBelow } from '../stage/root-index.ts'
import { type Candidate, type Placed, upperOf, type UpperLook, walkUpper } from '../stage/upper-walk.ts'
import type { RemoteMachine } from './remote-machine.ts'
import { type RemoteThing, remoteThings } from './remote-fingerprints.ts'
import type { RemoteStage } from './remote-stage.ts'

/** How the new thing of a path comes into being where it is made ready. */
export interface ReadySource {
  readonly path: RawPath
  readonly overlay: StagedMount
  /** `link`: one more name of what lies at `from`. `pack`: a copy without the overlay's marks. `copy`: of a file that has a name in the overlay's own index only. */
  readonly kind: 'link' | 'pack' | 'copy'
  readonly from: RawPath
}

export interface RemoteChanges {
  /** In the order of the paths' bytes. */
  readonly changes: readonly PathChange[]
  readonly sources: readonly ReadySource[]
  /** Of a folder that stays, what time it has in the stage. */
  folderMtimeNs(path: RawPath): bigint | undefined
}

/** A source tree of the largest kind; all that is told of each is in memory, some times over. */
const stagedPathsMax = 1_000_000

/** Nobody may be in the stage. Fails with `conflict` where something that it changes was changed on the machine meanwhile. */
export async function readRemoteChanges(
  machine: RemoteMachine,
  { plan, index }: Pick<RemoteStage, 'plan' | 'index'>,
): Promise<RemoteChanges> {
  const overlays = overlaysOf(plan)
  const uppers = new Map<RawPath, Attributes>()
  const copies = new Map<StagedMount, Placed[]>()
  const { shell, signal } = machine
  const list = (folder: RawPath) => listBelow(shell, { starts: [folder], pathsMax: stagedPathsMax, signal })
  for (const overlay of overlays) {
    for await (const { path, attributes } of list(upperOf(plan, overlay))) uppers.set(path, attributes)
    const found: Placed[] = []
    const folder = asRaw(`${overlay.layer}/work/index`) as RawPath
    for await (const { path, attributes } of list(folder))
      if (path !== folder) found.push({ place: path, status: listedStatus(attributes) })
    copies.set(overlay, found)
  }
  // Everything of the upper folders is looked at whole: whiteouts, marks, hashes.
  const upperThings = await remoteThings(machine, [
    ...uppers.keys(),
    ...[...copies.values()].flat().map(({ place }) => place),
  ])
  const look = lookAt(uppers, upperThings, index)
  const candidates = overlays.flatMap((overlay) => {
    const walked = walkUpper(plan, overlay, look)
    const known = new Map(walked.map((each) => [each.path, each]))
    return [
      ...walked,
      ...namesByNumber(plan, overlay, {
        index,
        copies: copies.get(overlay) ?? [],
        lowerAt: look.at,
        isSeen: (path) => known.has(path) || isCovered(path, known, upperThings),
      }),
    ]
  })
  candidates.sort((one, other) => compareRaw(one.path, other.path))
  const lowerThings = await remoteThings(
    machine,
    candidates.flatMap(({ lower }) => (lower ? [lower.place] : [])),
  )
  const read = candidates.map((candidate) => {
    const before = candidate.lower && lowerThings.get(candidate.lower.place)?.state
    const after = candidate.upper && upperThings.get(candidate.upper.place)?.state
    const change = changeOf(candidate.path, before, after)
    return { ...candidate, before, after, isChange: isChange(before, after) && !isMereWriting(change) }
  })
  for (const { path, lower, before } of read)
    if (lower !== undefined && before === undefined) throw changedMeanwhile([path])
  const changed = read.filter((each) => each.isChange)
  const changes = changed.map(({ path, before, after }) => changeOf(path, before, after))
  const conflicts = lowerConflicts({ changes, linked: new Set() }, index)
  if (conflicts.length > 0) throw changedMeanwhile(conflicts)
  await requireNothingMore(machine, changes)
  const sources = sourcesOf(
    plan,
    read.filter((each) => !each.isChange),
    { changed, upperThings },
  )
  const staying = new Set(read.flatMap(({ path, isChange: changes }) => (changes ? [] : [path])))
  const names = new Map(
    sources.flatMap(({ path, kind, from }) =>
      kind === 'link' && staying.has(from) ? [[path, [from]] as const] : [],
    ),
  )
  return {
    changes: withOtherNames(changes, index, names),
    sources,
    folderMtimeNs(path) {
      const overlay = nearestOf(path, new Map(overlays.map((each) => [each.path, each])))
      const place = overlay && inLayer(overlay, 'upper', path)
      const found = place && uppers.get(place)
      return found?.type === 'dir' ? found.mtimeNs : undefined
    },
  }
}

function changeOf(
  path: RawPath,
  before: Fingerprint | undefined,
  after: Fingerprint | undefined,
): PathChange {
  return { path, ...(before ? { before } : {}), ...(after ? { after } : {}) }
}

/** Where a path lies in a folder of the layer of its mount. */
export function inLayer({ path: top, layer }: StagedMount, name: 'upper' | 'ready', path: RawPath): RawPath {
  const rest = top === rootPath ? path : path.slice(top.length)
  return asRaw(`${layer}/${name}${rest === '/' ? '' : rest}`) as RawPath
}

/** Upper things from what was read whole, lower ones from the index. */
function lookAt(
  uppers: ReadonlyMap<RawPath, Attributes>,
  things: ReadonlyMap<RawPath, RemoteThing>,
  index: RootIndex,
): UpperLook {
  const children = new Map<RawPath, RawName[]>()
  for (const path of uppers.keys()) {
    const folder = parentPath(path)
    const others = children.get(folder)
    const name = asRaw(path.slice(path.lastIndexOf('/') + 1)) as RawName
    if (others) others.push(name)
    else children.set(folder, [name])
  }
  const markOf = (place: RawPath, name: string) =>
    things.get(place)?.marks.find((mark) => mark.name === `${overlayPrefix}${name}`)
  return {
    at(place) {
      const attributes = things.get(place)?.state
      if (attributes) return { place, status: listedStatus(attributes) }
      const entry = entryOf(index, place)
      return entry && { place, status: indexedStatus(entry) }
    },
    names: (place) => (uppers.has(place) ? (children.get(place) ?? []) : namesOf(index, place)),
    isOpaque(place, path) {
      for (const name of ['redirect', 'metacopy'])
        if (markOf(place, name))
          throw new VmlError(
            'integrity.format',
            `Cannot read the change set of the stage: "${printable(path)}" has a mark of another kind of overlay (${name})`,
          )
      const mark = markOf(place, 'opaque')
      return mark !== undefined && Buffer.from(mark.value).toString('latin1') === 'y'
    },
  }
}

function namesOf(index: RootIndex, folder: RawPath): RawName[] {
  const [from, to] = rowsBelow(index, folder)
  const start = folder === rootPath ? 1 : folder.length + 1
  const names: RawName[] = []
  for (let row = from; row < to; row++) {
    const path = index.paths[row] ?? rootPath
    if (path.length > start && !path.includes('/', start)) names.push(asRaw(path.slice(start)) as RawName)
  }
  return names
}

/** A folder above that covers what was there, or that is gone or no folder any more. */
function isCovered(
  path: RawPath,
  known: ReadonlyMap<RawPath, Candidate>,
  things: ReadonlyMap<RawPath, RemoteThing>,
): boolean {
  for (let at = parentPath(path); ; at = parentPath(at)) {
    const found = known.get(at)
    if (found) {
      if (!found.upper) return true
      const thing = things.get(found.upper.place)
      if (thing?.state.type !== 'dir') return true
      if (thing.marks.some(({ name }) => name === `${overlayPrefix}opaque`)) return true
    }
    if (at === rootPath) return false
  }
}

interface ReadCandidate extends Candidate {
  readonly after: Fingerprint | undefined
}

function sourcesOf(
  plan: MountPlan,
  same: readonly ReadCandidate[],
  {
    changed,
    upperThings,
  }: {
    readonly changed: readonly ReadCandidate[]
    readonly upperThings: ReadonlyMap<RawPath, RemoteThing>
  },
): ReadySource[] {
  const staying = new Map<string, RawPath>()
  for (const { upper, lower, after, path } of same)
    if (upper && lower && after?.type !== 'dir') staying.set(keyOf(upper), path)
  const mounts = new Map(overlaysOf(plan).map((overlay) => [overlay.path, overlay]))
  const firsts = new Map<string, RawPath>()
  return changed.flatMap(({ path, upper, after }): ReadySource[] => {
    const overlay = nearestOf(path, mounts)
    if (!upper || !after || !overlay) return []
    if (after.type === 'dir') return [{ path, overlay, kind: 'pack', from: upper.place }]
    // One file stays one file.
    const key = keyOf(upper)
    const live = staying.get(key)
    if (live !== undefined) return [{ path, overlay, kind: 'link', from: live }]
    const isMarked = (upperThings.get(upper.place)?.marks.length ?? 0) > 0
    if (!isMarked) return [{ path, overlay, kind: 'link', from: upper.place }]
    const first = firsts.get(key)
    if (first !== undefined) return [{ path, overlay, kind: 'link', from: first }]
    firsts.set(key, inLayer(overlay, 'ready', path))
    const isOwn = upper.place === inLayer(overlay, 'upper', path)
    return [{ path, overlay, kind: isOwn ? 'pack' : 'copy', from: upper.place }]
  })
}

/** What came into a folder that goes, since the stage was opened, would go with it. */
export async function requireNothingMore(
  machine: RemoteMachine,
  changes: readonly PathChange[],
): Promise<void> {
  const before = new Set(changes.flatMap(({ path, before: was }) => (was ? [path] : [])))
  for await (const { path } of listBelow(machine.shell, {
    starts: goneFolders(changes),
    signal: machine.signal,
  }))
    if (!before.has(path)) throw changedMeanwhile([path])
}

/** Folders that go, or become something else, and lie in none that does. */
export function goneFolders(changes: readonly PathChange[]): RawPath[] {
  const gone = new Set<RawPath>()
  const tops: RawPath[] = []
  for (const { path, before, after } of changes) {
    if (before?.type !== 'dir' || after?.type === 'dir') continue
    if (!gone.has(parentPath(path))) tops.push(path)
    gone.add(path)
  }
  return tops
}

export function changedMeanwhile([first = rootPath, ...others]: readonly RawPath[]): VmlError {
  return new VmlError(
    'conflict',
    `Cannot commit the transaction: ${printable(first)}${others.length > 0 ? ` and ${others.length} more were` : ' was'} changed on the machine meanwhile`,
    {
      details: { paths: [first, ...others].map(printable) },
      hint: 'Nothing of it was committed. Repeat it',
    },
  )
}
