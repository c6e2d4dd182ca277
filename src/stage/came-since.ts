// What a commit moves aside, and what somebody put into such a folder, or wrote into such a file, meanwhile: no record has it, so it is never removed with it.
import { systemErrorCode } from '../base/failure.ts'
import { asRaw, type RawText } from '../base/raw-text.ts'
import { freeBeside } from '../model/beside-path.ts'
import { nearestIn, parentPath, type RawPath } from '../model/raw-path.ts'
import type { FileStatus } from '../wire/libc.ts'
import { isOther } from './changed-since.ts'
import { type CommitDisk, isFolder, modeBits } from './commit-disk.ts'
import { changedMeanwhile, isUnchanged } from './commit-step.ts'
import { typeOf } from './fingerprint.ts'
import { below, type Journal, type Step } from './journal.ts'
import { above } from './keep-folders.ts'

/** Where it lies, in a folder that was moved, or as a file that was, and the path that it was given. */
interface Came {
  readonly at: RawText
  readonly path: RawPath
  /** What was moved, and its path. */
  readonly top: RawText
  readonly topPath: RawPath
}

/**
 * Fails with `conflict` where something came into a folder that goes, or was changed in it, after it was looked at. The last look before a commit counts as done: by its
 * name nobody finds such a folder any more then, and all of it can still be put back. `seen`: as `checkLive` found it.
 */
export function requireNothingCame(
  disk: CommitDisk,
  journal: Journal,
  seen?: ReadonlyMap<RawPath, FileStatus>,
): void {
  const isOwn = ownThings(disk, journal)
  for (const step of journal.steps) {
    if (step.kind !== 'delete' && step.kind !== 'retype') continue
    const [came] = cameInto(disk, isOwn, [step.kept, step.path], seen)
    if (came !== undefined) throw changedMeanwhile(below(journal.root, came.path))
  }
}

/**
 * What came into folders that lie aside now goes to the path that it was given, in folders like those that it was put into; where something else has that
 * path, beside it, as `.mine`. So does a file that lies aside, and was written into by a program that still has it open. Tells the paths. `places` have
 * been live, or are known to be reached by nobody else.
 */
export function putBackWhatCame(
  disk: CommitDisk,
  journal: Journal,
  isOwn: OwnThings | undefined,
  places: ReadonlyMap<RawText, RawPath>,
): RawPath[] {
  const found = [
    ...writtenAside(disk, journal, places),
    ...[...places].flatMap((place) => cameInto(disk, isOwn, place)),
  ]
  const besides = new Map<RawText, RawPath>()
  return withoutOtherNames(disk, isOwn, found).map((came) => putBack(disk, journal.root, { came, besides }))
}

function writtenAside(disk: CommitDisk, journal: Journal, places: ReadonlyMap<RawText, RawPath>): Came[] {
  return [...places].flatMap(([at, path]) => {
    const status = disk.look(at)
    const isWritten = status !== undefined && isWrittenSince(journal, path, status)
    return isWritten ? [{ at, path, top: at, topPath: path }] : []
  })
}

/** What was written into a file is gone only with the last of its names. Names that are not the commit's own are kept in any case. */
function withoutOtherNames(disk: CommitDisk, isOwn: OwnThings | undefined, found: readonly Came[]): Came[] {
  const names = new Map<string, Came[]>()
  const kept: Came[] = []
  const links = new Map<string, number>()
  for (const came of found) {
    const status = disk.look(came.at)
    const isOwnName = came.at === came.top || isOwn?.(came.path) === true
    if (!isOwnName || !status || typeOf(status.mode) !== 'file') kept.push(came)
    else {
      const thing = `${status.deviceId}:${status.inode}`
      links.set(thing, status.links)
      names.set(thing, [...(names.get(thing) ?? []), came])
    }
  }
  for (const [thing, all] of names) if ((links.get(thing) ?? 0) <= all.length) kept.push(...all)
  return kept
}

/** Nothing else than a file can be written into. */
export function isWrittenSince(journal: Journal, path: RawPath, status: FileStatus): boolean {
  return typeOf(status.mode) === 'file' && isOther(journal, path, status)
}

/** Paths of what came into folders that a commit has put live, which are reached by everybody. */
export function cameIntoMade(disk: CommitDisk, journal: Journal): RawPath[] {
  const isOwn = ownThings(disk, journal)
  return journal.steps.flatMap(({ kind, path }) =>
    kind === 'create' || kind === 'retype'
      ? cameInto(disk, isOwn, [below(journal.root, path), path]).map((came) => came.path)
      : [],
  )
}

/** Where what a step prepares lies, before it is live and after it was taken back. */
export function placesMade(steps: readonly Step[]): ReadonlyMap<RawText, RawPath> {
  return new Map(steps.flatMap((step) => ('made' in step ? [[step.made, step.path] as const] : [])))
}

/** What lies in the folders that keep, and of which paths it is. What was prepared elsewhere goes with its stage. */
export function placesKept(disk: CommitDisk, { keeps, steps }: Journal): ReadonlyMap<RawText, RawPath> {
  const paths = new Map(
    steps.flatMap((step) => [
      ...('kept' in step ? [[step.kept, step.path] as const] : []),
      ...('made' in step ? [[step.made, step.path] as const] : []),
    ]),
  )
  const found = new Map<RawText, RawPath>()
  for (const { folder } of keeps)
    for (const place of listIn(disk, folder))
      for (const at of [place, ...listIn(disk, place)]) {
        const path = paths.get(at)
        if (path !== undefined) found.set(at, path)
      }
  return found
}

