// What the open stage is for, kept beside it so that another process can end it, or mend it after a crash.
import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { cutText } from '../base/cut-text.ts'
import { writeFileDurable } from '../base/files.ts'
import { isFailure, systemErrorCode, VmlError } from '../base/failure.ts'
import { asRaw, printable, type RawText } from '../base/raw-text.ts'
import { bytesPath, bytesText, encodeBytes, text, time } from '../model/document-fields.ts'
import {
  type Check,
  count,
  flag,
  isMisfit,
  listOf,
  misfit,
  objectOf,
  oneOf,
  optional,
  textOf,
} from '../model/field-check.ts'
import { parentPath, type RawPath } from '../model/raw-path.ts'
import type { TransactionSource } from '../model/transaction.ts'
import {
  argumentBytesMax,
  argumentsMax,
  cutCommand,
  cutField,
  cutLine,
  cutUser,
  lineCharactersMax,
  noteCharactersMax,
} from '../model/transaction-limits.ts'
import type { MountPlan, StageMount } from '../stage/mount-plan.ts'
import { nobody, type Worker, workerCheck } from './at-work.ts'
import { type ProbationRequest, probationRequestCheck } from './probation-note.ts'

export interface StageNote {
  readonly schema: 1
  /** Random: names the mounts of the stage, and the entry that is made of it. */
  readonly token: string
  readonly source: Extract<TransactionSource, 'apt' | 'dpkg' | 'rpm' | 'dnf' | 'command' | 'undo' | 'redo'>
  readonly title: string
  readonly note: string
  readonly tags: readonly string[]
  readonly command: readonly RawText[]
  readonly user: { readonly name: string; readonly uid: number; readonly login?: string | undefined }
  readonly startedAt: string
  /** The process that the stage was opened for. */
  readonly process: Worker
  /** Absent in live mode. */
  readonly plan?: MountPlan | undefined
  /** Of live mode: what of the machine is looked at, and where it is kept as it was. */
  readonly scan?: MountPlan | undefined
  readonly modeReason?: string | undefined
  /** How it is to be watched after its commit. */
  readonly probation?: ProbationRequest | undefined
  /** It was tried (`vml tx try`), and waits to be committed or thrown away. */
  readonly waiting?: boolean | undefined
  /** Why it could not be read as it was written. Never written itself. */
  readonly unread?: VmlError | undefined
}

const tagsMax = 100_000
const mountsMax = 100_000
export const noteBytesMax = 64 * 1024 * 1024

const line = textOf({ charactersMax: lineCharactersMax })
const reason = { path: bytesPath, reason: line }
const mountCheck: Check<StageMount> = (value) => {
  const kind = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined
  if (kind === 'overlay') return overlayCheck(value)
  if (kind === 'through') return throughCheck(value)
  return kind === 'alias' ? aliasCheck(value) : misfit('no mount', ['kind'])
}
const overlayCheck = objectOf({
  kind: oneOf('overlay'),
  path: bytesPath,
  type: line,
  layer: bytesPath,
  flags: listOf(line, tagsMax),
})
const throughCheck = objectOf({ kind: oneOf('through'), ...reason })
const aliasCheck = objectOf({ kind: oneOf('alias'), path: bytesPath, of: bytesPath })

const planCheck: Check<MountPlan> = objectOf({
  root: bytesPath,
  state: bytesPath,
  mounts: listOf(mountCheck, mountsMax),
  hidden: listOf(bytesPath, mountsMax),
})

const tokenCheck = textOf({ pattern: /^[0-9a-f]{16,64}$/ })
const sourceCheck = oneOf('apt', 'dpkg', 'rpm', 'dnf', 'command', 'undo', 'redo')
const tagsCheck = listOf(text, tagsMax)
const commandCheck = listOf(bytesText(argumentBytesMax), argumentsMax)
const userCheck = objectOf({ name: text, uid: count, login: optional(text) })

const noteCheck: Check<StageNote> = objectOf({
  schema: oneOf(1),
  token: tokenCheck,
  source: sourceCheck,
  title: text,
  note: textOf({ charactersMax: noteCharactersMax }),
  tags: tagsCheck,
  command: commandCheck,
  user: userCheck,
  startedAt: time,
  process: workerCheck,
  plan: optional(planCheck),
  scan: optional(planCheck),
  modeReason: optional(line),
  waiting: optional(flag),
  probation: optional(probationRequestCheck),
})

export async function writeStageNote(file: RawPath, note: StageNote): Promise<void> {
  await writeFileDurable(pathText(file), encodeStageNote(note))
}

/**
 * Texts from outside are cut where they are too long. Fails with `unsupported`, and nothing is written, where it could not be read again all the same: whoever is
 * to end what is open would have nothing to go by.
 */
export function encodeStageNote(whole: StageNote): string {
  const note = withinLimits(whole)
  const json = {
    ...note,
    command: note.command.map(encodeBytes),
    plan: note.plan && encodePlan(note.plan),
    scan: note.scan && encodePlan(note.scan),
  }
  const encoded = `${JSON.stringify(json, undefined, 2)}\n`
  const read = noteCheck(JSON.parse(encoded))
  if (!isMisfit(read) && encoded.length <= noteBytesMax) return encoded
  const field = isMisfit(read) ? read.path.join('.') : ''
  throw new VmlError(
    'unsupported',
    `Cannot open a stage: ${field === '' ? 'its note is too long' : `"${field}" of its note is longer than can be read again, or is none`}`,
    { details: { field }, hint: 'Nothing was run' },
  )
}

