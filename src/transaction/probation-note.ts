// A transaction that is watched after its commit: kept in a small file, so that the watch survives the process and the start of the machine.
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { isFailure, systemErrorCode, VmlError } from '../base/failure.ts'
import { syncFolder, writeFileDurable } from '../base/files.ts'
import { sha256, text, time } from '../model/document-fields.ts'
import {
  type Check,
  convert,
  count,
  flag,
  isMisfit,
  objectOf,
  oneOf,
  optional,
  textOf,
} from '../model/field-check.ts'
import type { EntryId } from '../model/ids.ts'
import type { RawPath } from '../model/raw-path.ts'
import { cutLine } from '../model/transaction-limits.ts'
import { holdsWork, holdWork, isWorking, letGoOfWork, type Worker, workerCheck } from './at-work.ts'
import { pathIn, type Workplace } from './workplace.ts'

/** What was asked for before the transaction began. */
export interface ProbationRequest {
  readonly command?: string | undefined
  readonly withinMs: number
  readonly confirm: boolean
}

export interface ProbationNote {
  readonly schema: 1
  readonly number: number
  readonly transaction: EntryId
  /** For `sh -c`; absent where only a confirmation was asked for. */
  readonly command?: string | undefined
  readonly until: string
  readonly everyMs: number
  /** It is taken back where nobody has confirmed until then. */
  readonly confirm: boolean
  /** Who watches. */
  readonly process: Worker
  /** Why it is being taken back: decided, and not to be confirmed any more. */
  readonly reason?: string | undefined
  /** Why it could not be taken back: nobody watches it any more. */
  readonly gaveUp?: string | undefined
}

/** Of a command that is to be asked again and again. */
export const commandCharactersMax = 64 * 1024
const noteBytesMax = 1024 * 1024

const command = optional(textOf({ charactersMax: commandCharactersMax }))

export const probationRequestCheck: Check<ProbationRequest> = objectOf({
  command,
  withinMs: count,
  confirm: flag,
})

const noteCheck: Check<ProbationNote> = objectOf({
  schema: oneOf(1),
  number: count,
  transaction: convert(sha256, (id) => id as EntryId),
  command,
  until: time,
  everyMs: count,
  confirm: flag,
  process: workerCheck,
  reason: optional(text),
  gaveUp: optional(text),
})

export async function writeProbation(place: Workplace, note: ProbationNote): Promise<void> {
  mkdirSync(probationFolder(place), { recursive: true, mode: 0o700 })
  const lock = watchLock(place, note.number)
  if (!holdsWork(lock)) holdWork(note.process, lock)
  const { reason, gaveUp, ...rest } = note
  const readable: ProbationNote = {
    ...rest,
    ...(reason === undefined ? {} : { reason: cutLine(reason) }),
    ...(gaveUp === undefined ? {} : { gaveUp: cutLine(gaveUp) }),
  }
  await writeFileDurable(probationFile(place, note.number), `${JSON.stringify(readable, undefined, 2)}\n`)
}

/** As `readProbation`, but undefined of a damaged file, too: a list is no worse for one, and its watch can be ended all the same. */
export function readProbationQuietly(
  place: Pick<Workplace, 'state'>,
  number: number,
): ProbationNote | undefined {
  try {
    return readProbation(place, number)
  } catch (error) {
    if (!isFailure(error, 'integrity.format')) throw error
    return undefined
  }
}

/** Undefined where it is not watched, or not any more. */
export function readProbation(place: Pick<Workplace, 'state'>, number: number): ProbationNote | undefined {
  const file = probationFile(place, number)
  let bytes: Buffer
  try {
    bytes = readFileSync(file)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
  const note = bytes.length > noteBytesMax ? undefined : parsed(bytes)
  if (note && note.number === number) return note
  throw new VmlError('integrity.format', `Cannot read how #${number} is watched: "${file}" is damaged`, {
    hint: `Nothing was changed. To keep the transaction: vml tx confirm ${number}; to take it back: vml tx undo ${number}`,
  })
}

/** By number. */
export function numbersOnProbation(place: Pick<Workplace, 'state'>): number[] {
  try {
    const names = readdirSync(probationFolder(place))
    return names
      .flatMap((name) => /^(\d{1,15})$/.exec(name)?.[1] ?? [])
      .map(Number)
      .toSorted((a, b) => a - b)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return []
    throw error
  }
}

/** False where nobody watched it. */
export async function removeProbation(place: Workplace, number: number): Promise<boolean> {
  try {
    rmSync(probationFile(place, number))
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false
    throw error
  }
  letGoOfWork(watchLock(place, number))
  rmSync(watchLock(place, number), { force: true })
  await syncFolder(probationFolder(place))
  return true
}

/** Whether whoever watches it is gone. */
export function isAbandoned(
  place: Pick<Workplace, 'state'>,
  { number, process, gaveUp }: ProbationNote,
): boolean {
  return gaveUp === undefined && !isWorking(process, watchLock(place, number))
}

function parsed(bytes: Buffer): ProbationNote | undefined {
  try {
    const note = noteCheck(JSON.parse(bytes.toString('utf8')))
    return isMisfit(note) ? undefined : note
  } catch {
    return undefined
  }
}

function probationFolder({ state }: Pick<Workplace, 'state'>): RawPath {
  return pathIn(state, 'probation')
}

/** What whoever watches it holds, as long as it does. */
function watchLock(place: Pick<Workplace, 'state'>, number: number): RawPath {
  return pathIn(probationFolder(place), `${number}.lock`)
}

function probationFile(place: Pick<Workplace, 'state'>, number: number): RawPath {
  return pathIn(probationFolder(place), String(number))
}
