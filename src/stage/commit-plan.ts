// From what changes to the steps of a commit: what moves as a whole, what is put in the place of what, and where it waits.
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { printable, type RawText } from '../base/raw-text.ts'
import { baseName, parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Fingerprint, PathChange } from '../model/transaction.ts'
import type { NodeType } from '../model/tree.ts'
import type { FileStatus } from '../wire/libc.ts'
import { isOverlayMark } from './fingerprint.ts'
import { isFolder, isSameThing, type LookedDisk, modeBits } from './commit-disk.ts'
import {
  type AttributeState,
  type AttributeStep,
  below,
  type FolderTime,
  inFolder,
  type Step,
} from './journal.ts'
import { changedMeanwhile } from './commit-step.ts'
import { type KeepFolders, regionOf } from './keep-folders.ts'

export interface CommitRequest {
  /** Absolute; `/` in life. */
  readonly root: RawText
  /** Of the journal: is made, and holds nothing of others. */
  readonly folder: RawText
  /** Sorted by path. Everything in a folder that comes or goes is named, too. */
  readonly changes: readonly PathChange[]
  /** The absolute place of the new thing of a path that has an `after`. Two paths with one place become two names of one thing. */
  readonly prepared: (path: RawPath) => RawText
  /** Created paths that are a removed one under another name: they are given that file itself, and a program that has it open goes on in it. */
  readonly moved?: ReadonlyMap<RawPath, RawPath>
  /** What is prepared was not made by an overlay: marks of one are of a layer of other programs, and stay. */
  readonly isUnmarked?: boolean
  /** The time that a folder has afterwards that only something comes or goes in; without this function that of its prepared one. */
  readonly folderMtimeNs?: (path: RawPath) => bigint | undefined
  /** Of files, too: what sets them there can hold no file, so that who puts a link in its place would lead it elsewhere. */
  readonly replacesForAttributes?: boolean
  /** Files of which whoever records them has a copy: one that only gets other rights may be written to meanwhile. */
  readonly copied?: Pick<ReadonlySet<RawPath>, 'has'>
  /** Folders to keep old things in, of mounts other than that of the journal; of others one is made (`keep-folders.ts`). */
  readonly keeps?: readonly RawText[]
  /** Commands that are due once it is done, or taken back: `recover.sh` names them. */
  readonly afterwards?: readonly string[]
}

/** What has to be done before a step may take place. */
export interface Preparation {
  /** Copy: the thing lies on another device. Shell: an empty folder like it. */
  readonly kind: 'copy' | 'link' | 'shell'
  readonly from: RawText
  readonly to: RawText
  /** The file that it is a copy of: a further name of that one will do as well, and better. */
  readonly original?: RawText
}

export interface CommitPlan {
  readonly steps: readonly Step[]
  readonly times: readonly FolderTime[]
  readonly preparations: readonly Preparation[]
  /** Prepared things that go live as they are, with all that is in them. */
  readonly moved: readonly RawText[]
  /** What is in folders that come or go as a whole. */
  readonly inside: ReadonlySet<RawPath>
}

