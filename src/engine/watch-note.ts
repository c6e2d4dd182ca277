// A transaction that is watched after its commit: kept in a small file, so that the watch survives the process and the start of the machine.
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { syncFolder, writeFileDurable } from '../base/files.ts'
import { isRunning } from '../base/process-mark.ts'
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
import { pathIn, type Workplace } from './workplace.ts'

export interface WatchNote {
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
  readonly process: { readonly id: number; readonly started: string }
  /** Why it is being taken back: decided, and not to be confirmed any more. */
  readonly reason?: string | undefined
  /** Why it could not be taken back: nobody watches it any more. */
  readonly gaveUp?: string | undefined
}

const commandCharactersMax = 64 * 1024
const noteBytesMax = 1024 * 1024

const noteCheck: Check<WatchNote> = objectOf({
  schema: oneOf(1),
  number: count,
  transaction: convert(sha256, (id) => id as EntryId),
  command: optional(textOf({ charactersMax: commandCharactersMax })),
  until: time,
  everyMs: count,
  confirm: flag,
  process: objectOf({ id: count, started: textOf({ pattern: /^\d{0,20}$/ }) }),
  reason: optional(text),
  gaveUp: optional(text),
})

export async function writeWatch(place: Workplace, note: WatchNote): Promise<void> {
  mkdirSync(watchFolder(place), { recursive: true, mode: 0o700 })
  await writeFileDurable(watchFile(place, note.number), `${JSON.stringify(note, undefined, 2)}\n`)
}

/** Undefined where it is not watched, or not any more. */
export function readWatch(place: Workplace, number: number): WatchNote | undefined {
  const file = watchFile(place, number)
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
export function watchedNumbers(place: Workplace): number[] {
  try {
    const names = readdirSync(watchFolder(place))
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
export async function removeWatch(place: Workplace, number: number): Promise<boolean> {
  try {
    rmSync(watchFile(place, number))
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false
    throw error
  }
  await syncFolder(watchFolder(place))
  return true
}

/** Whether whoever watches it is gone. */
export function isAbandoned({ process: { id, started }, gaveUp }: WatchNote): boolean {
  return gaveUp === undefined && !isRunning(id, { started })
}

function parsed(bytes: Buffer): WatchNote | undefined {
  try {
    const note = noteCheck(JSON.parse(bytes.toString('utf8')))
    return isMisfit(note) ? undefined : note
  } catch {
    return undefined
  }
}

function watchFolder({ state }: Pick<Workplace, 'state'>): RawPath {
  return pathIn(state, 'watch')
}

function watchFile(place: Pick<Workplace, 'state'>, number: number): RawPath {
  return pathIn(watchFolder(place), String(number))
}
