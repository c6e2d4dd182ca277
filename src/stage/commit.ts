// The journalled commit: everything that a stage changed goes live, or nothing of it, wherever it is cut off.
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { firstFew } from '../base/first-few.ts'
import { printable, type RawText } from '../base/raw-text.ts'
import { describeSystemError } from '../base/system-error.ts'
import { nearestIn, type RawPath } from '../model/raw-path.ts'
import type { PathChange } from '../model/transaction.ts'
import type { FileStatus } from '../wire/libc.ts'
import { ownThings, placesMade, putBackWhatCame, requireNothingCame } from './came-since.ts'
import { isAs, stampsOf } from './changed-since.ts'
import { checkLive } from './commit-check.ts'
import { type CommitDisk, isFolder } from './commit-disk.ts'
import { type CommitRequest, planCommit } from './commit-plan.ts'
import { makeReady, takeMarksOff } from './commit-prepare.ts'
import {
  changedMeanwhile,
  isUnchanged,
  returnLinks,
  setTime,
  type LeftPath,
  stepBackward,
  stepForward,
} from './commit-step.ts'
import { discardJournal, forgetJournal } from './forget-journal.ts'
import { below, enterState, inFolder, type Journal, readState, type Step, writeJournal } from './journal.ts'
import { movedWhileOpen } from './moved-open.ts'
import { above, makeKeepFolder, makePlaceFolders, planKeepFolders } from './keep-folders.ts'
import { recoverScript } from './recover-script.ts'

export interface PreparedCommit {
  readonly journal: Journal
  readonly changes: readonly PathChange[]
  /** Files of which the content may change until the commit. */
  readonly stays: ReadonlySet<RawPath>
  /** See `moved-open.ts`. */
  readonly moved: ReadonlyMap<RawPath, RawPath>
}

/**
 * Writes the journal, and makes ready what it moves. Nothing of the root is changed; when this returns, everything that a commit
 * needs is durable. If it fails, nothing of it stays.
 */
export function prepareCommit(disk: CommitDisk, request: CommitRequest): PreparedCommit {
  const { root, folder, changes } = request
  if (disk.look(folder) !== undefined)
    throw new VmlError(
      'exists',
      `Cannot begin a commit: "${printable(folder)}" holds the journal of another one`,
      {
        hint: 'Recover that one first',
      },
    )
  let journal: Journal = { root, folder, keeps: [], steps: [], times: [] }
  try {
    disk.makeFolder(folder, 0o700)
    const keeps = planKeepFolders({
      disk,
      root,
      given: [inFolder(folder, 'keep'), ...(request.keeps ?? [])],
    })
    const movedOpen = movedWhileOpen(disk, request)
    const { steps, times, preparations, moved, inside } = planCommit(
      disk,
      { ...request, moved: movedOpen },
      keeps,
    )
    const stamps = stampsOf(disk, request)
    journal = { root, folder, keeps: keeps.used(), steps, times, inside, stamps }
    // Before anything is made in other places, it is durable where.
    writeJournal(disk, journal, recoverScript(journal, request.afterwards))
    for (const keep of journal.keeps) makeKeepFolder(disk, keep)
    const kept = steps.flatMap((step) => ('kept' in step ? [step.kept] : []))
    makePlaceFolders(disk, [...kept, ...preparations.map(({ to }) => to)])
    makeReady(disk, preparations, request)
    if (!request.isUnmarked) for (const path of moved) takeMarksOff(disk, path)
    syncKeeps(disk, journal)
    enterState(disk, journal, 'PREPARED')
    return { journal, changes, stays: filesThatStay(journal, request.copied ?? new Set()), moved: movedOpen }
  } catch (error) {
    quietly(() => discardJournal(disk, journal))
    throw nothingChanged(error, root)
  }
}

/**
 * Order: the old things get their second names, and these are durable; then the state says that it is being committed; then
 * everything moves; then that is durable; then the state says so. Each of the renames may be durable or not until then: the
 * old thing is kept, and the new one is either where it was prepared or live. If it fails, everything is taken back first.
 */
