// A transaction without a stage: the machine is kept as it is, then changed, then compared. It is not atomic; what was there can be had again.
import { mkdirSync, rmSync } from 'node:fs'
import { writeFileDurable } from '../base/files.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import { rawToBytes } from '../base/raw-text.ts'
import { isMereWriting, isNothingMeant } from '../model/mere-writing.ts'
import { type RawPath, rootPath } from '../model/raw-path.ts'
import { type MountPlan, overlaysOf } from '../stage/mount-plan.ts'
import { captureLive } from '../stage/live-capture.ts'
import { openLiveKept, readLiveChanges } from '../stage/live-changes.ts'
import { endStageProcesses } from '../stage/stage-processes.ts'
import { markLayer, onHost, removeStage } from '../stage/stage-folder.ts'
import { holdWork, workLockOf } from './at-work.ts'
import { requireStores } from './away-mounts.ts'
import { type PackagesNow, readPackagesNow, unfinishedPackages } from './packages-now.ts'
import {
  outsideChanges,
  outsideContents,
  type CommittedStage,
  readCommitted,
  recordCommitted,
  type StageEnd,
  type StageResult,
  type TransactionParts,
} from './end-stage.ts'
import {
  databaseBefore,
  hasCaptured,
  layOutDatabase,
  liveFolder,
  markCaptured,
  readCapture,
  writeCapture,
} from './live-files.ts'
import {
  abandonStage,
  dropStage,
  keepOutside,
  noRoomToBegin,
  noteOf,
  type OpenStage,
  outsidePaths,
  planMountsNow,
  type StageRequest,
  withNewStage,
  writeFrontend,
} from './open-stage.ts'
import { pathOfNote, readStageNote, type StageNote, writeStageNote } from './stage-note.ts'
import { checkAfterwards, requireLiveSpace } from './live-checks.ts'
import { ownerBy } from './record-changes.ts'
import { dropHeld, putBackTaken } from './held-files.ts'
import { noteMountedFiles, tellMountedFiles } from './mounted-files.ts'
import { changesPath, encodeIntended, writeIntent } from './commit-intent.ts'
import { openFolder, pathIn, type Workplace } from './workplace.ts'

/**
 * Order: the folder, the note, what is kept, the index, and last the mark that all of it is there and durable: cut off before that, nothing was
 * begun. Fails with `store.locked` while another transaction is open.
 */
export async function beginLive(place: Workplace, request: StageRequest, reason: string): Promise<StageNote> {
  const scan = planLive(place, request.source)
  const note: StageNote = { ...noteOf(place, request), scan, modeReason: reason }
  await withNewStage(place, scan, async (folder) => await openLive(place, note, scan, folder))
  return note
}

async function openLive(place: Workplace, note: StageNote, scan: MountPlan, folder: RawPath): Promise<void> {
  try {
    keepOutside(place)
    await noteMountedFiles(place, scan, note.source)
    // Before anything is linked, which touches every file.
    await place.beforeChange?.()
    holdWork(note.process, workLockOf(place))
    writeFrontend(folder, note)
    await capture(place, note, scan)
  } catch (error) {
    abandonStage(place, scan)
    throw noRoomToBegin(place, error)
  }
}

/**
 * The stage goes, with all that was done in it, and what is done from now on is recorded live. What was written outside of the stage stays as it is,
 * and is part of the record. If it fails, no transaction is open any more, and the machine is as it was but for that. The caller holds the lock of the stage.
 */
export async function turnLive(place: Workplace, stage: OpenStage, reason: string): Promise<StageNote> {
  const { plan: _, ...staged } = stage.note
  const scan = planLive(place, staged.source)
  const note: StageNote = { ...staged, scan, modeReason: reason }
  // Nobody enters it from here on.
  rmSync(rawToBytes(stage.folder.enter), { force: true })
  await endStageProcesses(stage.note.token, place.clock)
  try {
    // It is done again from the beginning, with what was there then.
    putBackTaken(place)
    dropHeld(place)
    removeStage(stage.plan)
    await capture(place, note, scan)
    return note
  } catch (error) {
    abandonStage(place, scan)
    throw error
  }
}

/** Undefined where none is open that is recorded without a stage. */
export function readOpenLive(place: Workplace): StageNote | undefined {
  const note = readStageNote(pathOfNote(openFolder(place)))
  return note && isCaptured(place, note) ? note : undefined
}

export function isCaptured(place: Workplace, note: StageNote): boolean {
  return note.scan !== undefined && hasCaptured(place)
}

/**
 * What people do while dpkg runs is no part of it, and no package may touch these (Filesystem Hierarchy Standard 3.0: of the site). A command
 * may.
 */
const folders = ['/home', '/srv', '/mnt', '/media'].map((path) => pathIn(rootPath, path))

