// Reads the exact change set of a stage: every path that differs between the root and what the stage has, with fingerprints of both.
import { linkSync, renameSync, rmSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { asRaw, printable, rawFromString, rawToBytes } from '../base/raw-text.ts'
import type { ProgressEvent } from '../base/progress.ts'
import { compareRaw, joinPath, nearestOf, rootPath, type RawName, type RawPath } from '../model/raw-path.ts'
import { sameState, type Fingerprint, type PathChange } from '../model/transaction.ts'
import type { Libc } from '../wire/libc.ts'
import { outlineOf, sha256Of } from './fingerprint.ts'
import { forgetPrepared, keyOf, linkPrepared, namesByIndex, withOtherNames } from './hard-links.ts'
import { overlaysOf, type MountPlan } from './mount-plan.ts'
import { hasMeaningfulMarks, hasSetMarks, losesMarks, marksWouldBeLost, withMarksOf } from './layer-marks.ts'
import type { RootIndex } from './root-index.ts'
import { onHost, stageFolderOf } from './stage-folder.ts'
import { lookHere, placed, upperOf, walkUpper, type Candidate, type Placed } from './upper-walk.ts'

export interface ChangeSet {
  /** In the order of the paths' bytes: a folder before what lies in it. */
  readonly changes: readonly PathChange[]
  /** Where the new thing of a created or changed path lies on this host, on the same mount. */
  prepared(path: RawPath): RawPath
  /**
   * Puts what lies beside the upper folders into them, so that a whole new folder can be moved. After it nobody can enter the stage any more: there, a
   * name of a file that stays would be that file itself. To be called right before the commit, which takes the changes that this gives: moving a name moves the ctime
   * of the file, and so that of its other names.
   */
  seal(): readonly PathChange[]
  /** Files (`inodeKey`) that got a name in the stage's own folder, which moved their ctime. */
  readonly linked: ReadonlySet<string>
}

export interface ChangeSetRequest {
  readonly plan: MountPlan
  /** Of the root when the stage was opened: it knows all names of a file. */
  readonly index: RootIndex
  readonly libc: Libc
  /** Differences that are none of the change; what has them stays as it is. */
  isLeftOut?(change: PathChange): boolean
  readonly report?: (event: ProgressEvent) => void
  readonly signal?: AbortSignal | undefined
}

/** Other work gets its turn at least so often. */
const pathsAtOnce = 512

/**
 * Nobody may be in the stage. What is equal in state, and in time of change where it is a file, is no change: copies that were not changed, folders in which only others
 * changed. It can be read again later, after the stage was entered once more.
 */
export async function readChangeSet(request: ChangeSetRequest): Promise<ChangeSet> {
  const { plan, libc, index } = request
  const overlays = overlaysOf(plan)
  const candidates = overlays.flatMap((overlay) => {
    forgetPrepared(linksOf(plan, overlay))
    return [...walkUpper(plan, overlay, lookHere(libc)), ...namesByIndex(plan, overlay, request)]
  })
  candidates.sort((one, other) => compareRaw(one.path, other.path))

  const read = await fingerprintAll(candidates, request)
  const same = read.filter(({ isChange }) => !isChange)
  const changed = read.filter(({ isChange }) => isChange)
  const { places, linked, stayingNames } = prepareLinks(request, same, changed)
  const found = changed.map(({ path, before, after }) => changeOf(path, before, after))
  const marked = losesMarks(found)
  if (marked !== undefined) throw marksWouldBeLost(marked)
  const named = new Map(
    withOtherNames(found, index, stayingNames).map(({ path, otherNames }) => [path, otherNames]),
  )

  // A further name moved the ctime of a file, and its count of names.
  const changesNow = () =>
    changed.map(({ path, lower, before, after }): PathChange => {
      const moved = lower !== undefined && linked.has(keyOf(lower))
      const own = after?.type === 'dir' || (after?.links === 1 && !places.has(path))
      const otherNames = named.get(path)
      return {
        ...changeOf(
          path,
          before && moved ? anew(libc, lower.place, before) : before,
          after === undefined || own ? after : anew(libc, prepared(path), after),
        ),
        ...(otherNames ? { otherNames } : {}),
      }
    })
  const overlayOf = overlayFinder(overlays)
  const inUpper = (path: RawPath): RawPath => {
    const overlay = overlayOf(path)
    if (overlay === undefined) throw new TypeError('Cannot find a path of no mount of the stage')
    const rest = overlay.path === rootPath ? path : path.slice(overlay.path.length)
    return asRaw(`${upperOf(plan, overlay)}${rest === '/' ? '' : rest}`) as RawPath
  }
  const prepared = (path: RawPath): RawPath => places.get(path) ?? inUpper(path)
  return {
    changes: changesNow(),
    linked,
    prepared,
    seal() {
      // The script first: who enters after this finds none.
      rmSync(rawToBytes(stageFolderOf(plan).enter), { force: true })
      for (const [path, place] of places) {
        const target = inUpper(path)
        // A name that only the index of the overlay showed has no place there.
        if (placed(libc, target) === undefined) continue
        renameSync(rawToBytes(place), rawToBytes(target))
        places.delete(path)
      }
      return changesNow()
    },
  }
}

/** Asked for each path, several times: where there is one overlay, it is that of the root. */
function overlayFinder(
  overlays: ReturnType<typeof overlaysOf>,
): (path: RawPath) => ReturnType<typeof overlaysOf>[number] | undefined {
  const mounts = new Map(overlays.map((overlay) => [overlay.path, overlay]))
  const [only, ...others] = overlays
  return others.length === 0 ? () => only : (path) => nearestOf(path, mounts)
}

interface ReadCandidate extends Candidate {
  readonly before: Fingerprint | undefined
  readonly after: Fingerprint | undefined
  readonly isChange: boolean
}

async function fingerprintAll(
  candidates: readonly Candidate[],
  { libc, report, signal, isLeftOut }: ChangeSetRequest,
): Promise<ReadCandidate[]> {
  const done: ReadCandidate[] = []
  let bytesDone = 0
  // Several names of one new file are read once.
  const sums = new Map<string, string>()
  const fingerprint = async (thing: Placed | undefined): Promise<Fingerprint | undefined> => {
    if (thing === undefined) return undefined
    const outline = outlineOf(libc, thing.place, thing.status)
    if (outline.type !== 'file') return outline
    const key = outline.links === 1 ? undefined : keyOf(thing)
    const known = key === undefined ? undefined : sums.get(key)
    const sum =
      known ??
      (await sha256Of(thing.place, (bytes) => {
        signal?.throwIfAborted()
        bytesDone += bytes
      }))
    if (key !== undefined) sums.set(key, sum)
    return { ...outline, sha256: sum }
  }
  for (const candidate of candidates) {
    const before = await fingerprint(candidate.lower)
    const upper = await fingerprint(candidate.upper)
    if (upper && hasSetMarks(before, upper)) throw marksWouldBeLost(candidate.path)
    const after = upper && withMarksOf(before, upper)
    const change = changeOf(candidate.path, before, after)
    done.push({
      ...candidate,
      before,
      after,
      isChange: isChange(before, after) && isLeftOut?.(change) !== true,
    })
    if (done.length % pathsAtOnce !== 0) continue
    await setImmediate()
    signal?.throwIfAborted()
    report?.({
      phase: 'comparing',
      filesDone: done.length,
      filesTotal: candidates.length,
      bytesDone,
      item: printable(candidate.path),
    })
  }
  return done
}

export function changeOf(
  path: RawPath,
  before: Fingerprint | undefined,
  after: Fingerprint | undefined,
): PathChange {
  return { path, ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) }
}