function withinLimits(note: StageNote): StageNote {
  const { modeReason, unread: _, ...rest } = note
  return {
    ...rest,
    title: cutField(note.title),
    note: cutText(note.note, noteCharactersMax),
    tags: note.tags.slice(0, tagsMax).map(cutField),
    command: cutCommand(note.command),
    user: cutUser(note.user),
    ...(modeReason === undefined ? {} : { modeReason: cutLine(modeReason) }),
  }
}

function encodePlan({ root, state, mounts, hidden }: MountPlan): unknown {
  return {
    root: encodeBytes(root),
    state: encodeBytes(state),
    hidden: hidden.map(encodeBytes),
    mounts: mounts.map((mount) => ({
      ...mount,
      path: encodeBytes(mount.path),
      ...(mount.kind === 'overlay' ? { layer: encodeBytes(mount.layer) } : {}),
      ...(mount.kind === 'alias' ? { of: encodeBytes(mount.of) } : {}),
    })),
  }
}

/**
 * Undefined where there is none: then the stage was cut off before anything was run in it. Of one that is damaged, or has a field that is too long, it gives what can
 * be known (`unread` says why): what is open has to be ended all the same.
 */
export function readStageNote(file: RawPath): StageNote | undefined {
  const bytes = readIfThere(file)
  if (bytes === undefined) return undefined
  try {
    return parseStageNote(bytes, file)
  } catch (error) {
    if (!isFailure(error, 'integrity.format')) throw error
    return { ...salvageStageNote(bytes, file), unread: error }
  }
}

function readIfThere(file: RawPath): Buffer | undefined {
  try {
    return readFileSync(pathText(file))
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Each field by itself. Whoever reads it again gets the same. */
function salvageStageNote(bytes: Buffer, file: RawPath): StageNote {
  const from = fieldsOf(bytes)
  const known = <T>(name: string, check: Check<T>, cut?: (given: string) => string): T | undefined => {
    const given = from[name]
    const read = check(cut && typeof given === 'string' ? cut(given) : given)
    return isMisfit(read) ? undefined : read
  }
  const [plan, scan] = [known('plan', planCheck), known('scan', planCheck)]
  return {
    schema: 1,
    token: known('token', tokenCheck) ?? createHash('sha256').update(bytes).digest('hex').slice(0, 32),
    source: known('source', sourceCheck) ?? 'command',
    title: known('title', text, cutField) ?? unknownTitle,
    note: known('note', text, cutField) ?? '',
    tags: known('tags', tagsCheck) ?? [],
    command: known('command', commandCheck) ?? [],
    user: known('user', userCheck) ?? { name: 'unknown', uid: 0 },
    startedAt: known('startedAt', time) ?? statSync(pathText(file)).mtime.toISOString(),
    process: known('process', workerCheck) ?? frontendOf(file) ?? nobody,
    modeReason: known('modeReason', line, cutLine),
    waiting: known('waiting', flag),
    probation: known('probation', probationRequestCheck),
    ...(plan ? { plan } : {}),
    ...(scan ? { scan } : {}),
  }
}

const unknownTitle = 'a transaction of which the note cannot be read'
function fieldsOf(bytes: Buffer): Readonly<Record<string, unknown>> {
  if (bytes.length > noteBytesMax) return {}
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}

/** The process, as hooks have it (`frontend`). */
function frontendOf(file: RawPath): StageNote['process'] | undefined {
  const words = readIfThere(convertPath(`${parentPath(file)}/frontend`))
    ?.toString('latin1')
    .split(' ')
  const read = workerCheck({ id: Number(words?.[0]), started: words?.[1] })
  return words === undefined || isMisfit(read) ? undefined : read
}

/** `file` is where it was read, for messages. */
export function parseStageNote(bytes: Buffer, file: RawPath): StageNote {
  const bad = (why: string, cause?: unknown) =>
    new VmlError('integrity.format', `Cannot read what the open stage is for, "${printable(file)}": ${why}`, {
      cause,
      // Without what is being committed, or without a stage, the machine is as it was; else the note tells what the kept files are of.
      hint: 'Nothing was changed by this. Where no "journal" and no "live" lies beside the file, the machine is as it was: remove the file, and vml tx recover throws the stage away. Else it is needed: put it back as it was',
    })
  if (bytes.length > noteBytesMax) throw bad('it is too long')
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw bad('it is not JSON', cause)
  }
  const note = noteCheck(value)
  if (isMisfit(note)) throw bad(`field "${note.path.join('.')}" is not as it must be`)
  return note
}

/** Below VML's own folder, whose name is plain. */
function pathText(file: RawPath): string {
  return asRaw(file)
}

export const noteFile = 'note.json'
export const pathOfNote = (open: RawPath): RawPath => convertPath(`${open}/${noteFile}`)

function convertPath(path: string): RawPath {
  const read = bytesPath(path)
  if (isMisfit(read)) throw new TypeError('The folder of a stage has no absolute path')
  return read
}