export function commit(disk: CommitDisk, { journal, changes, stays, moved }: PreparedCommit): void {
  let at: RawText = journal.root
  try {
    const seen = checkLive(disk, journal.root, changes, stays)
    for (const step of journal.steps) {
      at = below(journal.root, step.path)
      if (step.kind === 'create' && moved.has(step.path)) requireReady(disk, journal, step)
      if (step.kind !== 'replace') continue
      disk.link(at, step.kept)
      // What was linked is what was checked, or it came in between.
      const [checked, linked] = [seen.get(step.path), disk.look(step.kept)]
      if (!checked || !linked || !isUnchanged(checked, linked)) throw changedMeanwhile(at)
    }
    syncKeeps(disk, journal)
    enterState(disk, journal, 'COMMITTING')
    for (const step of journal.steps) {
      at = below(journal.root, step.path)
      stepForward(disk, journal, step, seen.get(step.path))
    }
    endForward(disk, journal, seen)
  } catch (error) {
    const left = readState(journal.folder) === 'PREPARED' ? [] : takeBack(disk, journal)
    quietly(() => forgetJournal(disk, journal))
    throw nothingChanged(error, at, left)
  }
}

/** What has the name of a file that is open may be written into until the end. */
function requireReady(
  disk: CommitDisk,
  journal: Journal,
  { path, made }: Extract<Step, { kind: 'create' }>,
): void {
  const ready = disk.look(made)
  if (!ready || !isAs('after', journal, path, ready)) throw changedMeanwhile(below(journal.root, path))
}

/** What cannot be tidied up now is tidied up by the next recovery; the failure before it is the one to tell. */
function quietly(tidy: () => void): void {
  try {
    tidy()
  } catch {
    // Nothing that matters is lost: a state says what it is.
  }
}

/** What of a commit is still to do. */
export function goForward(disk: CommitDisk, journal: Journal): void {
  for (const step of journal.steps) stepForward(disk, journal, step)
  endForward(disk, journal)
}

function endForward(disk: CommitDisk, journal: Journal, seen?: ReadonlyMap<RawPath, FileStatus>): void {
  requireNothingCame(disk, journal, seen)
  for (const time of journal.times) setTime(disk, journal.root, time, 'after')
  syncTouched(disk, journal)
  enterState(disk, journal, 'COMMITTED')
}

/**
 * Puts back what was there before, of a commit that ended or was cut off. As long as the journal is not forgotten. A step that
 * cannot be taken back stops none of the others. Tells what stays, since somebody wrote it meanwhile.
 */
export function takeBack(disk: CommitDisk, journal: Journal): LeftPath[] {
  enterState(disk, journal, 'TAKING-BACK')
  const failed: { path: RawText; error: unknown }[] = []
  const left: LeftPath[] = []
  const attempt = (path: RawPath, act: () => void) => {
    try {
      act()
    } catch (error) {
      failed.push({ path: below(journal.root, path), error })
    }
  }
  const isOwn = ownThings(disk, journal)
  // From the end: what was put into a new folder leaves it first.
  for (const step of journal.steps.toReversed())
    attempt(step.path, () => {
      const stays = stepBackward(disk, journal, step)
      if (stays) left.push(stays)
      if (step.kind === 'create' || step.kind === 'retype')
        left.push(...putBackWhatCame(disk, journal, isOwn, placesMade([step])).map((path) => ({ path })))
    })
  for (const time of journal.times) attempt(time.path, () => setTime(disk, journal.root, time, 'before'))
  const [first] = failed
  if (first !== undefined)
    throw new VmlError(
      'failed',
      `Cannot take back all of a commit: "${printable(first.path)}" (${reasonOf(first.error)}) and ${failed.length - 1} more are not as they were`,
      {
        cause: first.error,
        hint: `Remove the cause (move away what is in the way, make a folder that is gone), then: sh ${printable(inFolder(journal.folder, 'recover.sh'))} --backward`,
        details: { paths: failed.map(({ path }) => path) },
      },
    )
  syncTouched(disk, journal)
  enterState(disk, journal, 'TAKEN-BACK')
  returnLinks(disk, journal)
  return left
}

const indexes = new WeakMap<Journal, ReadonlyMap<RawPath, RawText>>()

