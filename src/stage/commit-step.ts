// One step of a commit, forward or backward: done whatever of it is still to do, told by what lies where.
import { VmlError } from '../base/failure.ts'
import { asRaw, printable, type RawText } from '../base/raw-text.ts'
import { freeBeside } from '../model/beside-path.ts'
import { parentPath, type RawPath } from '../model/raw-path.ts'
import type { FileStatus } from '../wire/libc.ts'
import { type CommitDisk, isFolder, isLink, isSameThing } from './commit-disk.ts'
import { isAs, isMadeAnew, isPut } from './changed-since.ts'
import { isOwnState, setAttributes } from './set-attributes.ts'
import { below, type FolderTime, inFolder, type Journal, type Step } from './journal.ts'
import { above } from './keep-folders.ts'
import { liesAside } from './open-writers.ts'

type Of<Kind extends Step['kind']> = Extract<Step, { kind: Kind }>

/**
 * A second time, after a first one that was cut off anywhere, it does the rest. `seen` is what stood there when it was
 * checked; without it, after a crash, the journal tells: what came to its name since, or was written, stays, and the step fails with `conflict`.
 */
export function stepForward(disk: CommitDisk, journal: Journal, step: Step, seen?: FileStatus): void {
  const live = below(journal.root, step.path)
  const mustBeSeen = () => mustBe(disk, { journal, path: step.path, live, seen })
  switch (step.kind) {
    case 'create':
      if (disk.look(step.made)) disk.renameNew(step.made, live)
      return
    case 'delete':
      if (disk.look(step.kept)) return
      mustBeSeen()
      return disk.renameNew(live, step.kept)
    case 'replace':
      return replace(disk, journal, step, seen)
    case 'retype':
      if (seen || isReady(disk, step)) mustBeSeen()
      return retype(disk, live, step)
    case 'attributes': {
      const now = disk.look(live)
      if (!now || !isOwnState(disk, live, now, step) || (seen && !isSameThing(now, seen)))
        throw changedMeanwhile(live)
      return setAttributes(disk, live, step.type, step.after, step.before)
    }
  }
}

/** A path that a commit had changed, and that somebody wrote to since: it stays as it is when the commit is taken back. */
export interface LeftPath {
  readonly path: RawPath
  /** What stood there before the commit, under a name of its own now. */
  readonly old?: RawPath
  /** A folder that was gone, and was made anew for what was in it before. */
  readonly isAnew?: true
}

/**
 * The old thing is there again afterwards; the new one lies where it was prepared, unless something was put over it. What somebody wrote since stays where
 * it is, and is told; the old thing is put beside it.
 */
export function stepBackward(disk: CommitDisk, journal: Journal, step: Step): LeftPath | undefined {
  const isKept = 'kept' in step && disk.look(step.kept) !== undefined
  const anew = isKept ? makeWay(disk, journal.root, step.path) : undefined
  return putStepBack(disk, journal, step) ?? (anew && { path: anew, isAnew: true })
}

/** Root's alone. Tells the outermost of the folders that were gone. */
function makeWay(disk: CommitDisk, root: RawText, path: RawPath): RawPath | undefined {
  const gone: RawPath[] = []
  for (let at = parentPath(path); disk.look(below(root, at)) === undefined; at = parentPath(at))
    gone.unshift(at)
  for (const folder of gone) disk.makeFolder(below(root, folder), 0o700)
  return gone[0]
}

function putStepBack(disk: CommitDisk, journal: Journal, step: Step): LeftPath | undefined {
  const live = below(journal.root, step.path)
  switch (step.kind) {
    case 'create': {
      const now = disk.look(step.made) ? undefined : disk.look(live)
      if (now && !isPut(journal, step.path, now) && !hasOldName(disk, journal, now))
        return { path: step.path }
      if (now) disk.rename(live, step.made)
      return undefined
    }
    case 'delete':
      return putDeletedBack(disk, journal, step)
    case 'replace':
      return putBack(disk, journal, step)
    case 'retype':
      return retypeBack(disk, journal, step)
    case 'attributes': {
      const now = disk.look(live)
      if (!now || !isOwnState(disk, live, now, step)) return { path: step.path }
      setAttributes(disk, live, step.type, step.before, step.after)
      return undefined
    }
  }
}

/** `recover.sh` leaves what was written since, and cannot tell that it has its old name again. */
export function takeSecondNameBack(disk: CommitDisk, journal: Journal, step: Step): void {
  if (step.kind !== 'create' || disk.look(step.made)) return
  const live = below(journal.root, step.path)
  const now = disk.look(live)
  if (now && !isFolder(now) && hasOldName(disk, journal, now)) disk.rename(live, step.made)
}