function planLive(place: Workplace, source: StageNote['source']): MountPlan {
  const planned = planMountsNow(place, { live: true, dataFolders: source === 'command' ? [] : folders })
  if (planned.kind === 'stage') return planned.plan
  throw new VmlError('unsupported', `Cannot record this change: ${planned.reason}`)
}

async function capture(place: Workplace, note: StageNote, scan: MountPlan): Promise<void> {
  const { libc, reader, signal } = place
  await writeStageNote(pathOfNote(openFolder(place)), note)
  mkdirSync(liveFolder(place), { mode: 0o700 })
  for (const { layer } of overlaysOf(scan)) {
    mkdirSync(rawToBytes(onHost(scan, layer)), { recursive: true, mode: 0o700 })
    markLayer(scan, onHost(scan, layer))
  }
  const taken = captureLive({
    plan: scan,
    cause: note.source === 'command' ? 'command' : 'packages',
    libc,
    reader,
    requireRoom: (copies) => requireLiveSpace(place, copies),
    signal,
    report: (event) => place.reporter.progress(event),
  })
  await writeCapture(place, taken)
  layOutDatabase(place, taken, openLiveKept({ plan: scan, capture: taken, libc }))
  for (const { layer } of overlaysOf(scan)) place.disk.syncDisk(onHost(scan, layer))
  await markCaptured(place)
}

export type LiveResult =
  | { readonly kind: 'command'; readonly result: StageResult }
  /** A package manager, of which nobody told the status: the state of its packages does. */
  | { readonly kind: 'packages'; readonly result?: StageResult }
  /** It was killed, or the machine went down. */
  | { readonly kind: 'cut off' }

/**
 * Order: what changed is written down; all that is not needed of what was kept goes; then the record is an entry; then the rest goes. Cut
 * off anywhere, it is repeated, and ends the same way. The caller holds the lock of the stage.
 */
export async function endLive(
  parts: TransactionParts,
  note: StageNote,
  ended: LiveResult,
): Promise<StageEnd> {
  const { libc, reader, signal } = parts
  if (note.scan === undefined) throw new TypeError('Only a transaction without a stage ends so')
  const plan = note.scan
  requireStores(parts, plan)
  const taken = readCapture(parts)
  const kept = openLiveKept({ plan, capture: taken, libc })
  const packages = await readPackagesNow({ ...parts, root: databaseBefore(parts) }, outsideContents(parts))
  const outside = await outsideChanges(parts)
  let committed: Pick<CommittedStage, 'changes' | 'removedOwners' | 'result'> | undefined =
    await readCommitted(parts)
  if (committed === undefined) {
    const found = await readLiveChanges({
      plan,
      capture: taken,
      planNow: planLive(parts, note.source),
      libc,
      reader,
      isLeftOut: isMereWriting,
      signal,
      report: (event) => parts.reporter.progress(event),
    })
    await tellMountedFiles(parts)
    const changes = found.filter(({ path }) => !outsidePaths.includes(path))
    if (isNothingMeant(changes) && outside.length === 0) {
      dropStage(parts, note, plan)
      return { kind: 'nothing' }
    }
    const validations = await checkAfterwards(parts, changes)
    const result = { ...(await resultOf(parts, ended, packages)), validations }
    writeIntent(parts, { exitStatus: result.exitStatus, validations })
    // Its being there says that nothing is looked at any more: it comes last, and whole.
    await writeFileDurable(
      changesPath(parts),
      encodeIntended(changes, (change) => ownerBy(change, packages)),
    )
    committed = { changes, result }
  }
  kept.prune(committed.changes)
  return await recordCommitted(parts, {
    ...committed,
    note: ended.kind === 'cut off' ? { ...note, modeReason: cutOffReason(note) } : note,
    plan,
    kept: { at: (path) => kept.at(path), lost: (path) => kept.lost(path), forget: () => [] },
    outside,
    packages,
  })
}

function cutOffReason({ modeReason }: StageNote): string {
  return `${modeReason ?? 'no stage'}; it was cut off, and holds what changed until it was found`
}

async function resultOf(
  parts: TransactionParts,
  ended: LiveResult,
  before: PackagesNow,
): Promise<StageResult> {
  if (ended.kind === 'cut off') return { exitStatus: 1, validations: [] }
  if (ended.result) return ended.result
  const broken = new Set(unfinishedPackages(before))
  const isNew = (await unfinishedNow(parts)).some((name) => !broken.has(name))
  return { exitStatus: isNew ? 1 : 0, validations: [] }
}

/** A list that cannot be read is told when the record is made. */
async function unfinishedNow(parts: TransactionParts): Promise<readonly string[]> {
  try {
    return unfinishedPackages(await readPackagesNow(parts))
  } catch (error) {
    if (!isFailure(error, 'integrity.format')) throw error
    return []
  }
}