/** Looks at what is prepared and at the folders of the root; changes nothing. */
export function planCommit(disk: LookedDisk, request: CommitRequest, keeps: KeepFolders): CommitPlan {
  const { root, changes, prepared } = request
  const look = preparedLook(disk, request)
  const whole = wholeFolders(disk, request)
  const uses = new Map<RawText, number>()
  for (const { path, after } of changes) {
    if (after === undefined) continue
    const place = prepared(path)
    uses.set(place, (uses.get(place) ?? 0) + 1)
  }
  const steps: Step[] = []
  const preparations: Preparation[] = []
  const moved: RawText[] = []
  /** Folders that come or go as a whole: what is in them has no step of its own. */
  const comes = new Set<RawPath>()
  const goes = new Set<RawPath>()
  const inside = new Set<RawPath>()
  const touched = new Map<RawPath, PathChange | undefined>()

  const makeReady = (path: RawPath, place: RawText, status: FileStatus, ready: RawText): RawText => {
    const shell = isFolder(status) && !whole.has(path)
    const region = keeps.regionIn(nearestStaying(parentPath(path), touched))
    const original = originalOf(disk, request, path, region)
    if (original !== undefined) {
      preparations.push({ kind: 'copy', from: place, to: ready, original })
      return ready
    }
    const copy = regionOf(status) !== region
    if (shell || copy) preparations.push({ kind: shell ? 'shell' : 'copy', from: place, to: ready })
    else if ((uses.get(place) ?? 0) > 1) preparations.push({ kind: 'link', from: place, to: ready })
    if (!shell && !copy) moved.push(place)
    return shell || copy || (uses.get(place) ?? 0) > 1 ? ready : place
  }

  for (const change of changes) {
    const { path, before, after } = change
    const parent = parentPath(path)
    const goesAlong = before === undefined || goes.has(parent)
    const comesAlong = after === undefined || comes.has(parent)
    if ((before && goes.has(parent)) || (after && comes.has(parent))) inside.add(path)
    if (before?.type === 'dir' && (goes.has(parent) || after?.type !== 'dir')) goes.add(path)
    const place = after === undefined ? undefined : prepared(path)
    const status = place === undefined || after === undefined ? undefined : look(path, place, after)
    if (after?.type === 'dir' && before?.type !== 'dir' && (comesAlong || whole.has(path))) comes.add(path)
    if (before?.type === 'dir' && after?.type === 'dir') {
      touched.set(path, change)
      const step = attributeStep(disk, root, path, { before, after })
      if (step !== undefined) steps.push(step)
      continue
    }
    const isAlone = place !== undefined && uses.get(place) === 1 && !goesAlong && !comesAlong
    if (isAlone && status && after && isStaying(disk, request, change, status)) {
      const step = attributeStep(disk, root, path, { before, after })
      if (step !== undefined) steps.push(step)
      continue
    }
    if (goesAlong && comesAlong) {
      if (path === rootPath) throw new Error('The root cannot come or go')
      continue
    }
    if (!touched.has(parent)) touched.set(parent, undefined)
    const { kept, made: ready } = keeps.placesOf(path, nearestStaying(parent, touched))
    if (goesAlong) {
      if (place === undefined || status === undefined) continue
      steps.push({ kind: 'create', path, made: makeReady(path, place, status, ready) })
      if (after?.type === 'dir' && !whole.has(path)) touched.set(path, change)
    } else if (comesAlong || place === undefined || status === undefined || after === undefined) {
      steps.push({ kind: 'delete', path, kept })
    } else if (before?.type === 'dir' || after.type === 'dir') {
      const made = makeReady(path, place, status, ready)
      steps.push({ kind: 'retype', path, made, kept, to: after.type === 'dir' ? 'folder' : 'other' })
      // An exchange may give a folder another time (xfs does).
      touched.set(path, change)
    } else {
      const live = disk.look(below(root, path))
      // One thing already: a rename would do nothing and leave both names.
      if (live !== undefined && isSameThing(live, status)) continue
      steps.push({ kind: 'replace', path, made: makeReady(path, place, status, ready), kept })
    }
  }
  return { steps, times: folderTimes(disk, request, touched), preparations, moved, inside }
}

function originalOf(
  disk: LookedDisk,
  { root, moved }: CommitRequest,
  path: RawPath,
  region: string,
): RawText | undefined {
  const old = moved?.get(path)
  const live = old === undefined ? undefined : below(root, old)
  const status = live === undefined ? undefined : disk.look(live)
  return status && regionOf(status) === region ? live : undefined
}

/** What is in a new folder lies on the mount of the nearest folder that is there already. */
function nearestStaying(parent: RawPath, touched: ReadonlyMap<RawPath, PathChange | undefined>): RawPath {
  let at = parent
  for (let change = touched.get(at); change && change.before?.type !== 'dir'; change = touched.get(at))
    at = parentPath(at)
  return at
}