/** Where what stood at a path before a commit lies until the journal is forgotten; undefined where nothing stood, or a folder stayed. A file that stayed lies at its path. */
export function keptAt(journal: Journal, path: RawPath): RawText | undefined {
  let index = indexes.get(journal)
  if (index === undefined) {
    index = new Map(
      journal.steps.flatMap((step) => {
        const place = placeKept(journal, step)
        return place === undefined ? [] : [[step.path, place]]
      }),
    )
    indexes.set(journal, index)
  }
  const at = nearestIn(path, index)
  const kept = at === undefined ? undefined : index.get(at)
  if (at === undefined || kept === undefined) return undefined
  return at === path ? kept : inFolder(kept, path.slice(at.length + 1))
}

/** Of some files those that only get other rights, owner or attributes. */
export function filesThatStay(
  { steps }: Pick<Journal, 'steps'>,
  files: Pick<ReadonlySet<RawPath>, 'has'>,
): ReadonlySet<RawPath> {
  return new Set(steps.flatMap(({ kind, path }) => (kind === 'attributes' && files.has(path) ? [path] : [])))
}

/** A file that only got other attributes is its own: its content before is its content now. */
function placeKept({ root }: Journal, step: Step): RawText | undefined {
  if ('kept' in step) return step.kept
  return step.kind === 'attributes' && step.type !== 'dir' ? below(root, step.path) : undefined
}

function syncKeeps(disk: CommitDisk, { root, keeps }: Journal): void {
  for (const { folder } of keeps) disk.syncDisk(folder)
  if (keeps.length === 0) disk.syncDisk(root)
}

/** Every file system that a step or a time was on. */
function syncTouched(disk: CommitDisk, journal: Journal): void {
  const folders = new Map<bigint, RawText>()
  // A thing that only got other attributes gives its folder no time.
  const alone = journal.steps.flatMap((step) =>
    step.kind === 'attributes' && step.type !== 'dir' ? [above(below(journal.root, step.path))] : [],
  )
  const timed = journal.times.map(({ path }) => below(journal.root, path))
  for (const place of new Set([...timed, ...alone])) {
    const status = disk.look(place)
    // What was a folder may be something else now, and a link would lead elsewhere.
    if (status && isFolder(status)) folders.set(status.deviceId, place)
  }
  for (const folder of folders.values()) disk.syncDisk(folder)
  syncKeeps(disk, journal)
}

/** The failure in words, and what it means for the machine; a defect stays one. */
function nothingChanged(error: unknown, at: RawText, left: readonly LeftPath[] = []): unknown {
  const stays = left.length === 0 ? '' : `. ${describeLeft(left)}`
  if (error instanceof VmlError)
    return new VmlError(error.code, `${error.message}; nothing was changed${stays}`, {
      cause: error,
      details: error.details,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    })
  const code = systemErrorCode(error)
  if (code === undefined) return error
  const full = code === 'ENOSPC' || code === 'EDQUOT'
  return new VmlError(
    full ? 'unavailable.space' : 'failed',
    `Cannot commit "${printable(at)}": ${reasonOf(error)}; nothing was changed${stays}`,
    {
      cause: error,
      details: { path: at, code },
      ...(hints[code] === undefined ? {} : { hint: hints[code] }),
    },
  )
}

/** For a person: which paths, and where to find what was there before. */
export function describeLeft(left: readonly LeftPath[]): string {
  const named = firstFew(
    left,
    namedMax,
    ({ path, old, isAnew }) =>
      `"${printable(path)}"${old === undefined ? '' : ` (before it: "${printable(old)}")`}${isAnew ? ' (it was gone, and is there again with what was in it before, for root alone)' : ''}`,
  )
  return `Written meanwhile by somebody else, and left as it is: ${named}`
}

const namedMax = 10

const hints: Readonly<Record<string, string>> = {
  ENOSPC: 'Make room, and repeat',
  EDQUOT: 'Make room, and repeat',
  EPERM: 'See with lsattr whether it, or its folder, is immutable',
  EBUSY: 'See with findmnt whether something is mounted there',
  EROFS: 'See with findmnt why the file system is read-only',
}

function reasonOf(error: unknown): string {
  const code = systemErrorCode(error)
  if (code !== undefined) return describeSystemError(code).toLowerCase()
  return error instanceof Error ? error.message : String(error)
}
