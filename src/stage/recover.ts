// After a crash: a commit that was cut off is ended, or taken back.
import { VmlError } from '../base/failure.ts'
import { asRaw, printable, type RawText } from '../base/raw-text.ts'
import { requireUnchangedAfter } from './changed-after.ts'
import { goForward, takeBack } from './commit.ts'
import type { CommitDisk } from './commit-disk.ts'
import { type LeftPath, takeSecondNameBack } from './commit-step.ts'
import { discardJournal, forgetJournal, removeJournal } from './forget-journal.ts'
import {
  attributesLeftFile,
  below,
  enterState,
  inFolder,
  type Journal,
  type JournalState,
  readJournal,
  readState,
} from './journal.ts'
import { above } from './keep-folders.ts'
import { isOwnState, setAttributes } from './set-attributes.ts'

export interface Recovery {
  /** `unfinished`: a journal that was cut off while it was written. */
  readonly found: JournalState | 'unfinished' | 'nothing'
  readonly did: 'nothing' | 'discarded' | 'committed' | 'taken back'
  /** Of a commit that is done: its pre-images are still kept, until it is forgotten. */
  readonly journal?: Journal
  /** Why a commit that was to be ended was taken back. */
  readonly cause?: unknown
  /** Of what was taken back: written by somebody since, and so not as it was before. */
  readonly left?: readonly LeftPath[]
}

/**
 * Goes on in the direction in which it was cut off; `backward` takes back a commit that was not ended, or was, where nothing of it was changed since. Afterwards everything is
 * as it was before the commit, or as it is after it. A repetition does what is left, if this is cut off, too.
 */
export function recover(disk: CommitDisk, folder: RawText, direction?: 'backward'): Recovery {
  const found = readState(folder)
  if (found === 'FORGOTTEN') {
    const journal = readJournalOf(folder) ?? emptyJournal(folder)
    removeJournal(disk, journal, 'keep')
    return { found, did: 'discarded' }
  }
  const journal = readJournal(folder)
  if (found === undefined || journal === undefined) {
    if (!disk.look(folder)) return { found: 'nothing', did: 'nothing' }
    discardJournal(disk, journal ?? emptyJournal(folder))
    return { found: 'unfinished', did: 'discarded' }
  }
  if (found !== 'PREPARED' && found !== 'TAKEN-BACK') requireKeeps(disk, journal)
  switch (found) {
    case 'PREPARED':
    case 'TAKEN-BACK':
      if (found === 'TAKEN-BACK') {
        setLeftAttributes(disk, journal, 'before')
        for (const step of journal.steps) takeSecondNameBack(disk, journal, step)
      }
      // It was seen, and may not be durable yet: before what it speaks of goes, it is.
      enterState(disk, journal, found)
      forgetJournal(disk, journal)
      return { found, did: 'discarded' }
    case 'COMMITTED':
      if (direction === 'backward') {
        requireUnchangedAfter(disk, journal)
        break
      }
      setLeftAttributes(disk, journal, 'after')
      enterState(disk, journal, found)
      return { found, did: 'nothing', journal }
    case 'COMMITTING': {
      if (direction === 'backward') break
      const cause = tryForward(disk, journal)
      if (cause === undefined) return { found, did: 'committed', journal }
      return { found, did: 'taken back', cause, ...takenBack(disk, journal) }
    }
    case 'TAKING-BACK':
      break
  }
  return { found, did: 'taken back', ...takenBack(disk, journal) }
}

/** What `recover.sh` could not set, unless somebody changed it since. Durable before the state of the journal is looked at again. */
function setLeftAttributes(disk: CommitDisk, { root, folder, steps }: Journal, to: 'before' | 'after'): void {
  const mark = inFolder(folder, attributesLeftFile)
  if (!disk.look(mark)) return
  const folders = new Set<RawText>()
  for (const step of steps) {
    if (step.kind !== 'attributes') continue
    const live = below(root, step.path)
    const now = disk.look(live)
    if (!now || !isOwnState(disk, live, now, step)) continue
    setAttributes(disk, live, step.type, step[to], step[to === 'after' ? 'before' : 'after'])
    folders.add(above(live))
  }
  for (const place of folders) disk.syncDisk(place)
  disk.remove(mark, 'file')
}

function takenBack(disk: CommitDisk, journal: Journal): Pick<Recovery, 'left'> {
  const left = takeBack(disk, journal)
  const all = [...left, ...forgetJournal(disk, journal).map((path) => ({ path }))]
  return all.length === 0 ? {} : { left: all }
}

/** Steps of a file system that is not mounted would look as if they were done already, and what was kept there as if there was nothing. */
function requireKeeps(disk: CommitDisk, { keeps }: Journal): void {
  const away = keeps.find(({ folder }) => disk.look(folder) === undefined)
  if (away === undefined) return
  throw new VmlError('conflict', `Cannot recover: "${printable(away.folder)}" is not there`, {
    hint: 'Nothing was changed. Mount the file system that has it, and repeat',
  })
}

function tryForward(disk: CommitDisk, journal: Journal): unknown {
  try {
    enterState(disk, journal, 'COMMITTING')
    goForward(disk, journal)
    return undefined
  } catch (error) {
    return error ?? new VmlError('failed', 'Cannot end a commit')
  }
}

function readJournalOf(folder: RawText): Journal | undefined {
  try {
    return readJournal(folder)
  } catch {
    // Its steps are gone already; what was kept went before them.
    return undefined
  }
}

function emptyJournal(folder: RawText): Journal {
  return { root: asRaw('/'), folder, keeps: [], steps: [], times: [] }
}