/** A file that was moved while a program had it open: it has its old name again, or is about to, with whatever was written. */
function hasOldName(disk: CommitDisk, journal: Journal, now: FileStatus): boolean {
  if (now.links === 1) return false
  const isIt = (at: RawText) => {
    const status = disk.look(at)
    return status !== undefined && isSameThing(status, now)
  }
  for (const { at, path } of liesAside(journal, 'kept'))
    if (isIt(at) || isIt(below(journal.root, path))) return true
  return false
}

/** Where something was written since to what the commit had put there. One rename: cut off before it, the next one finds all as it was. */
function leave(
  disk: CommitDisk,
  { root }: Journal,
  { path, kept }: Pick<Of<'delete'>, 'path' | 'kept'>,
): LeftPath {
  const old = freeBeside(path, 'old', (candidate) => disk.look(below(root, candidate)) === undefined)
  disk.renameNew(kept, below(root, old))
  return { path, old }
}

/** Whatever has its name by now is somebody else's, but for a cache that a program made anew. */
function putDeletedBack(disk: CommitDisk, journal: Journal, step: Of<'delete'>): LeftPath | undefined {
  const { path, kept } = step
  const live = below(journal.root, path)
  const [old, now] = [disk.look(kept), disk.look(live)]
  if (!old) return undefined
  if (!now) disk.renameNew(kept, live)
  else if (isMadeAnew(path) && !isFolder(now) && !isFolder(old)) disk.rename(kept, live)
  else return leave(disk, journal, step)
  return undefined
}

/** After all steps: each of them gave its folder a time of its own. What has its time is left alone: it may refuse another one. */
export function setTime(disk: CommitDisk, root: RawText, time: FolderTime, to: 'before' | 'after'): void {
  const place = below(root, time.path)
  const mtimeNs = to === 'after' ? time.afterNs : time.beforeNs
  const now = disk.look(place)
  // Somebody may have removed it since.
  if (mtimeNs !== undefined && now && isFolder(now) && now.mtimeNs !== mtimeNs) disk.setMtime(place, mtimeNs)
}

/** The old thing has its second name since before the first step: so it is durable that it is kept, whatever of the renames is. */
function replace(disk: CommitDisk, journal: Journal, step: Of<'replace'>, seen?: FileStatus): void {
  const { path, made, kept } = step
  const live = below(journal.root, path)
  if (!disk.look(made)) return
  const [now, old] = [disk.look(live), seen ?? disk.look(kept)]
  // A mv that cannot replace a link removes it first: `recover.sh` was cut off between both.
  if (!now && !seen && old) return disk.renameNew(made, live)
  if (!now || !old || !isUnchanged(now, old)) throw changedMeanwhile(live)
  // Both names are of one file: whoever wrote into it since wrote into what is kept, too.
  if (!seen && !isAs('before', journal, path, now)) throw changedMeanwhile(live)
  disk.rename(made, live)
}

function putBack(disk: CommitDisk, journal: Journal, step: Of<'replace'>): LeftPath | undefined {
  const { path, made, kept } = step
  const live = below(journal.root, path)
  const old = disk.look(kept)
  if (!old) return undefined
  const [now, fresh] = [disk.look(live), disk.look(made)]
  // Not replaced yet: the old thing has two names. A rename of one to the other would do nothing.
  if (now && isSameThing(now, old)) {
    disk.remove(kept, 'file')
    return undefined
  }
  // Neither the old nor the new thing: what came since is newer than both, and stays. It took the place of the old one, not of this commit's.
  if (now && fresh && !isSameThing(now, fresh)) return { path }
  if (now && !fresh && !isAs('after', journal, path, now)) return leave(disk, journal, step)
  if (now && !fresh && !isFolder(now)) setAside(disk, { live, now, made, kept })
  disk.rename(kept, live)
  return undefined
}

/** The new thing has a second name before the old one takes its place. */
function setAside(
  disk: CommitDisk,
  {
    live,
    now,
    made,
    kept,
  }: { readonly live: RawText; readonly now: FileStatus; readonly made: RawText; readonly kept: RawText },
): void {
  if (!isLink(now)) return disk.link(live, made)
  // A link at both names would look to sh, which may have to go on from here, as if nothing had been replaced: it lies aside until
  // it is durable that all is taken back (`returnLinks`).
  const aside = asideOf(kept)
  if (!disk.look(above(aside))) disk.makeFolder(above(aside), 0o700)
  if (disk.look(aside)) disk.remove(aside, 'file')
  disk.copyLink(live, aside)
  disk.setOwner(aside, now)
  disk.setMtime(aside, now.mtimeNs)
}