/** New folders that hold just what the changes name, at its own place, so that one rename brings all of it. */
function wholeFolders(disk: LookedDisk, { changes, prepared, moved }: CommitRequest): ReadonlySet<RawPath> {
  const counts = new Map<RawPath, number>()
  const spoiled = new Set<RawPath>()
  const whole = new Set<RawPath>()
  const fresh = new Set<RawPath>()
  for (const { path, before, after } of changes)
    if (after?.type === 'dir' && before?.type !== 'dir') fresh.add(path)
  // From the end: what is in a folder comes before the folder.
  for (const { path, after } of changes.toReversed()) {
    const parent = parentPath(path)
    if (after === undefined || (!fresh.has(parent) && !fresh.has(path))) continue
    counts.set(parent, (counts.get(parent) ?? 0) + 1)
    const place = prepared(path)
    const isElsewhere = place !== inFolder(prepared(parent), baseName(path))
    if (fresh.has(parent) && (isElsewhere || moved?.has(path))) spoiled.add(parent)
    if (!fresh.has(path)) continue
    const isWhole = !spoiled.has(path) && listOf(disk, place).length === (counts.get(path) ?? 0)
    if (isWhole) whole.add(path)
    else spoiled.add(parent)
  }
  return whole
}

/** What is no folder is told when it is looked at. */
function listOf(disk: LookedDisk, folder: RawText): readonly RawText[] {
  try {
    return disk.list(folder)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return []
    throw error
  }
}

/** What is prepared must be what the change says: nothing else goes live. */
function preparedLook(disk: LookedDisk, { root }: CommitRequest) {
  return (path: RawPath, place: RawText, after: Fingerprint): FileStatus => {
    const status = disk.look(place)
    const what = `Cannot commit "${printable(below(root, path))}"`
    if (status === undefined) throw new VmlError('proof', `${what}: what was prepared for it is not there`)
    if (!fits(after, status))
      throw new VmlError('proof', `${what}: what was prepared for it is not what the change says`)
    return status
  }
}

const typeBits = 0o170000
const types: ReadonlyMap<number, NodeType> = new Map([
  [0o100000, 'file'],
  [0o040000, 'dir'],
  [0o120000, 'symlink'],
  [0o010000, 'fifo'],
  [0o140000, 'socket'],
  [0o060000, 'dev'],
  [0o020000, 'chardev'],
])

/** Everything of a fingerprint that a look tells, but its times. */
export function fits(state: Fingerprint, status: FileStatus): boolean {
  const type = types.get(status.mode & typeBits)
  return (
    type === state.type &&
    (type === 'symlink' || (status.mode & modeBits) === state.mode) &&
    status.uid === state.uid &&
    status.gid === state.gid &&
    (type !== 'file' || state.size === undefined || status.size === state.size) &&
    ((type !== 'dev' && type !== 'chardev') || state.device === undefined || status.device === state.device)
  )
}

/**
 * Rights, owner and attributes alone change, so the thing itself stays: a program that has it open goes on with it, and a socket answers. One with
 * several names is replaced: the others must not change.
 */
function isStaying(
  disk: LookedDisk,
  { root, replacesForAttributes }: CommitRequest,
  { path, before, after }: PathChange,
  ready: FileStatus,
): boolean {
  if (replacesForAttributes || !before || !after || before.type !== after.type) return false
  const live = disk.look(below(root, path))
  if (!live || isSameThing(live, ready) || types.get(live.mode & typeBits) !== after.type) return false
  if (live.links !== 1 || ready.links !== 1 || before.mtimeNs !== after.mtimeNs) return false
  switch (after.type) {
    case 'file':
      return after.sha256 !== undefined && after.sha256 === before.sha256 && after.size === before.size
    case 'symlink':
      return (
        after.linkTarget !== undefined &&
        after.linkTarget === before.linkTarget &&
        hasSameXattrs(before, after)
      )
    case 'fifo':
    case 'socket':
    case 'dev':
    case 'chardev':
      return after.device === before.device && hasSameXattrs(before, after)
    case 'dir':
    case 'irregular':
      return false
  }
}

