// Carries out an undo: everything is made ready, then committed by the journal, made anew, proved, and recorded as a transaction.
import {
  closeSync,
  constants,
  copyFileSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { randomBytes } from 'node:crypto'
import { isFailure, messageOf, systemErrorCode, VmlError } from '../base/failure.ts'
import { asRaw, printable, type RawText, rawToBytes } from '../base/raw-text.ts'
import { baseName, parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import { isAlwaysWritten, ruleOf } from '../model/regeneration.ts'
import { type Fingerprint, type PathChange, sameState, titleCharactersMax } from '../model/transaction.ts'
import { type Validation } from '../model/transaction-record.ts'
import type { Segment } from '../model/tree.ts'
import { commit, describeLeft, prepareCommit, takeBack } from '../stage/commit.ts'
import { forgetJournal } from '../stage/forget-journal.ts'
import type { Journal } from '../stage/journal.ts'
import type { MountPlan } from '../stage/mount-plan.ts'
import { here } from '../wire/libc.ts'
import { type CommitIntent, replaceIntent, writeIntent } from './commit-intent.ts'
import { regenerate, regenerateAfter, removeMadeAnew, wordsOf } from './make-anew.ts'
import { provePackages } from './prove-packages.ts'
import {
  type CommittedStage,
  fingerprintOf,
  notRecorded,
  recordCommitted,
  type StageEnd,
  type TransactionParts,
} from './end-stage.ts'
import { entryName, type LoggedEntry } from '../engine/entries.ts'
import { isSameThing } from '../stage/commit-disk.ts'
import { sha256Of } from '../stage/fingerprint.ts'
import { withoutMarks } from '../stage/layer-marks.ts'
import { linkPrepared } from '../stage/hard-links.ts'
import { statusOfPath } from './path-status.ts'
import { describeOwnFiles } from './further-names.ts'
import { holdWork, workerOf, workLockOf } from './at-work.ts'
import { keptByJournal, tellCame } from './kept-before.ts'
import { giveAttributes } from './give-attributes.ts'
import { linkGroup } from './link-group.ts'
import { copyLive } from './live-content.ts'
import { ownerBy } from './record-changes.ts'
import {
  cameAnew,
  changesMadeAnew,
  lookBeforeMadeAnew,
  putBackCopies,
  requireMadeAnew,
  type SeenBefore,
  withSeen,
} from './before-anew.ts'
import { dropStage, stoppedPath, withNewStage } from './open-stage.ts'
import { requireRecordable } from './storable-changes.ts'
import { keepPackages, readPackagesNow } from './packages-now.ts'
import { pathOfNote, type StageNote, writeStageNote } from './stage-note.ts'
import { requireSpace, spaceFailure, undoNeeds } from './space-need.ts'
import { planTransferStage, transferStates } from './state-transfer.ts'
import type { StageFill } from '../stage/fill-stage.ts'
import type { TransactionContents } from './transaction-contents.ts'
import { isBesideAlone } from './beside-files.ts'
import { tellOpenWriters } from './tell-open-writers.ts'
import { takenBackBy, type UndoPlan } from './undo.ts'
import { plannedSegments } from './undo-packages.ts'
import type { PlannedPath } from './undo-plan.ts'
import { inRoot, openFolder, pathIn } from './workplace.ts'

export interface UndoRun extends TransactionParts {
  readonly contents: TransactionContents
  readonly user: StageNote['user']
  readonly command: readonly RawText[]
  readonly processId: number
  /** Why it is done, where nobody asked for it by hand. */
  readonly note?: string
  /** What it is told as, where that is shorter than the names of all that it takes back. */
  readonly title?: string | undefined
  /** Stops what has files among the paths, and gives back a function that starts it again. Tells before which are stopped. */
  stopServices(
    units: readonly string[],
    onStop: (units: readonly string[]) => void,
  ): Promise<() => Promise<StoppedServices>>
}
type StoppedServices = Awaited<ReturnType<TransactionParts['restartServices']>>

/** Nothing is to be done where every path is as it was before already, and no program has to make one so. */
export function isNothing({ paths, regenerations }: Pick<UndoPlan, 'paths' | 'regenerations'>): boolean {
  return paths.paths.length + paths.conflicts.length + regenerations.length === 0
}

/**
 * Order: contents are made ready and hashed while the machine is untouched; services stop; the journalled commit; what is made anew;
 * proof; services start. What fails until they have started is taken back. Then the record, then the journal is forgotten.
 * Where the state of a service is transferred, all is made ready in a stage, with the data that the other version made there, and committed
 * in the same step (`state-transfer.ts`); the services stand still from before that, and start after the proof.
 */
export async function runUndo(parts: UndoRun, plan: UndoPlan): Promise<StageEnd> {
  requireSpace(`${plan.kind} it`, undoNeeds(parts, plan))
  const mounts = planTransferStage(parts, plan.transfers)
  return await withNewStage(
    parts,
    mounts,
    async (folder) =>
      await recordUndo(
        parts,
        plan,
        await commitUndo(parts, plan, { mounts, folder, note: noteOf(parts, plan) }),
      ),
  )
}

/** Services work with what is back: nothing is taken back under them any more. Cut off, or without a record, it is left to `vml tx recover`. */
async function recordUndo(parts: UndoRun, plan: UndoPlan, committed: CommittedStage): Promise<StageEnd> {
  try {
    // Who stops one from here on means it.
    rmSync(stoppedPath(parts), { force: true })
    return await recordCommitted(parts, committed)
  } catch (error) {
    await noteProof(parts, plan, committed)
    throw notRecorded(error, `The ${plan.kind}`)
  }
}

/** For the record that `vml tx recover` makes. Where there is no room for it, the proof is repeated. */
async function noteProof(parts: UndoRun, plan: UndoPlan, { result }: CommittedStage): Promise<void> {
  try {
    await replaceIntent(parts, { ...intentOf(plan, result.validations), isProven: true })
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
  }
}

function intentOf(plan: UndoPlan, validations: readonly Validation[]): CommitIntent {
  return { exitStatus: 0, validations, toMakeAnew: plan.regenerations, ...takenBackBy(plan) }
}

/** Made, proved, and its services work with it; what fails until then is taken back here. */
async function commitUndo(
  parts: UndoRun,
  plan: UndoPlan,
  own: { readonly mounts: MountPlan | undefined; readonly folder: RawPath; readonly note: StageNote },
): Promise<CommittedStage> {
  const { mounts, folder } = own
  let journal: Journal | undefined
  let start: (() => Promise<StoppedServices>) | undefined
  let seen: SeenBefore = new Map()
  try {
    const note = { ...own.note, ...(mounts ? { plan: mounts } : {}) }
    holdWork(note.process, workLockOf(parts))
    await writeStageNote(pathOfNote(folder), note)
    parts.reporter.progress({ phase: 'getting what was there before' })
    const transferred =
      mounts &&
      (await transferStates(parts, plan.transfers, {
        note,
        mounts,
        kind: plan.kind,
        stopServices: async () => void (start = await stopServices(parts, plan)),
        fill: async (fill) => void (await makeReady(parts, plan, fill)),
      }))
    const ready = transferred ?? (await makeReady(parts, plan))
    requireRecordable(ready.changes, `${plan.kind} it`)
    const transferNotes = transferred?.validations ?? []
    const now = await readPackagesNow(parts)
    const packages = await keepPackages(parts, now)
    const intent = intentOf(plan, transferNotes)
    writeIntent(parts, intent, ready.changes, (change) => ownerBy(change, now))
    const { folderTimes } = ready
    const copies = 'copies' in ready ? ready.copies : undefined
    const prepared = prepareCommit(parts.disk, {
      root: parts.root,
      folder: pathIn(folder, 'journal'),
      changes: ready.changes,
      prepared: ready.prepared,
      afterwards: plan.regenerations.map(wordsOf),
      isUnmarked: transferred === undefined,
      ...(copies ? { copied: copies } : {}),
      ...(folderTimes ? { folderMtimeNs: (path) => folderTimes.get(path) } : {}),
    })
    journal = prepared.journal
    start ??= await stopServices(parts, plan)
    seen = await lookBeforeMadeAnew(parts, plan.paths.regenerated)
    commit(parts.disk, prepared)
    parts.reporter.progress({ phase: 'proving it' })
    await regenerate(parts, plan.regenerations)
    await requireMadeAnew(parts, seen)
    const madeAnew = await changesMadeAnew(parts, seen)
    // What services write as they start is theirs, and no fault of the undo; nor may they work on what is taken back.
    const validations = await prove(parts, plan, prepared.stays)
    tellOwnFiles(parts, plan)
    const committed: CommittedStage = {
      note,
      plan: mounts,
      kept: withSeen(keptByJournal(parts.disk, journal, copies), seen),
      changes: byPath([...ready.changes, ...madeAnew]),
      outside: [],
      packages,
      result: { exitStatus: 0, validations: [...transferNotes, ...validations], ...takenBackBy(plan) },
    }
    return { ...committed, services: await start() }
  } catch (error) {
    try {
      const isTakenBack = await undoTheUndo(parts, plan, { journal, start, seen, mounts, note: own.note })
      if (isTakenBack && !isFailure(error, 'proof'))
        parts.reporter.warn({ warning: `What the ${plan.kind} had changed is put back as it was before` })
    } catch (second) {
      parts.reporter.warn({ warning: `What failed first: ${messageOf(error)}` })
      throw second
    }
    throw spaceFailure(error, {
      what: `${plan.kind} it`,
      folder: parts.state,
      ...(journal ? { unchanged: 'Everything was put back as it was before' } : {}),
    })
  }
}

/** They stand still for as long as a hand-over takes: whoever mends a crash starts them again (`recover-stage.ts`). */
async function stopServices(parts: UndoRun, { units }: UndoPlan): Promise<() => Promise<StoppedServices>> {
  return await parts.stopServices(units, (stopped) => {
    if (stopped.length > 0) writeFileSync(stoppedPath(parts), stopped.join('\n'), { mode: 0o600 })
  })
}

/** Where nothing was committed, the journal is gone already. Gives whether something was. */
async function undoTheUndo(
  parts: UndoRun,
  plan: UndoPlan,
  {
    journal,
    start,
    seen,
    mounts,
    note,
  }: {
    journal: Journal | undefined
    start: (() => Promise<StoppedServices>) | undefined
    seen: SeenBefore
    mounts: MountPlan | undefined
    note: StageNote
  },
): Promise<boolean> {
  const isCommitted = journal !== undefined && parts.disk.look(journal.folder) !== undefined
  if (isCommitted) {
    removeMadeAnew(parts, [...cachesThatWent(plan), ...cameAnew(seen)])
    const left = takeBack(parts.disk, journal)
    if (left.length > 0) parts.reporter.warn({ warning: describeLeft(left) })
    // While the journal says that it was taken back: killed here, a recovery makes them anew. Whoever stops it wants all as it was, this included.
    await regenerateAfter('take-back', { ...parts, signal: undefined }, plan.regenerations)
    await putBackCopies(parts, seen)
    tellOpenWriters(parts, journal, 'made')
    tellCame(parts, forgetJournal(parts.disk, journal))
  }
  await start?.()
  dropStage(parts, note, mounts)
  return isCommitted
}

/** With the transaction, and were made anew since. */
export function cachesThatWent({ paths }: Pick<UndoPlan, 'paths'>): RawPath[] {
  return paths.paths.flatMap(({ path, wanted }) =>
    wanted === undefined && ruleOf(path) !== undefined ? [path] : [],
  )
}

function noteOf(parts: UndoRun, plan: UndoPlan): StageNote {
  return {
    schema: 1,
    token: randomBytes(16).toString('hex'),
    source: plan.kind,
    title: parts.title ?? undoTitle(plan),
    note: parts.note ?? '',
    tags: [],
    command: parts.command,
    user: parts.user,
    startedAt: new Date(parts.clock.now()).toISOString(),
    process: workerOf(parts.processId),
  }
}

/** One has its title with it, several their names. */
export function undoTitle({
  kind,
  subject,
  together,
}: Pick<UndoPlan, 'kind' | 'subject' | 'together'>): string {
  const all = [...subject, ...together]
  const [only] = all
  if (only && all.length === 1)
    return `${kind} ${entryName(only)}: ${ownTitle.exec(only.title)?.[0] ?? only.title}`.slice(
      0,
      titleCharactersMax,
    )
  const names = all.map(entryName)
  const some = names.length > namesMax ? names.slice(0, namesMax - 1) : names
  const left = names.length - some.length
  return `${kind} ${some.join(', ')}${left > 0 ? ` and ${left} more` : ''}`
}

export function undoToBeforeTitle(first: LoggedEntry): string {
  return `undo to before ${entryName(first)}`
}

const namesMax = 3
/** As `undoTitle` begins: an undo of an undo is told with the number of that one's, and not as a chain. */
const ownTitle = /^(?:undo|redo) (?:#\d+|[0-9a-f]{8})(?=: )/

interface Ready {
  readonly changes: readonly PathChange[]
  prepared(path: RawPath): RawText
  /** Of files that only get other rights, as they were read: a program may write into them at any time. */
  readonly copies: ReadonlyMap<RawPath, RawText>
  /** Absent where what was made ready has them itself. */
  readonly folderTimes?: ReadonlyMap<RawPath, bigint>
}

/** Every file of the plan in a folder of the stage, whole and hashed, with all its attributes; or at its place in the stage itself. */
async function makeReady(parts: UndoRun, plan: UndoPlan, fill?: StageFill): Promise<Ready> {
  const folder = pathIn(openFolder(parts), 'new')
  mkdirSync(folder, { mode: 0o700 })
  const places = new Map<RawPath, RawText>()
  const changes: PathChange[] = []
  const links = new Map<string, RawText>()
  const copies = new Map<RawPath, RawText>()
  // By its own name, in a folder for each folder of the root: so one call of mv can move many (`recover-script.ts`).
  const folders = new Map<RawPath, RawText>()
  const placeOf = (path: RawPath): RawText => {
    const at = folders.get(parentPath(path)) ?? pathIn(folder, String(folders.size))
    if (!folders.has(parentPath(path))) mkdirSync(at, { mode: 0o700 })
    folders.set(parentPath(path), at)
    return asRaw(`${at}/${path === rootPath ? 'root' : baseName(path)}`)
  }
  const put = async (path: RawPath, wanted: Fingerprint, content: PlannedPath['content'], from = path) => {
    const place = fill?.placeOf(path) ?? placeOf(path)
    // An overlay would take marks of another one for its own.
    await makeThing(parts, { place, from, wanted: fill ? withoutMarks(wanted) : wanted, content })
    places.set(path, place)
    return place
  }
  const putBack = async ({ path, content, nameOf }: PlannedPath, wanted: Fingerprint) => {
    if (nameOf !== undefined && !fill) {
      const place = placeOf(path)
      if (giveName(parts, nameOf, place)) {
        places.set(path, place)
        return
      }
    }
    const group = linkGroup(content, wanted)
    const first = group === undefined ? undefined : links.get(group)
    if (first !== undefined) {
      const place = fill?.placeOf(path) ?? first
      if (fill) linkSync(rawToBytes(first), rawToBytes(place))
      places.set(path, place)
    } else {
      const place = await put(path, wanted, content)
      if (group !== undefined) links.set(group, place)
    }
  }
  /** What is in it by now is what it was before, and is after. */
  const putCopy = async (path: RawPath, wanted: Fingerprint) => {
    const { sha256: _, ...state } = wanted
    const copy = await put(path, state, undefined)
    copies.set(path, copy)
    return { size: statSync(rawToBytes(copy)).size, sha256: await sha256Of(copy as RawPath, () => {}) }
  }
  for (const planned of plan.paths.paths) {
    const { path, now, wanted, otherNames } = planned
    const names = otherNames ? { otherNames } : {}
    if (!fill && now && wanted && isRightsAlone(planned)) {
      const content = await putCopy(path, wanted)
      changes.push({ path, before: { ...now, ...content }, after: { ...wanted, ...content }, ...names })
      continue
    }
    if (wanted) await putBack(planned, wanted)
    else fill?.remove(path)
    changes.push({ path, ...(now ? { before: now } : {}), ...(wanted ? { after: wanted } : {}), ...names })
  }
  // Each of them a file of its own: who edits one of them edits nothing else.
  for (const { path, of, wanted, content } of plan.beside) {
    await put(path, wanted, content, of)
    changes.push({ path, after: wanted })
  }
  const sorted = byPath(changes)
  const folderTimes = new Map(
    sorted.flatMap(({ path, after }) => (after?.type === 'dir' ? [[path, after.mtimeNs] as const] : [])),
  )
  return {
    changes: sorted,
    copies,
    folderTimes,
    // Of a folder that stays nothing was made ready, and nothing lies there.
    prepared: (path) => places.get(path) ?? asRaw(`${folder}/none`),
  }
}

function isRightsAlone({ now, wanted, content, nameOf }: PlannedPath): boolean {
  return (
    content === undefined &&
    nameOf === undefined &&
    now?.type === 'file' &&
    wanted?.type === 'file' &&
    now.sha256 === wanted.sha256 &&
    now.mtimeNs === wanted.mtimeNs &&
    now.links === 1
  )
}

/** A further name of a file that stays. False where there cannot be one, or where another file has the name by now: then it is made as a file of its own. */
function giveName(parts: UndoRun, nameOf: RawPath, place: RawText): boolean {
  const looked = statusOfPath(parts, nameOf)
  try {
    if (looked === undefined || !linkPrepared(inRoot(parts, nameOf), place as RawPath)) return false
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return false
    throw error
  }
  const status = parts.disk.look(place)
  if (status && isSameThing(status, looked)) return true
  unlinkSync(rawToBytes(place))
  return false
}

function byPath(changes: readonly PathChange[]): PathChange[] {
  return changes.toSorted((one, other) => (one.path < other.path ? -1 : 1))
}

async function makeThing(
  parts: UndoRun,
  {
    place,
    from,
    wanted,
    content,
  }: {
    readonly place: RawText
    /** Whose content it keeps, where it is given none. */
    readonly from: RawPath
    readonly wanted: Fingerprint
    readonly content: PlannedPath['content']
  },
): Promise<void> {
  const { libc, contents } = parts
  switch (wanted.type) {
    case 'dir':
      mkdirSync(rawToBytes(place), { mode: 0o700 })
      break
    case 'symlink':
      libc.makeLinkAt(here, place, wanted.linkTarget ?? asRaw(''))
      break
    case 'file': {
      if (content) await writeSegments(place, plannedSegments(contents, content))
      else
        copyLive(parts, { path: from, sha256: wanted.sha256 }, (open) =>
          copyFileSync(
            rawToBytes(open),
            rawToBytes(place),
            constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE,
          ),
        )
      break
    }
    case 'fifo':
    case 'socket':
    case 'dev':
    case 'chardev':
    case 'irregular':
      libc.makeNodeAt(here, place, {
        mode: nodeTypes[wanted.type] | wanted.mode,
        device: wanted.device ?? 0n,
      })
  }
  giveAttributes(parts, place, wanted)
}

/** Holes stay holes: what was sparse takes no more room than it did. */
async function writeSegments(place: RawText, segments: AsyncIterable<Segment>): Promise<void> {
  const file = openSync(rawToBytes(place), 'wx', 0o600)
  try {
    let at = 0
    for await (const segment of segments) {
      if (segment.kind === 'hole') {
        at += segment.length
        continue
      }
      for (let done = 0; done < segment.bytes.length;)
        done += writeSync(file, segment.bytes, done, segment.bytes.length - done, at + done)
      at += segment.bytes.length
    }
    ftruncateSync(file, at)
  } finally {
    closeSync(file)
  }
}

const nodeTypes = {
  fifo: 0o010000,
  socket: 0o140000,
  dev: 0o060000,
  chardev: 0o020000,
  irregular: 0o100000,
} as const

/** What programs make anew is there again, or not, as they please; but not what they were not asked to make, and what came back as it was. */
export function mayDiffer(
  { path, content }: PlannedPath,
  { regenerations }: Pick<UndoPlan, 'regenerations'>,
): boolean {
  const rule = ruleOf(path)
  if (rule === undefined || content?.kind === 'bytes') return false
  const isAsked = regenerations.some(({ rule: name }) => name === rule.name)
  return content === undefined || isAsked || !isAlwaysWritten(path)
}

/** What was to be a further name of a file, or one of several of a new one, and is none: its content is right, but nobody who writes by one name writes by the other. */
function tellOwnFiles(parts: UndoRun, { paths: { paths } }: UndoPlan): void {
  const firsts = new Map<string, RawPath>()
  const own = paths.flatMap(({ path, wanted, content, nameOf }) => {
    const group = wanted && linkGroup(content, wanted)
    const other = nameOf ?? (group === undefined ? undefined : firsts.get(group))
    if (other === undefined) {
      if (group !== undefined) firsts.set(group, path)
      return []
    }
    const [one, two] = [statusOfPath(parts, path), statusOfPath(parts, other)]
    return one && two && isSameThing(one, two) ? [] : [{ path, otherNames: [other] }]
  })
  if (own.length > 0) parts.reporter.warn({ warning: describeOwnFiles(own) })
}

/** Every path by its hash, and the distribution's own checks. */
async function prove(
  parts: UndoRun,
  plan: UndoPlan,
  /** What a program writes into these is none of the undo's. */
  stays: ReadonlySet<RawPath>,
): Promise<Validation[]> {
  for (const planned of plan.paths.paths) {
    const { path, now: before, wanted } = planned
    if (mayDiffer(planned, plan)) continue
    const now = await fingerprintOf(parts, path)
    const isItself = stays.has(path) && now !== undefined && now.inode === before?.inode
    if (sameState(isItself ? { ...now, ...contentOf(wanted) } : now, wanted)) continue
    throw new VmlError('proof', `"${printable(path)}" is not as it was to be after the ${plan.kind}`, {
      details: { path: printable(path) },
      hint: `Everything was put back as it was before the ${plan.kind}`,
    })
  }
  return [provenPaths(plan), ...(await provePackages(parts, plan))]
}

function contentOf({ size, sha256 }: Partial<Fingerprint> = {}): Partial<Fingerprint> {
  return { ...(size === undefined ? {} : { size }), ...(sha256 === undefined ? {} : { sha256 }) }
}

/** Where no path comes back, what was made anew is all that was done. */
export function provenPaths(plan: UndoPlan): Validation {
  const { paths, regenerations } = plan
  if (isBesideAlone(plan))
    return { name: 'paths', outcome: 'passed', message: 'none changed, copies put beside' }
  if (paths.paths.length > 0 || regenerations.length === 0)
    return { name: 'paths', outcome: 'passed', message: `${paths.paths.length} compared with the plan` }
  const rules = [...new Set(regenerations.map(({ rule }) => rule))]
  return { name: 'made anew', outcome: 'passed', message: rules.join(', ') }
}
