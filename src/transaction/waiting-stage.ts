// A stage that was tried and waits: to be committed exactly as it is, or thrown away. It outlives the process, and not the start of the machine.
import { createHash } from 'node:crypto'
import { writeFileDurable } from '../base/files.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import { markOf } from '../base/process-mark.ts'
import { encodeBytes, text } from '../model/document-fields.ts'
import { type Check, count, isMisfit, objectOf, oneOf, textOf } from '../model/field-check.ts'
import { isMadeWhenMissed } from '../model/regeneration.ts'
import type { PathChange } from '../model/transaction.ts'
import { cutValidations } from '../model/transaction-limits.ts'
import { type Validation, validationsCheck } from '../model/transaction-record.ts'
import { holdWork, workerOf, workLockOf } from './at-work.ts'
import { discardStage, lookAtStage, type LookedStage } from './end-stage.ts'
import { dropStage, type OpenStage, readIfThere, readOpenStage } from './open-stage.ts'
import { letGoOfWhatIsThere, putBackTaken } from './held-files.ts'
import { commitNeeds, requireSpace } from './space-need.ts'
import { isAnothers } from './stage-lock.ts'
import { pathOfNote, readStageNote, type StageNote, writeStageNote } from './stage-note.ts'
import { openFolder, pathIn, type Workplace } from './workplace.ts'

/** What is known of it beside its note. */
interface Waiting {
  readonly schema: 1
  /** Of the kernel's start: the layers of a stage are not made durable before a commit. */
  readonly boot: string
  readonly exitStatus: number
  readonly validations: readonly Validation[]
  /** Of what was shown. */
  readonly digest: string
}

const waitingCheck: Check<Waiting> = objectOf({
  schema: oneOf(1),
  boot: text,
  exitStatus: count,
  validations: validationsCheck,
  digest: textOf({ pattern: /^[0-9a-f]{64}$/ }),
})

/** Order: what is known of it, then the note, which says that it waits; then only what is gone by now is held. */
export async function keepWaiting(
  place: Workplace,
  { stage, changeSet }: LookedStage,
  result: { readonly exitStatus: number; readonly validations: readonly Validation[] },
): Promise<void> {
  const waiting: Waiting = {
    schema: 1,
    boot: bootNow(),
    exitStatus: result.exitStatus,
    validations: cutValidations(result.validations),
    digest: digestOf(changeSet.changes),
  }
  await writeFileDurable(waitingFile(place), JSON.stringify(waiting))
  await writeStageNote(pathOfNote(openFolder(place)), { ...stage.note, waiting: true })
  letGoOfWhatIsThere(place)
}

/** The note of the one that waits, if any. */
export function waitingNote(place: Workplace): StageNote | undefined {
  const note = readStageNote(pathOfNote(openFolder(place)))
  return note?.waiting === true ? note : undefined
}

export interface ClaimedStage {
  readonly looked: LookedStage
  readonly exitStatus: number
  readonly validations: readonly Validation[]
}

/**
 * For the commit: from here on it is this process's, and it waits no more; cut off, it is thrown away. Fails with `not-found` where none waits, `conflict` where something that it
 * changes was changed on the machine since: then it goes on waiting. The caller holds the lock of the stage, as of all that follows here.
 */