const asideEnd = '.link'

function asideOf(kept: RawText): RawText {
  return inFolder(asRaw(`${above(kept)}${asideEnd}`), kept.slice(kept.lastIndexOf('/') + 1))
}

/** After a take-back that is durable: links that had been put live lie again where they were prepared. */
export function returnLinks(disk: CommitDisk, { keeps, steps }: Pick<Journal, 'keeps' | 'steps'>): void {
  const withLinks = new Set<RawText>()
  for (const { folder } of keeps)
    for (const name of disk.look(folder) ? disk.list(folder) : [])
      if (name.endsWith(asideEnd)) withLinks.add(inFolder(folder, name))
  for (const step of steps) {
    if (step.kind !== 'replace') continue
    const link = asideOf(step.kept)
    if (withLinks.has(above(link)) && disk.look(link) && !disk.look(step.made))
      disk.renameNew(link, step.made)
  }
}

/**
 * Both change places in one call, so that the name always leads to one of them: a folder may hold the programs that would
 * finish this. Where the file system cannot exchange, and in `recover.sh`, the name is gone for a moment.
 */
function retype(disk: CommitDisk, live: RawText, step: Of<'retype'>): void {
  const { made, kept } = step
  const toFolder = step.to === 'folder'
  const isNew = (status: FileStatus | undefined) => status && isFolder(status) === toFolder
  const [now, ready, old] = [disk.look(live), disk.look(made), disk.look(kept)]
  if (!now && isNew(ready) && old) return disk.renameNew(made, live)
  if (ready && isNew(ready)) {
    if (!now || isNew(now)) throw changedMeanwhile(live)
    if (tryExchange(disk, made, live)) return disk.renameNew(made, kept)
    disk.renameNew(live, kept)
    return disk.renameNew(made, live)
  }
  if (ready) return disk.renameNew(made, kept)
  // Cut off while it was taken back: the old thing is there again, and the new one where the old one was kept.
  if (old && isNew(old)) {
    disk.renameNew(kept, made)
    retype(disk, live, step)
  }
}

/** Nothing of the step is done: what is to come lies where it was prepared. */
function isReady(disk: CommitDisk, { made, to }: Of<'retype'>): boolean {
  const ready = disk.look(made)
  return ready !== undefined && isFolder(ready) === (to === 'folder')
}

function retypeBack(disk: CommitDisk, journal: Journal, step: Of<'retype'>): LeftPath | undefined {
  const { path, made, kept } = step
  const live = below(journal.root, path)
  const toFolder = step.to === 'folder'
  const isNew = (status: FileStatus | undefined) => status && isFolder(status) === toFolder
  const [now, ready, old] = [disk.look(live), disk.look(made), disk.look(kept)]
  if (old && isNew(old)) disk.renameNew(kept, made)
  else if (old) {
    if (now && (!isNew(now) || ready || !isAs('after', journal, path, now))) return leave(disk, journal, step)
    if (now && tryExchange(disk, kept, live)) disk.renameNew(kept, made)
    else {
      if (now) disk.renameNew(live, made)
      disk.renameNew(kept, live)
    }
  } else if (ready && !isNew(ready) && isNew(now)) {
    // Exchanged, and not yet kept.
    if (now && !isAs('after', journal, path, now)) return leave(disk, journal, { path, kept: made })
    disk.exchange(made, live)
  }
  return undefined
}

function tryExchange(disk: CommitDisk, one: RawText, other: RawText): boolean {
  try {
    disk.exchange(one, other)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && ['EINVAL', 'ENOSYS'].includes(String(error.code)))
      return false
    throw error
  }
}

function mustBe(
  disk: CommitDisk,
  {
    journal,
    path,
    live,
    seen,
  }: {
    readonly journal: Journal
    readonly path: RawPath
    readonly live: RawText
    readonly seen: FileStatus | undefined
  },
): void {
  const now = disk.look(live)
  if (seen === undefined) {
    if (now && !isAs('before', journal, path, now)) throw changedMeanwhile(live)
  } else if (!now || !isUnchanged(now, seen)) throw changedMeanwhile(live)
}

/** By its numbers; those of a folder change with what is in it. */
export function isUnchanged(one: FileStatus, other: FileStatus): boolean {
  if (!isSameThing(one, other)) return false
  return isFolder(one) || (one.size === other.size && one.mtimeNs === other.mtimeNs)
}

export function changedMeanwhile(live: RawText): VmlError {
  return new VmlError('conflict', `Cannot commit "${printable(live)}": it has changed meanwhile`, {
    details: { path: live },
  })
}
