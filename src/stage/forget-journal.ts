// The end of a journal: what was kept is removed, then the journal.
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { asRaw, printable, type RawText } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { FileStatus } from '../wire/libc.ts'
import {
  isWrittenSince,
  type OwnThings,
  ownThings,
  placesKept,
  placesMade,
  putBackWhatCame,
} from './came-since.ts'
import { type CommitDisk, isFolder } from './commit-disk.ts'
import {
  enterState,
  inFolder,
  type Journal,
  journalFiles,
  noteTimesAbove,
  readState,
  readTimesAbove,
  stateFile,
} from './journal.ts'
import { above } from './keep-folders.ts'
import { trialFolder } from './recover-script.ts'

/**
 * After a commit that ended, or was taken back, or did not begin. What was kept is gone: it lies somewhere else before this is
 * called. Cut off, it is ended by the next recovery. What came into a kept folder, or was written into a kept file, through a process that still had it
 * open, has its own path again before, or one beside it: these paths are told.
 */
export function forgetJournal(disk: CommitDisk, journal: Journal): RawPath[] {
  const state = readState(journal.folder)
  if (state === 'COMMITTING' || state === 'TAKING-BACK')
    throw new VmlError(
      'conflict',
      `Cannot forget the journal in "${printable(journal.folder)}": its commit is neither done nor taken back`,
      {
        hint: 'Recover it first',
      },
    )
  const isOwn = ownThings(disk, journal)
  // Nothing of it has been live, where it was only prepared. What was prepared has been, where it was taken back: `recover.sh` looks at nothing of this.
  const places = [
    ...(state === 'PREPARED' ? [] : placesKept(disk, journal)),
    ...(state === 'TAKEN-BACK' ? placesMade(journal.steps) : []),
  ]
  const came = putBackWhatCame(disk, journal, isOwn, new Map(places))
  noteTimesAbove(
    disk,
    journal,
    journal.keeps.map(({ made: [outermost] }) => outermost && disk.look(above(outermost))?.mtimeNs),
  )
  enterState(disk, journal, 'FORGOTTEN')
  removeJournal(disk, journal, 'keep')
  return came
}

/** Of a journal that never had a state. */
export function discardJournal(disk: CommitDisk, journal: Journal): void {
  removeJournal(disk, journal, 'as it was')
}

/** Whatever of it is still there. */
export function removeJournal(disk: CommitDisk, journal: Journal, times: 'keep' | 'as it was'): void {
  // Of a journal without a state nothing was live, and a copy that was being made is as nobody wanted it.
  const known = times === 'keep' ? putBackKnown(disk, journal) : undefined
  const noted = readTimesAbove(journal)
  for (const [index, { folder, made, aboveMtimeNs }] of journal.keeps.entries()) {
    const status = disk.look(folder)
    if (status)
      for (const name of disk.list(folder))
        removeTree(disk, asRaw(`${folder}/${name}`), status.mountId, known)
    const outermost = made[0]
    const outside = outermost === undefined ? undefined : disk.look(above(outermost))
    // While the outermost one is there nothing of this changed the time of the folder above it. It went, and the time was not set any more: then it is what was noted.
    const goes = outermost !== undefined && disk.look(outermost) !== undefined
    for (const each of made.toReversed()) removeEmpty(disk, each)
    if (outermost !== undefined && outside) {
      const kept = goes ? outside.mtimeNs : (noted[index] ?? outside.mtimeNs)
      disk.setMtime(above(outermost), times === 'keep' ? kept : aboveMtimeNs)
    }
    // What was kept is gone for good before the journal that knows of it is.
    if (status) disk.syncDisk(outermost === undefined ? folder : above(outermost))
  }
  const status = disk.look(journal.folder)
  if (!status) return
  removeTree(disk, inFolder(journal.folder, trialFolder), status.mountId)
  for (const name of journalFiles) {
    const file = inFolder(journal.folder, name)
    if (!disk.look(file)) continue
    // Steps without a state would be taken for a journal that never had one.
    if (name === stateFile) disk.syncFolder(journal.folder)
    disk.remove(file, 'file')
  }
  removeEmpty(disk, journal.folder)
}

/** Cut off before, something may have come since. */
function putBackKnown(disk: CommitDisk, journal: Journal): KnownThings | undefined {
  const paths = placesKept(disk, journal)
  const isOwn = ownThings(disk, journal)
  putBackWhatCame(disk, journal, isOwn, paths)
  return isOwn && { paths, isOwn, isWritten: (path, status) => isWrittenSince(journal, path, status) }
}

/** Others may use a folder that was made for this one: then it stays. */
function removeEmpty(disk: CommitDisk, folder: RawText): void {
  try {
    disk.remove(folder, 'folder')
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(systemErrorCode(error) ?? '')) throw error
  }
}

interface KnownThings {
  /** What lies aside, and the path that it is of. */
  readonly paths: ReadonlyMap<RawText, RawPath>
  readonly isOwn: OwnThings
  readonly isWritten: (path: RawPath, status: FileStatus) => boolean
}

/**
 * Never into another file system that somebody mounted there; and of a folder that stood in the root only what is known to have been in it: what comes
 * even now, or is written into the last name of a file, stays, and the next recovery puts it back.
 */
function removeTree(
  disk: CommitDisk,
  at: RawText,
  mountId: bigint,
  known?: KnownThings,
  path = known?.paths.get(at),
): void {
  const status: FileStatus | undefined = disk.look(at)
  if (!status) return
  if (status.mountId !== mountId)
    throw new VmlError('conflict', `Cannot remove "${printable(at)}": a file system is mounted there`)
  if (isFolder(status))
    for (const name of disk.list(at)) {
      const child = asRaw(`${at}/${name}`)
      const childPath = path === undefined ? known?.paths.get(child) : (asRaw(`${path}/${name}`) as RawPath)
      if (childPath !== undefined && known !== undefined) {
        const now = disk.look(child)
        // A file with another name loses nothing.
        const isWritten = now !== undefined && known.isWritten(childPath, now)
        const isKept = isWritten && now.links > 1
        const isOwnName = path === undefined || known.isOwn(childPath, isKept ? undefined : now)
        if (!isOwnName || (isWritten && !isKept))
          throw new VmlError(
            'conflict',
            `Cannot remove "${printable(child)}": it came while this was removed`,
            {
              hint: 'vml tx recover puts it back',
            },
          )
      }
      removeTree(disk, child, mountId, known, childPath)
    }
  disk.remove(at, isFolder(status) ? 'folder' : 'file')
}
