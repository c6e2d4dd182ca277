// Opens the one stage of a machine, and takes away what is left of it.
import { randomBytes } from 'node:crypto'
import { copyFileSync, mkdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { writeFileDurable } from '../base/files.ts'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { printable, rawFromBytes, type RawText, rawToBytes } from '../base/raw-text.ts'
import { isWithin, parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import {
  dataMountsThrough,
  type MountPlan,
  type MountPlanning,
  planMounts,
  viewOf,
} from '../stage/mount-plan.ts'
import type { RootIndex } from '../stage/root-index.ts'
import { decodeIndex, encodeIndex } from '../stage/root-index-file.ts'
import { scanRoot } from '../stage/scan-root.ts'
import { makeStage, removeStage, type StageFolder, stageFolderOf } from '../stage/stage-folder.ts'
import { dropHeld, holdFiles } from './held-files.ts'
import { holdWork, letGoOfWork, nameOfWorker, workerOf, workLockOf } from './at-work.ts'
import { hasLeftStores, removeLeftStores } from './left-stores.ts'
import { noteMountedFiles } from './mounted-files.ts'
import { spaceFailure } from './space-need.ts'
import { isAnothers, withStageLock } from './stage-lock.ts'
import { inRoot, openFolder, pathIn, type Workplace } from './workplace.ts'
import { pathOfNote, readStageNote, type StageNote, writeStageNote } from './stage-note.ts'

export interface StageRequest extends Pick<
  StageNote,
  'source' | 'title' | 'note' | 'tags' | 'command' | 'user' | 'probation'
> {
  /** The process that the stage is for: while it lives, nobody else may end it. */
  readonly processId: number
  /** The script that answers for `policy-rc.d` in the stage. */
  readonly policy?: RawPath
}

export interface OpenStage {
  readonly note: StageNote
  readonly plan: MountPlan
  /** Of the root when it was opened. */
  readonly index: RootIndex
  readonly folder: StageFolder
}

/**
 * Files that a run of apt writes outside of the stage: what was installed automatically; and debconf's, before dpkg is called for the
 * first time (dpkg-preconfigure). They are kept as they were, and are part of the transaction.
 */
const debconf: readonly string[] = ['config', 'templates', 'passwords'].flatMap((name) => [
  `/var/cache/debconf/${name}.dat`,
  `/var/cache/debconf/${name}.dat-old`,
])
export const outsidePaths: readonly string[] = ['/var/lib/apt/extended_states', ...debconf]

/**
 * Order: the folder, copies of what changes outside, the note, which tells what is to be removed, the stage, second names of what lies in folders that are the real
 * ones, and the index: without one it was never open. Fails with `store.locked` while another one is open, `unsupported` where no stage can be had here.
 */
export async function openStage(place: Workplace, request: StageRequest): Promise<OpenStage> {
  const planned = planMountsNow(place)
  if (planned.kind === 'unsupported')
    throw new VmlError('unsupported', `Cannot open a stage: ${planned.reason}`, {
      hint: 'Nothing was run. Where no stage can be had, the same can be recorded live',
    })
  const { plan } = planned
  return await withNewStage(place, plan, async (folder) => await makeOpenStage(place, request, plan, folder))
}

async function makeOpenStage(
  place: Workplace,
  request: StageRequest,
  plan: MountPlan,
  folder: RawPath,
): Promise<OpenStage> {
  try {
    // Any other command writes nothing outside: what changes there meanwhile is somebody else's.
    if (request.source === 'apt') keepOutside(place)
    const note = noteOf(place, request, plan)
    holdWork(note.process, workLockOf(place))
    await writeStageNote(pathOfNote(folder), note)
    writeFrontend(folder, note)
    await noteMountedFiles(place, plan, note.source)
    if (note.source === 'command') warnOfMounts(place, plan)
    const { policy } = request
    const made = makeStage(
      plan,
      { token: note.token, ...(policy === undefined ? {} : { policy }) },
      place.libc,
    )
    holdFiles(place, note.source)
    // The stage's own folders touch the tops of mounts: what is looked at is the root with them.
    const { index } = scanRoot(viewOf(plan), place)
    await place.beforeChange?.(index)
    await writeFileDurable(pathIn(folder, 'index'), encodeIndex(index))
    return { note, plan, index, folder: made }
  } catch (error) {
    abandonStage(place, plan)
    throw noRoomToBegin(place, error)
  }
}

/** Of file systems that hold no second names, or answer slowly, nothing is held: whoever runs a command there is told before. */
function warnOfMounts({ reporter }: Workplace, plan: MountPlan): void {
  const mounts = dataMountsThrough(plan, mountInfoNow())
  if (mounts.length === 0) return
  const names = mounts.slice(0, mountsShown).map(({ path, type }) => `"${printable(path)}" (${type})`)
  const left = mounts.length - names.length
  reporter.warn({
    warning: `${names.join(', ')}${left > 0 ? ` and ${left} more` : ''}: no stage can hold ${mounts.length === 1 ? 'it' : 'them'}. What is written, removed or moved there is so at once, and in no record; what is moved from there into the system is lost if the stage is thrown away`,
  })
}

const mountsShown = 5

function mountInfoNow(): RawText {
  return rawFromBytes(readFileSync('/proc/self/mountinfo'))
}

/** Nothing was run yet, and what was made for it is gone. */
export function noRoomToBegin({ state }: Pick<Workplace, 'state'>, error: unknown): unknown {
  return spaceFailure(error, { what: 'begin a transaction', folder: state })
}

/** `live`: of what is looked at, and kept, where nothing is staged. */
export function planMountsNow(
  place: Workplace,
  options: { readonly live?: boolean; readonly dataFolders?: readonly RawPath[] } = {},
): MountPlanning {
  return planMounts({
    mountInfo: mountInfoNow(),
    root: place.root,
    state: place.state,
    stateOnMount: isStateOnMount(place),
    ownBesides: linkedLogbook(place),
    isFolder: (path) => isFolder(inRoot(place, path)),
    dataFolders: [],
    ...options,
  })
}

/** What another process opened; undefined where none is open, or where it was cut off before it could be entered. */
export function readOpenStage(place: Workplace): OpenStage | undefined {
  const folder = openFolder(place)
  const note = readStageNote(pathOfNote(folder))
  if (note?.plan === undefined) return undefined
  const bytes = readIfThere(pathIn(folder, 'index'))
  if (bytes === undefined) return undefined
  const index = decodeIndex(bytes)
  return { note, plan: note.plan, index, folder: stageFolderOf(note.plan) }
}

/** Everything of it goes; what another process has opened by now stays. Nobody may be in it, and its journal is done with. The caller holds its lock. */
export function dropStage(
  place: Workplace,
  note: Pick<StageNote, 'token'> | undefined,
  plan: MountPlan | undefined,
): void {
  if (!isAnothers(place, note)) abandonStage(place, plan)
}

/** Of whoever makes it, and fails: it may have no note yet. */
export function abandonStage(place: Workplace, plan: MountPlan | undefined): void {
  if (plan) removeStage(plan)
  removeOpenFolder(place)
}

/** Puts back what the run wrote outside of a stage that is thrown away. What somebody else may have written there since stays, and is told. */
export async function restoreOutside(place: Workplace): Promise<void> {
  const left: RawPath[] = []
  for (const [path, kept] of keptOutside(place)) {
    const target = inRoot(place, path)
    const [was, is] = [kept === undefined ? undefined : readIfThere(kept), readIfThere(target)]
    if (was === undefined ? is === undefined : is?.equals(was)) continue
    if (!isOutsideOfRun(place, path)) left.push(path)
    else if (kept === undefined || was === undefined) rmSync(rawToBytes(target), { force: true })
    else await writeFileDurable(target, was, { mode: statSync(rawToBytes(kept)).mode & 0o7777 })
  }
  tellLeftOutside(place, left)
}

/** Copies of debconf's own say nothing that the files do not. */
export function tellLeftOutside(place: Workplace, paths: readonly RawPath[]): void {
  const told = paths.filter((path) => !path.endsWith('-old'))
  if (told.length === 0) return
  place.reporter.warn({
    warning: `${told.map(printable).join(', ')}: changed since the run was cut off, or by somebody else while it ran, and left as ${told.length === 1 ? 'it is' : 'they are'}. What the run had written there is not taken back`,
  })
}

/**
 * Whether what lies at the path now was written by the run: its last change is no later than what is known of it. debconf's files are the run's until
 * dpkg is called for the first time; then packages ask in the stage. apt writes its marks last, right before the hook that ends the run. Nobody knows when a run
 * was killed that came to neither.
 */
export function isOutsideOfRun(place: Workplace, path: RawPath): boolean {
  const folder = openFolder(place)
  const called = changedAt(pathIn(folder, 'calls', '0001', 'argv'))
  const ended = changedAt(pathIn(folder, 'ended'))
  const lastSign = debconf.includes(path) ? (called ?? ended) : (ended ?? called)
  const changed = changedAt(inRoot(place, path))
  return lastSign !== undefined && changed !== undefined && changed <= lastSign
}

function changedAt(path: Parameters<typeof rawToBytes>[0]): bigint | undefined {
  return statSync(rawToBytes(path), { bigint: true, throwIfNoEntry: false })?.ctimeNs
}

/** Each path with where it is kept as it was; undefined where nothing was there. Empty where nothing was kept. */
export function keptOutside(place: Workplace): Map<RawPath, RawPath | undefined> {
  const folder = pathIn(openFolder(place), 'outside')
  const found = new Map<RawPath, RawPath | undefined>()
  if (readIfThere(pathIn(folder, 'complete')) === undefined) return found
  for (const [at, path] of outsidePaths.entries()) {
    const kept = pathIn(folder, String(at))
    found.set(pathIn(rootPath, path), readIfThere(kept) === undefined ? undefined : kept)
  }
  return found
}

export function keepOutside(place: Workplace): void {
  const folder = pathIn(openFolder(place), 'outside')
  mkdirSync(folder, { mode: 0o700 })
  for (const [at, path] of outsidePaths.entries()) {
    const live = inRoot(place, pathIn(rootPath, path))
    // With its rights: answers may be passwords.
    if (readIfThere(live)) copyFileSync(rawToBytes(live), pathIn(folder, String(at)))
  }
  writeFileSync(pathIn(folder, 'complete'), '', { mode: 0o600 })
}

/**
 * Has the folder made, by one process, and `open` make in it what it needs, under the lock: until there is a note nobody could tell that it is not left behind. `plan` says where
 * else something will be made. One that is open is not waited for: `store.locked`.
 */
export async function withNewStage<Result>(
  place: Workplace,
  plan: MountPlan | undefined,
  open: (folder: RawPath) => Promise<Result>,
): Promise<Result> {
  const folder = openFolder(place)
  if (place.disk.look(folder) !== undefined) throw anotherIsOpen(folder)
  return await withStageLock(place, async () => {
    try {
      mkdirSync(dirname(folder), { recursive: true, mode: 0o700 })
      makeOpenFolder(folder)
    } catch (error) {
      throw noRoomToBegin(place, error)
    }
    try {
      if (plan) removeLeftStores(place, plan)
    } catch (error) {
      removeOpenFolder(place)
      throw error
    }
    return await open(folder)
  })
}

/** What is left of stages on file systems that were not mounted then; where none is open. */
export async function sweepStores(place: Workplace): Promise<void> {
  const planned = planMountsNow(place, { live: true })
  // On a full disk the folder that keeps others out could not be made, and mostly there is nothing to be done in it.
  if (planned.kind === 'unsupported' || !hasLeftStores(place, planned.plan)) return
  await withNewStage(place, planned.plan, async () => await Promise.resolve(removeOpenFolder(place)))
}

function makeOpenFolder(folder: RawPath): void {
  try {
    mkdirSync(folder, { mode: 0o700 })
  } catch (error) {
    throw systemErrorCode(error) === 'EEXIST' ? anotherIsOpen(folder) : error
  }
}

function anotherIsOpen(folder: RawPath): VmlError {
  const note = readStageNote(pathOfNote(folder))
  return new VmlError(
    'store.locked',
    note?.waiting
      ? 'Cannot begin a transaction: one that was tried waits for its commit'
      : `Cannot begin a transaction: another one is open${note ? `, of ${nameOfWorker(note.process)}` : ''}`,
    {
      details: { process: note?.process.id ?? null },
      hint: note?.waiting
        ? 'Nothing was changed. Take it, or throw it away: vml tx commit, vml tx discard'
        : 'Nothing was changed. Wait for it to end; what is left of one that was cut off is mended by vml tx recover',
    },
  )
}

/** As the hooks write it, who then know whose stage it is: the process, its start, the kernel's mark. */
export function writeFrontend(folder: RawPath, { process: { id, started, boot = '' } }: StageNote): void {
  writeFileSync(pathIn(folder, 'frontend'), `${id} ${started} ${boot}\n`, { mode: 0o600 })
}

export function noteOf(place: Workplace, request: StageRequest, plan?: MountPlan): StageNote {
  const { source, title, note, tags, command, user, processId, probation } = request
  return {
    schema: 1,
    token: randomBytes(16).toString('hex'),
    source,
    title,
    note,
    tags,
    command,
    user,
    startedAt: new Date(place.clock.now()).toISOString(),
    process: workerOf(processId),
    ...(probation === undefined ? {} : { probation }),
    ...(plan === undefined ? {} : { plan }),
  }
}

/** Units that an undo has stopped, one a line. */
export function stoppedPath(place: Workplace): RawPath {
  return pathIn(openFolder(place), 'stopped')
}

function removeOpenFolder(place: Workplace): void {
  const folder = openFolder(place)
  dropHeld(place)
  letGoOfWork(workLockOf(place))
  // The note goes last: a folder with a note that cannot be removed whole is found, and removed, later.
  for (const name of [
    'outside',
    'packages',
    'result.json',
    'new',
    'calls',
    'changes.jsonl',
    'index',
    'plan',
    'frontend',
    'queue',
    'live',
    'log',
  ])
    rmSync(pathIn(folder, name), { recursive: true, force: true })
  rmSync(folder, { recursive: true, force: true })
}

/** The one part of it that grows may lie on another disk, by a link. Where the root is a folder here, a link would be followed out of it. */
function linkedLogbook({ root, state }: Workplace): readonly RawPath[] {
  if (root !== rootPath) return []
  const logbook = pathIn(state, 'logbook')
  try {
    const real = parseRawPath(rawFromBytes(realpathSync(rawToBytes(logbook), 'buffer')))
    return real === undefined || isWithin(real, state) ? [] : [real]
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(systemErrorCode(error) ?? '')) return []
    throw error
  }
}

/** A state folder in a subvolume of its own is another device: nothing can be renamed out of it. */
function isStateOnMount(place: Workplace): boolean {
  return statSync(rawToBytes(place.root)).dev === statSync(rawToBytes(place.state)).dev
}

function isFolder(path: Parameters<typeof rawToBytes>[0]): boolean {
  try {
    return statSync(rawToBytes(path)).isDirectory()
  } catch {
    return false
  }
}

export function readIfThere(path: Parameters<typeof rawToBytes>[0]): Buffer | undefined {
  try {
    return readFileSync(rawToBytes(path))
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return undefined
    throw error
  }
}
