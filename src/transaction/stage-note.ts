// What the open stage is for, kept beside it so that another process can end it, or mend it after a crash.
import { readFileSync } from 'node:fs'
import { writeFileDurable } from '../base/files.ts'
import { systemErrorCode, VmlError } from '../base/failure.ts'
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
import type { RawPath } from '../model/raw-path.ts'
import type { TransactionSource } from '../model/transaction.ts'
import type { MountPlan, StageMount } from '../stage/mount-plan.ts'

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
  /** The process that the stage was opened for, with the start that `/proc` tells of it. */
  readonly process: { readonly id: number; readonly started: string }
  /** Absent in live mode. */
  readonly plan?: MountPlan | undefined
  /** Of live mode: what of the machine is looked at, and where it is kept as it was. */
  readonly scan?: MountPlan | undefined
  readonly modeReason?: string | undefined
  /** It was tried (`vml tx try`), and waits to be committed or thrown away. */
  readonly waiting?: boolean | undefined
}

/** A command line has 2 MiB at most. */
const wordsMax = 100_000
const wordBytesMax = 128 * 1024
const mountsMax = 100_000
export const noteBytesMax = 64 * 1024 * 1024

const line = textOf({ charactersMax: 4096 })
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
  flags: listOf(line, wordsMax),
})
const throughCheck = objectOf({ kind: oneOf('through'), ...reason })
const aliasCheck = objectOf({ kind: oneOf('alias'), path: bytesPath, of: bytesPath })

const planCheck: Check<MountPlan> = objectOf({
  root: bytesPath,
  state: bytesPath,
  mounts: listOf(mountCheck, mountsMax),
  hidden: listOf(bytesPath, mountsMax),
})

const noteCheck: Check<StageNote> = objectOf({
  schema: oneOf(1),
  token: textOf({ pattern: /^[0-9a-f]{16,64}$/ }),
  source: oneOf('apt', 'dpkg', 'rpm', 'dnf', 'command', 'undo', 'redo'),
  title: text,
  note: textOf({ charactersMax: 1024 * 1024 }),
  tags: listOf(text, wordsMax),
  command: listOf(bytesText(wordBytesMax), wordsMax),
  user: objectOf({ name: text, uid: count, login: optional(text) }),
  startedAt: time,
  process: objectOf({ id: count, started: textOf({ pattern: /^\d{0,20}$/ }) }),
  plan: optional(planCheck),
  scan: optional(planCheck),
  modeReason: optional(line),
  waiting: optional(flag),
})

export async function writeStageNote(file: RawPath, note: StageNote): Promise<void> {
  await writeFileDurable(pathText(file), encodeStageNote(note))
}

export function encodeStageNote(note: StageNote): string {
  const json = {
    ...note,
    command: note.command.map(encodeBytes),
    plan: note.plan && encodePlan(note.plan),
    scan: note.scan && encodePlan(note.scan),
  }
  return `${JSON.stringify(json, undefined, 2)}\n`
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

/** Undefined where there is none: then the stage was cut off before anything was run in it. */
export function readStageNote(file: RawPath): StageNote | undefined {
  let bytes: Buffer
  try {
    bytes = readFileSync(pathText(file))
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
  return parseStageNote(bytes, file)
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
