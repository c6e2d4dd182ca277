// What is to be recorded, written beside the journal before the commit: what only the process knows that may be cut off.
import { rmSync, writeFileSync } from 'node:fs'
import { writeFileDurable } from '../base/files.ts'
import { bytesPath, encodeBytes } from '../model/document-fields.ts'
import { count, flag, isMisfit, listOf, objectOf, optional, textOf } from '../model/field-check.ts'
import { entryPathsMax, type RawPath } from '../model/raw-path.ts'
import type { ToMakeAnew } from '../model/regeneration.ts'
import {
  encodeReadable,
  type TakenBack,
  takenBackFields,
  type Validation,
  validationsCheck,
} from '../model/transaction-record.ts'
import { cutValidations } from '../model/transaction-limits.ts'
import { readIfThere } from './open-stage.ts'
import { openFolder, pathIn, type Workplace } from './workplace.ts'
import type { ChangeOwner, PathChange, RecordedChange } from '../model/transaction.ts'

export interface CommitIntent extends Partial<TakenBack> {
  /** Of the command. */
  readonly exitStatus: number
  /** What the checks before it said. */
  readonly validations?: readonly Validation[]
  /**
   * What an undo has programs make anew after its commit. Of a command nothing is: what its programs and the triggers of its packages make, they make in
   * the stage, and it is committed with all else; live, on the machine itself.
   */
  readonly toMakeAnew?: readonly ToMakeAnew[]
  /** An undo that stood its proof, which `validations` tell: it is not repeated after services have worked with it. */
  readonly isProven?: boolean
}

/** Where the changes themselves are written down. */
export function changesPath(place: Pick<Workplace, 'state'>): RawPath {
  return pathIn(openFolder(place), 'changes.jsonl')
}

/** Whose a path is by the packages before the change: of what goes, nothing tells afterwards. */
export type OwnerBefore = (change: PathChange) => ChangeOwner

/** Of changes of which nothing is decided yet but whose the removed ones are: `parseChanges` reads them. One that no record holds is left out. */
export function encodeIntended(changes: readonly PathChange[], ownerBefore?: OwnerBefore): Buffer {
  const undecided = changes.map((change): RecordedChange => ({
    ...change,
    owner: (change.after ? undefined : ownerBefore?.(change)) ?? { kind: 'script' },
    preImage: { kind: 'fingerprint' },
    afterKept: false,
  }))
  return Buffer.concat(encodeReadable(undecided).pieces)
}

const check = objectOf({
  exitStatus: count,
  validations: optional(validationsCheck),
  // A rule that this VML does not know is told when it is asked for: the rest is known all the same.
  toMakeAnew: optional(
    listOf(objectOf({ rule: textOf({ pattern: /^[a-z0-9.-]{1,64}$/ }), path: bytesPath }), entryPathsMax),
  ),
  isProven: optional(flag),
  ...takenBackFields,
})

export function encodeIntent({ toMakeAnew, validations, ...intent }: CommitIntent): string {
  return JSON.stringify({
    ...intent,
    // What could not be read again would be taken for none of it: an undo would be recorded as something else.
    ...(validations ? { validations: cutValidations(validations) } : {}),
    // Of none an older VML wrote nothing.
    ...(toMakeAnew === undefined || toMakeAnew.length === 0
      ? {}
      : { toMakeAnew: toMakeAnew.map(({ rule, path }) => ({ rule, path: encodeBytes(path) })) }),
  })
}

/** After the packages are kept: where the rest is, they are there. The changes are durable with the journal that is prepared after them. */
export function writeIntent(
  place: Pick<Workplace, 'state'>,
  intent: CommitIntent,
  changes?: readonly PathChange[],
  ownerBefore?: OwnerBefore,
): void {
  writeFileSync(resultPath(place), encodeIntent(intent), { mode: 0o600 })
  if (changes) writeFileSync(changesPath(place), encodeIntended(changes, ownerBefore), { mode: 0o600 })
}

/** Of what is committed already: at any moment one of both can be read. */
export async function replaceIntent(place: Pick<Workplace, 'state'>, intent: CommitIntent): Promise<void> {
  await writeFileDurable(resultPath(place), encodeIntent(intent))
}

/** Nothing was committed, and something else is to be done with what is open. */
export function forgetIntent(place: Pick<Workplace, 'state'>): void {
  for (const file of [changesPath(place), resultPath(place)]) rmSync(file, { force: true })
}

/** Where nothing can be read, a command that ended well is taken for what it was: the change of the machine is recorded in any case. */
export function readIntent(place: Pick<Workplace, 'state'>): CommitIntent {
  return parseIntent(readIfThere(resultPath(place)))
}

export function parseIntent(bytes: Buffer | undefined): CommitIntent {
  const nothing = { exitStatus: 0 }
  if (bytes === undefined) return nothing
  try {
    const read = check(JSON.parse(bytes.toString('utf8')))
    return isMisfit(read) ? nothing : read
  } catch {
    return nothing
  }
}

function resultPath(place: Pick<Workplace, 'state'>): RawPath {
  return pathIn(openFolder(place), 'result.json')
}