function listIn(disk: CommitDisk, folder: RawText): RawText[] {
  const status = disk.look(folder)
  return status && isFolder(status) ? disk.list(folder).map((name) => asRaw(`${folder}/${name}`)) : []
}

/**
 * Whether what lies at a path, in a folder that was moved, is the commit's own, and was not written into since. `recover.sh` takes a new folder back with all that further steps had put
 * into it; where one of those still lies where it was prepared, what has its name is somebody else's. Undefined where the
 * journal does not tell what is in its folders: an older VML has written it.
 */
export function ownThings(disk: CommitDisk, journal: Journal): OwnThings | undefined {
  const { inside, steps } = journal
  if (inside === undefined) return undefined
  const created = new Map(
    steps.flatMap((step) => (step.kind === 'create' ? [[step.path, step.made] as const] : [])),
  )
  return (path, status) => {
    if (status && isOther(journal, path, status)) return false
    const made = created.get(path)
    return inside.has(path) || (made !== undefined && disk.look(made) === undefined)
  }
}

/** `status`: of what lies there, where it is not enough that the name is the commit's own. */
export type OwnThings = (path: RawPath, status?: FileStatus) => boolean

function cameInto(
  disk: CommitDisk,
  isOwn: OwnThings | undefined,
  [top, topPath]: readonly [RawText, RawPath],
  seen?: ReadonlyMap<RawPath, FileStatus>,
): Came[] {
  if (isOwn === undefined) return []
  const found: Came[] = []
  const walk = ({ at, path }: Came): void => {
    const status = disk.look(at)
    if (status === undefined || !isFolder(status)) return
    for (const name of disk.list(at)) {
      const child = { at: asRaw(`${at}/${name}`), path: asRaw(`${path}/${name}`) as RawPath, top, topPath }
      const status = disk.look(child.at)
      const isSame = seen ? isStillSeen(seen.get(child.path), status) : status !== undefined
      if (isSame && isOwn(child.path, seen ? undefined : status)) walk(child)
      else if (status !== undefined) found.push(child)
    }
  }
  walk({ at: top, path: topPath, top, topPath })
  return found
}

function isStillSeen(was: FileStatus | undefined, is: FileStatus | undefined): boolean {
  return was === undefined || is === undefined || isUnchanged(was, is)
}

/** How many things lie in each folder that keeps, once a commit is done; undefined as above. For a shell, which has no such lists. */
export function keptCounts({ keeps, steps, inside }: Journal): readonly number[] | undefined {
  if (inside === undefined) return undefined
  const kept = steps.flatMap((step) => ('kept' in step ? [step.kept] : []))
  const gone = new Map(
    steps.flatMap((step) =>
      step.kind === 'delete' || (step.kind === 'retype' && step.to === 'other')
        ? [[step.path, step.kept] as const]
        : [],
    ),
  )
  for (const path of inside) {
    const top = nearestIn(path, gone)
    const at = top && gone.get(top)
    if (at !== undefined) kept.push(at)
  }
  const counts = keeps.map(() => 0)
  for (const at of kept) {
    const index = keeps.findIndex(({ folder }) => at.startsWith(`${folder}/`))
    if (index >= 0) counts[index] = (counts[index] ?? 0) + 1
  }
  return counts
}

/** Tells where it is then. `besides`: the folder that what came into each top is put into, where its own path can be had no more. */
function putBack(
  disk: CommitDisk,
  root: RawText,
  { came, besides }: { readonly came: Came; readonly besides: Map<RawText, RawPath> },
): RawPath {
  const { at, path, top, topPath } = came
  const isFree = (candidate: RawPath) => disk.look(below(root, candidate)) === undefined
  const put = (to: RawPath): RawPath => {
    const live = below(root, to)
    makeFoldersLike(disk, { like: above(at), live: above(live), top })
    disk.renameNew(at, live)
    return to
  }
  try {
    return put(path)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'EEXIST') return put(freeBeside(path, 'mine', isFree))
    if (code !== 'ENOTDIR') throw error
    // The folder has become something else again: one like it is made beside that.
    const folder = at === top ? parentPath(topPath) : topPath
    const beside = besides.get(top) ?? freeBeside(folder, 'mine', isFree)
    besides.set(top, beside)
    return put(asRaw(`${beside}${path.slice(folder.length)}`) as RawPath)
  }
}

interface FolderToMake {
  readonly like: RawText
  readonly live: RawText
  /** What is above it stays where it is. */
  readonly top: RawText
}

/** They went, or were taken back, as a whole. */
function makeFoldersLike(disk: CommitDisk, { like, live, top }: FolderToMake): void {
  const was = disk.look(like)
  if (was === undefined || disk.look(live) !== undefined) return
  if (like !== top) makeFoldersLike(disk, { like: above(like), live: above(live), top })
  disk.makeFolder(live, 0o700)
  disk.setOwner(live, was)
  for (const xattr of disk.readXattrs(like)) disk.setXattr(live, xattr)
  disk.setMode(live, was.mode & modeBits)
}