function hasSameXattrs({ xattrs: one = [] }: Fingerprint, { xattrs: other = [] }: Fingerprint): boolean {
  return sameXattrs(one, other)
}

/** Undefined when only its time differs. */
function attributeStep(
  disk: LookedDisk,
  root: RawText,
  path: RawPath,
  { before, after }: { readonly before: Fingerprint; readonly after: Fingerprint },
): AttributeStep | undefined {
  const place = below(root, path)
  const { type } = after
  const { mode, uid, gid } = type === 'dir' ? liveFolder(disk, root, path) : liveThing(disk, root, path)
  // A link has no rights of its own.
  const now = { mode: type === 'symlink' ? after.mode : mode & modeBits, uid, gid }
  const next: AttributeState = { mode: after.mode, uid: after.uid, gid: after.gid }
  // Of a folder that another machine listed they may be unknown; of one that had some they are known.
  const xattrs = after.xattrs ?? (type === 'file' || before.xattrs ? [] : undefined)
  // Marks of a layer of others that the change does not name, as one that was recorded by an older VML, stay.
  const named = new Set([...(before.xattrs ?? []), ...(xattrs ?? [])].map(({ name }) => name))
  const had = xattrs && disk.readXattrs(place).filter(({ name }) => named.has(name) || !isOverlayMark(name))
  const sameOwner = now.uid === next.uid && now.gid === next.gid
  const same = now.mode === next.mode && sameOwner
  // A new owner takes capabilities away, which are set again.
  const mayLose = type === 'file' && !sameOwner && xattrs !== undefined && xattrs.length > 0
  if (!xattrs || !had || (sameXattrs(xattrs, had) && !mayLose))
    return same ? undefined : { kind: 'attributes', path, type, before: now, after: next }
  return { kind: 'attributes', path, type, before: { ...now, xattrs: had }, after: { ...next, xattrs } }
}

function sameXattrs(
  one: NonNullable<AttributeState['xattrs']>,
  other: NonNullable<AttributeState['xattrs']>,
): boolean {
  const values = new Map(other.map(({ name, value }) => [name, value]))
  return (
    one.length === other.length &&
    one.every(
      ({ name, value }) =>
        Buffer.compare(value, values.get(name) ?? Buffer.alloc(0)) === 0 && values.has(name),
    )
  )
}

function liveThing(disk: LookedDisk, root: RawText, path: RawPath): FileStatus {
  const status = disk.look(below(root, path))
  if (status !== undefined) return status
  throw changedMeanwhile(below(root, path))
}

function liveFolder(disk: LookedDisk, root: RawText, path: RawPath): FileStatus {
  const status = disk.look(below(root, path))
  if (status !== undefined && isFolder(status)) return status
  throw new VmlError(
    'conflict',
    `Cannot commit below "${printable(below(root, path))}": it is no folder any more`,
  )
}

function folderTimes(
  disk: LookedDisk,
  { root, prepared, folderMtimeNs }: CommitRequest,
  touched: ReadonlyMap<RawPath, PathChange | undefined>,
): FolderTime[] {
  const preparedNs = (path: RawPath): bigint | undefined => {
    const status = disk.look(prepared(path))
    return status && isFolder(status) ? status.mtimeNs : undefined
  }
  return [...touched].map(([path, change]) => {
    if (change && change.before?.type !== 'dir') return { path, ...timeOf('afterNs', change.after) }
    if (change && change.after?.type !== 'dir') return { path, ...timeOf('beforeNs', change.before) }
    const beforeNs = liveFolder(disk, root, path).mtimeNs
    const stated = change?.after ? change.after.mtimeNs : (folderMtimeNs ?? preparedNs)(path)
    return { path, beforeNs, afterNs: stated ?? beforeNs }
  })
}

function timeOf(name: 'beforeNs' | 'afterNs', state: Fingerprint | undefined): Partial<FolderTime> {
  return state?.type === 'dir' ? { [name]: state.mtimeNs } : {}
}