/** A file's time of change counts: compiled Python, make and others go by it (tx.md 1.2). */
export function isChange(before: Fingerprint | undefined, after: Fingerprint | undefined): boolean {
  return !sameState(before, after) || (before?.type === 'file' && before.mtimeNs !== after?.mtimeNs)
}

/**
 * Where a changed path has one file with a path that stays as it is, its new thing is a further name of the live file. Where its new content is known by the
 * overlay's own index only, it gets a name beside the upper folder.
 */
function prepareLinks(
  { plan }: ChangeSetRequest,
  same: readonly ReadCandidate[],
  changed: readonly ReadCandidate[],
): {
  places: Map<RawPath, RawPath>
  linked: Set<string>
  /** Of each path that becomes a name of a file that stays: its names. */
  stayingNames: Map<RawPath, RawPath[]>
} {
  const staying = new Map<string, Placed & { readonly names: RawPath[]; readonly isMarked: boolean }>()
  for (const { path, upper, lower, before, after } of same) {
    if (upper === undefined || lower === undefined || after?.type === 'dir') continue
    const known = staying.get(keyOf(upper))
    staying.set(keyOf(upper), {
      ...lower,
      names: [...(known?.names ?? []), path],
      isMarked: hasMeaningfulMarks(before),
    })
  }
  const stayingNames = new Map<RawPath, RawPath[]>()
  const overlayOf = overlayFinder(overlaysOf(plan))
  const places = new Map<RawPath, RawPath>()
  const linked = new Set<string>()
  for (const { path, upper, after } of changed) {
    const overlay = overlayOf(path)
    if (upper === undefined || after?.type === 'dir' || overlay === undefined) continue
    const live = staying.get(keyOf(upper))
    const isBeside = !upper.place.startsWith(`${upperOf(plan, overlay)}/`)
    if (live === undefined && !isBeside) continue
    if (live?.isMarked) throw marksWouldBeLost(path)
    const name = rawFromString(String(places.size)) as RawName
    const place = joinPath(linksOf(plan, overlay), name)
    if (live === undefined) linkSync(rawToBytes(upper.place), rawToBytes(place))
    else if (!linkPrepared(live.place, place)) continue
    places.set(path, place)
    if (live === undefined) continue
    linked.add(keyOf(live))
    stayingNames.set(path, live.names)
  }
  return { places, linked, stayingNames }
}

function anew(libc: Libc, place: RawPath, known: Fingerprint): Fingerprint {
  const status = placed(libc, place)?.status
  if (status === undefined) return known
  const { ctimeNs, inode, deviceId, links } = status
  return { ...known, ctimeNs, inode, deviceId, links }
}

function linksOf(plan: MountPlan, { layer }: { readonly layer: RawPath }): RawPath {
  return joinPath(onHost(plan, layer), rawFromString('links') as RawName)
}
