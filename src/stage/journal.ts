// The journal of a commit: what is to be done, in steps that are each done or not at any moment, and how far it is.
import { readFileSync } from 'node:fs'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { asRaw, printable, type RawText, rawToBytes } from '../base/raw-text.ts'
import { entryPathsMax, type RawPath, rootPath } from '../model/raw-path.ts'
import type { NodeType } from '../model/tree.ts'
import type { CommitDisk } from './commit-disk.ts'
import { decodeJournal, encodeJournal } from './journal-format.ts'

/** What a thing that stays is given, and had. Without `xattrs` those that it has stay. */
export interface AttributeState {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly xattrs?: readonly { readonly name: RawText; readonly value: Uint8Array }[]
}

/**
 * `path` lies below the root; `made` is where the new thing lies ready, `kept` where the old one lies afterwards, both absolute and on
 * the mount of the path. Steps touch no path of each other, but for things that are created in a folder which a step before creates.
 */
export type Step =
  /** Nothing stood there. A folder comes with all that is in it. */
  | { readonly kind: 'create'; readonly path: RawPath; readonly made: RawText }
  /** A folder goes with all that is in it. */
  | { readonly kind: 'delete'; readonly path: RawPath; readonly kept: RawText }
  /** Neither the old nor the new thing is a folder. */
  | { readonly kind: 'replace'; readonly path: RawPath; readonly made: RawText; readonly kept: RawText }
  /** One of them is: which one tells how far the step is. */
  | {
      readonly kind: 'retype'
      readonly path: RawPath
      readonly made: RawText
      readonly kept: RawText
      readonly to: 'folder' | 'other'
    }
  /** The thing itself stays, with all that is in it and whoever has it open, and is given other rights, owner or attributes. */
  | AttributeStep

export interface AttributeStep {
  readonly kind: 'attributes'
  readonly path: RawPath
  /** Of what stays. */
  readonly type: NodeType
  readonly before: AttributeState
  readonly after: AttributeState
}

/** A folder in which something comes or goes, or that changes its place: that may change its time, which is set at the end. */
export interface FolderTime {
  readonly path: RawPath
  /** Without it there was no folder. */
  readonly beforeNs?: bigint
  /** Without it there is none afterwards. */
  readonly afterNs?: bigint
}

/** A folder that holds what is kept on one mount; nothing of others lies in it. */
export interface KeepFolder {
  readonly folder: RawText
  /** The folders that were made for it, outermost first, and the time that the folder above the first one had. */
  readonly made: readonly RawText[]
  readonly aboveMtimeNs: bigint
}

/** What tells whether a file, or a link, is still the one that was seen: whoever writes into it, or replaces it, gives it another time. */
export interface Stamp {
  /** Of a file. */
  readonly size?: number
  readonly mtimeNs: bigint
}

export interface Stamps {
  /** Of what stood there before the commit. */
  readonly before?: Stamp
  /** Of what the commit puts there. */
  readonly after?: Stamp
}

export interface Journal {
  /** Absolute; `/` in life. */
  readonly root: RawText
  /** Where the journal itself lies. */
  readonly folder: RawText
  readonly keeps: readonly KeepFolder[]
  readonly steps: readonly Step[]
  readonly times: readonly FolderTime[]
  /**
   * What is in folders that come or go as a whole: nothing else of them is removed when what was kept is. Absent in a journal of an older
   * VML.
   */
  readonly inside?: ReadonlySet<RawPath>
  /** Of what the commit changes: see `changed-since.ts`. Absent as above, and where another machine commits. */
  readonly stamps?: ReadonlyMap<RawPath, Stamps>
}

/**
 * Prepared: nothing is changed, all that is needed lies there. Committing and taking back: between both. Forgotten: whatever it became,
 * what was kept is being removed.
 */
export type JournalState =
  | 'PREPARED'
  | 'COMMITTING'
  | 'COMMITTED'
  | 'TAKING-BACK'
  | 'TAKEN-BACK'
  | 'FORGOTTEN'

const states: readonly JournalState[] = [
  'PREPARED',
  'COMMITTING',
  'COMMITTED',
  'TAKING-BACK',
  'TAKEN-BACK',
  'FORGOTTEN',
]

/** A step is some hundred bytes, of paths of average length; more than 512 MiB would be no string of V8 either. */
const journalBytesMax = 500 * 1024 * 1024
const stepsFile = 'steps'
export const stateFile = 'state'
const scriptFile = 'recover.sh'
/** Left by `recover.sh` where a program was missing that sets attributes. */
export const attributesLeftFile = 'attributes-left'
/** Of the folders above those that were made: what they had before the folders went. One line for each keep, in their order. */
const timesFile = 'times-above'

/** Files of a journal in the order in which they may go: the state tells to the end that it is forgotten. */
export const journalFiles: readonly string[] = [
  timesFile,
  attributesLeftFile,
  scriptFile,
  ...states.map((state) => `${stateFile}.${state}`),
  stepsFile,
  stateFile,
]

