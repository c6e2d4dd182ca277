// One step of a commit, forward or backward: done whatever of it is still to do, told by what lies where.
import { VmlError } from '../base/failure.ts'
import { asRaw, printable, type RawText } from '../base/raw-text.ts'
import type { FileStatus } from '../wire/libc.ts'
import { type CommitDisk, isFolder, isLink, isSameThing, modeBits } from './commit-disk.ts'
import { below, type FolderState, type FolderTime, inFolder, type Journal, type Step } from './journal.ts'
import { above } from './keep-folders.ts'

type Of<Kind extends Step['kind']> = Extract<Step, { kind: Kind }>

/**
 * A second time, after a first one that was cut off anywhere, it does the rest. `seen` is what stood there when it was
 * checked: what came to its name since stays, and the step fails with `conflict`.
 */
export function stepForward(disk: CommitDisk, root: RawText, step: Step, seen?: FileStatus): void {
  const live = below(root, step.path)
  switch (step.kind) {
    case 'create':
      if (disk.look(step.made)) disk.renameNew(step.made, live)
      return
    case 'delete':
      if (disk.look(step.kept)) return
      mustBe(disk, live, seen)
      return disk.renameNew(live, step.kept)
    case 'replace':
      return replace(disk, live, step, seen)
    case 'retype':
      mustBe(disk, live, seen)
      return retype(disk, live, step)
    case 'folder':
      return setFolder(disk, live, step.after)
  }
}

/** The old thing is there again afterwards; the new one lies where it was prepared, unless something was put over it. */
export function stepBackward(disk: CommitDisk, root: RawText, step: Step): void {
  const live = below(root, step.path)
  switch (step.kind) {
    case 'create':
      if (!disk.look(step.made) && disk.look(live)) disk.rename(live, step.made)
      return
    case 'delete':
      if (disk.look(step.kept)) disk.renameNew(step.kept, live)
      return
    case 'replace':
      return putBack(disk, live, step)
    case 'retype':
      return retypeBack(disk, live, step)
    case 'folder':
      return setFolder(disk, live, step.before)
  }
}

/** After all steps: each of them gave its folder a time of its own. What has its time is left alone: it may refuse another one. */
export function setTime(disk: CommitDisk, root: RawText, time: FolderTime, to: 'before' | 'after'): void {
  const place = below(root, time.path)
  const mtimeNs = to === 'after' ? time.afterNs : time.beforeNs
  if (mtimeNs !== undefined && disk.look(place)?.mtimeNs !== mtimeNs) disk.setMtime(place, mtimeNs)
}

/** The old thing has its second name since before the first step: so it is durable that it is kept, whatever of the renames is. */
function replace(disk: CommitDisk, live: RawText, { made, kept }: Of<'replace'>, seen?: FileStatus): void {
  if (!disk.look(made)) return
  const [now, old] = [disk.look(live), seen ?? disk.look(kept)]
  // A mv that cannot replace a link removes it first: `recover.sh` was cut off between both.
  if (!now && !seen && old) return disk.renameNew(made, live)
  if (!now || !old || !isUnchanged(now, old)) throw changedMeanwhile(live)
  disk.rename(made, live)
}

function putBack(disk: CommitDisk, live: RawText, { made, kept }: Of<'replace'>): void {
  const old = disk.look(kept)
  if (!old) return
  const [now, fresh] = [disk.look(live), disk.look(made)]
  // Not replaced yet: the old thing has two names. A rename of one to the other would do nothing.
  if (now && isSameThing(now, old)) return disk.remove(kept, 'file')
  // Neither the old nor the new thing: what came since is newer than both, and stays.
  if (now && fresh && !isSameThing(now, fresh)) return
  if (!now || fresh || isFolder(now)) return disk.rename(kept, live)
  if (!isLink(now)) {
    disk.link(live, made)
    return disk.rename(kept, live)
  }
  // A link at both names would look to sh, which may have to go on from here, as if nothing had been replaced: it lies aside until
  // it is durable that all is taken back (`returnLinks`).
  const aside = asideOf(kept)
  if (!disk.look(above(aside))) disk.makeFolder(above(aside), 0o700)
  if (disk.look(aside)) disk.remove(aside, 'file')
  disk.copyLink(live, aside)
  disk.setOwner(aside, now)
  disk.setMtime(aside, now.mtimeNs)
  disk.rename(kept, live)
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

function retypeBack(disk: CommitDisk, live: RawText, step: Of<'retype'>): void {
  const { made, kept } = step
  const toFolder = step.to === 'folder'
  const isNew = (status: FileStatus | undefined) => status && isFolder(status) === toFolder
  const [now, ready, old] = [disk.look(live), disk.look(made), disk.look(kept)]
  if (old && isNew(old)) return disk.renameNew(kept, made)
  if (old) {
    if (!now) return disk.renameNew(kept, live)
    if (!isNew(now) || ready) throw changedMeanwhile(live)
    if (tryExchange(disk, kept, live)) return disk.renameNew(kept, made)
    disk.renameNew(live, made)
    return disk.renameNew(kept, live)
  }
  // Exchanged, and not yet kept.
  if (ready && !isNew(ready) && isNew(now)) disk.exchange(made, live)
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

function setFolder(disk: CommitDisk, live: RawText, { mode, uid, gid, xattrs }: FolderState): void {
  const now = disk.look(live)
  if (!now || !isFolder(now)) throw changedMeanwhile(live)
  // Only what is not so: a folder that refuses changes must not refuse that it stays as it is.
  if (now.uid !== uid || now.gid !== gid) disk.setOwner(live, { uid, gid })
  if (xattrs !== undefined) {
    const has = new Map(disk.readXattrs(live).map(({ name, value }) => [name, value]))
    const wanted = new Map(xattrs.map(({ name, value }) => [name, value]))
    for (const name of has.keys()) if (!wanted.has(name)) disk.removeXattr(live, name)
    for (const [name, value] of wanted) {
      const old = has.get(name)
      if (old === undefined || Buffer.compare(old, value) !== 0) disk.setXattr(live, { name, value })
    }
  }
  // Last: an ACL changes the rights of the group.
  const then = disk.look(live)
  if (then === undefined || (then.mode & modeBits) !== mode) disk.setMode(live, mode)
}

function mustBe(disk: CommitDisk, live: RawText, seen: FileStatus | undefined): void {
  if (seen === undefined) return
  const now = disk.look(live)
  if (!now || !isUnchanged(now, seen)) throw changedMeanwhile(live)
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