export async function claimWaiting(
  place: Workplace,
  processId: number,
  agree: (validations: readonly Validation[]) => void,
): Promise<ClaimedStage> {
  const note = waitingNote(place)
  if (note === undefined) throw nothingWaits()
  const waiting = readWaiting(place)
  const stage = waiting === undefined ? undefined : readOpenStage(place)
  if (waiting === undefined || stage === undefined || isOutlived(waiting)) {
    const told = dropWaiting(place, note)
    throw new VmlError('not-found', `Cannot commit what was tried: ${told}`, {
      hint: 'Nothing was changed by it. Try it again',
    })
  }
  agree(waiting.validations)
  const own = workerOf(processId)
  const claimed: OpenStage = { ...stage, note: { ...note, waiting: false, process: own } }
  const file = pathOfNote(openFolder(place))
  holdWork(own, workLockOf(place))
  await writeStageNote(file, claimed.note)
  try {
    const looked = await lookAtStage(place, claimed)
    if (digestOf(looked.changeSet.changes) !== waiting.digest)
      throw new VmlError('conflict', 'Cannot commit what was tried: it is not what was shown any more', {
        hint: waitsOn,
      })
    requireSpace('commit what was tried', commitNeeds(place, looked))
    return { looked, exitStatus: waiting.exitStatus, validations: waiting.validations }
  } catch (error) {
    await writeStageNote(file, note)
    if (!isFailure(error, 'conflict')) throw error
    const { code, message, details } = error
    throw new VmlError(code, message, { cause: error, details, hint: waitsOn })
  }
}

/** Whatever is in the way stays in the way: what was shown was of another machine. */
const waitsOn = 'Nothing was committed. Throw it away with vml tx discard, and try it again'

/** Throws it away, and gives its title. `not-found` where none waits. */
export async function discardWaiting(place: Workplace): Promise<string> {
  const note = waitingNote(place)
  if (note === undefined) throw nothingWaits()
  const stage = readOpenStage(place)
  if (stage) await discardStage(place, stage)
  else dropUnread(place, note)
  return note.title
}

/** One that waited when the machine was started anew is thrown away; says so. */
export function dropOutlived(place: Workplace): string | undefined {
  const note = waitingNote(place)
  if (note === undefined) return undefined
  const waiting = readWaiting(place)
  return waiting && !isOutlived(waiting) ? undefined : dropWaiting(place, note)
}

/** Nothing else of it was written outside: it is no run of apt. */
function dropUnread(place: Workplace, note: StageNote): void {
  if (!isAnothers(place, note)) putBackTaken(place)
  dropStage(place, note, note.plan)
}

function dropWaiting(place: Workplace, note: StageNote): string {
  dropUnread(place, note)
  return `"${note.title}" was tried before the machine was started anew, and is thrown away`
}

function nothingWaits(): VmlError {
  return new VmlError('not-found', 'Cannot find anything that was tried and waits', {
    hint: 'Nothing was changed. vml tx try -- COMMAND tries one',
  })
}

function isOutlived({ boot }: Waiting): boolean {
  return boot !== bootNow()
}

/** random(4): another one with each start of the kernel. */
function bootNow(): string {
  return markOf(process.pid)?.boot ?? 'unknown'
}

function waitingFile(place: Workplace) {
  return pathIn(openFolder(place), 'waiting.json')
}

/** Undefined where it is not there or no such thing: then nobody knows what was shown. */
function readWaiting(place: Workplace): Waiting | undefined {
  const bytes = readIfThere(waitingFile(place))
  if (bytes === undefined) return undefined
  try {
    const waiting = waitingCheck(JSON.parse(bytes.toString('utf8')))
    return isMisfit(waiting) ? undefined : waiting
  } catch {
    return undefined
  }
}

/** Everything that is committed, but for caches of which any one is as good; numbers of inodes and times of links are no part of it. */
function digestOf(changes: readonly PathChange[]): string {
  const hash = createHash('sha256')
  for (const { path, before, after } of changes)
    if (!isMadeWhenMissed(path))
      hash.update(`${JSON.stringify([encodeBytes(path), stateOf(before), stateOf(after)])}\n`)
  return hash.digest('hex')
}

function stateOf(state: PathChange['after']): unknown {
  if (state === undefined) return null
  const { type, mode, uid, gid, size, sha256, linkTarget, device, mtimeNs, xattrs = [] } = state
  return [
    type,
    mode,
    uid,
    gid,
    size ?? null,
    sha256 ?? null,
    linkTarget === undefined ? null : encodeBytes(linkTarget),
    device?.toString() ?? null,
    type === 'file' ? mtimeNs.toString() : null,
    xattrs.map(({ name, value }) => [encodeBytes(name), Buffer.from(value).toString('base64')]),
  ]
}