export function inFolder(folder: RawText, name: string): RawText {
  return asRaw(folder === rootPath ? `/${name}` : `${folder}/${name}`)
}

/** Where a path below a root lies. */
export function below(root: RawText, path: RawText): RawText {
  if (root === rootPath) return path
  return path === rootPath ? root : asRaw(`${root}${path}`)
}

/** The folder must be there and empty. When this returns it is durable; a journal without a state has changed nothing. */
export function writeJournal(disk: CommitDisk, journal: Journal, script: Uint8Array): void {
  const { folder } = journal
  if (journal.steps.length > entryPathsMax)
    throw new VmlError(
      'unsupported',
      `Cannot commit ${journal.steps.length} changes at once: the limit is ${entryPathsMax}`,
    )
  const bytes = encodeJournal(journal)
  // What could not be read again could not be recovered.
  if (bytes.length > journalBytesMax)
    throw new VmlError(
      'unsupported',
      `Cannot commit ${journal.steps.length} changes at once: their journal is larger than ${journalBytesMax} bytes`,
    )
  disk.writeFile(inFolder(folder, stepsFile), 0o600, bytes)
  disk.writeFile(inFolder(folder, scriptFile), 0o700, script)
  // Every state that may come lies ready: a disk that is full then stops no change of state.
  for (const [name, bytes] of readyStates()) disk.writeFile(inFolder(folder, name), 0o600, bytes)
  disk.syncDisk(folder)
}

/** Names and contents of the files that become the state, one by one. */
export function readyStates(): (readonly [name: string, bytes: Buffer])[] {
  return states.map((state) => [`${stateFile}.${state}`, Buffer.from(`${state}\n`)])
}

/** Durable when it returns: one rename. What was entered already may still have to be made durable. */
export function enterState(disk: CommitDisk, { folder }: Journal, state: JournalState): void {
  if (readState(folder) !== state) disk.rename(stateReady(folder, state), inFolder(folder, stateFile))
  disk.syncFolder(folder)
}

/**
 * Before the journal is forgotten: what stands in a folder of the machine, such as `.vml-stage` on a mount, goes then, and gives that folder
 * another time. Durable with the next state; a disk that is full costs no more than such a time, after one cut.
 */
export function noteTimesAbove(
  disk: CommitDisk,
  { folder, keeps }: Journal,
  times: readonly (bigint | undefined)[],
): void {
  const file = inFolder(folder, timesFile)
  if (disk.look(file)) disk.remove(file, 'file')
  if (times.every((time) => time === undefined)) return
  try {
    disk.writeFile(file, 0o600, Buffer.from(keeps.map((_, index) => `${times[index] ?? ''}\n`).join('')))
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOSPC') throw error
  }
}

/** For each keep; none where nothing was noted, or not all of it. */
export function readTimesAbove({ folder, keeps }: Journal): readonly (bigint | undefined)[] {
  const lines = readSmall(inFolder(folder, timesFile))?.toString('latin1').split('\n')
  if (lines?.length !== keeps.length + 1) return []
  return lines.map((line) => (/^-?\d{1,20}$/.test(line) ? BigInt(line) : undefined))
}

/** Undefined where there is none, or none yet. */
export function readState(folder: RawText): JournalState | undefined {
  const text = readSmall(inFolder(folder, stateFile))
  return text && parseState(text, folder)
}

/** `folder` is where it was read, for messages. */
export function parseState(text: Buffer, folder: RawText): JournalState {
  const found = states.find((state) => `${state}\n` === text.toString('latin1'))
  if (found === undefined)
    throw new VmlError(
      'integrity.format',
      `Cannot read the journal in "${printable(folder)}": its state is none that VML knows`,
    )
  return found
}

/** Undefined where there is none, or one that was cut off while it was written: that one never had a state. */
export function readJournal(folder: RawText): Journal | undefined {
  const bytes = readSmall(inFolder(folder, stepsFile))
  const journal = bytes && decodeJournal(bytes, folder)
  if (journal === undefined && readState(folder) !== undefined)
    throw new VmlError(
      'integrity.format',
      `Cannot read the journal in "${printable(folder)}": its steps are not what was written`,
      {
        hint: `Finish it by hand: sh ${printable(inFolder(folder, scriptFile))}`,
      },
    )
  return journal
}

function stateReady(folder: RawText, state: JournalState): RawText {
  return inFolder(folder, `${stateFile}.${state}`)
}

function readSmall(path: RawText): Buffer | undefined {
  try {
    const bytes = readFileSync(rawToBytes(path))
    if (bytes.length > journalBytesMax)
      throw new VmlError(
        'integrity.format',
        `Cannot read "${printable(path)}": it is larger than ${journalBytesMax} bytes`,
      )
    return bytes
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}
