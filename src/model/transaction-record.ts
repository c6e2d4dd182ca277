// What an entry of kind transaction says of itself: `/.vml/transaction.json` and `/.vml/changes.jsonl` (docs/format.md).
import { cutRaw } from '../base/cut-text.ts'
import { VmlError } from '../base/failure.ts'
import type { RawText } from '../base/raw-text.ts'
import { parseDocumentJson } from './document-json.ts'
import { bytesPath, bytesText, encodeBytes, listMax, sha256, text, time } from './document-fields.ts'
import {
  type Check,
  convert,
  count,
  flag,
  isMisfit,
  listOf,
  misfit,
  objectOf,
  oneOf,
  optional,
  textOf,
} from './field-check.ts'
import type { EntryId } from './ids.ts'
import { entryPathsMax, nameBytesMax, pathBytesMax } from './raw-path.ts'
import {
  actionsMax,
  argumentBytesMax,
  argumentsMax,
  cutLine,
  cutPackageWord,
  lineCharactersMax,
  outputCharactersMax,
  ownersMax,
  packagesMax,
  packageWord,
  withinLimits,
} from './transaction-limits.ts'
import type {
  ChangeCounts,
  ChangeOwner,
  Fingerprint,
  PreImage,
  RecordedChange,
  TransactionMode,
  TransactionSource,
} from './transaction.ts'

/** A package of which the transaction changed the version, or whether it is there. */
export interface PackageTransition {
  readonly name: string
  readonly architecture: string
  readonly fate: 'installed' | 'upgraded' | 'downgraded' | 'reconfigured' | 'removed' | 'purged' | 'marked'
  /** Absent where it was not installed before. */
  readonly from?: string
  /** Absent where it is not installed after. */
  readonly to?: string
  /** Installed because others need it, not because somebody named it. */
  readonly automatic?: boolean
  /** Packages of this transaction that need it. */
  readonly neededBy?: readonly string[]
  /** Archive that it came from, as the package manager tells: `Debian:12.12/stable [amd64]`. */
  readonly origin?: string
  readonly section?: string
  readonly source?: string
}

export interface Validation {
  readonly name: string
  readonly outcome: 'passed' | 'failed' | 'not run'
  /** What it printed, or why it was not run. */
  readonly message?: string
}

export interface ServiceAction {
  readonly unit: string
  readonly action: 'stop' | 'start' | 'restart' | 'reload'
  readonly outcome: 'done' | 'failed'
  /** How long it did not run because of the transaction (C10). */
  readonly stoppedMs?: number
}

/** Of the one gap of a record whose pre-images went, oldest first, to keep all records within their budget. */
export const droppedReason = 'dropped for the budget'

/** Of a content before it that a program wrote into before it was kept. */
export const writtenReason = 'it was written into after the change was made'

export function isDropped({ gaps }: Pick<TransactionDocument, 'gaps'>): boolean {
  return gaps.some(({ reason }) => reason === droppedReason)
}

/** What was written meanwhile and is no part of the transaction: an undo does not take it back. */
export interface NotKept {
  readonly path: RawText
  readonly reason: string
}

/** What an undo or a redo says of itself. */
export interface TakenBack {
  /** The transactions that it takes back (an undo), or brings back (a redo). */
  readonly takesBack: readonly EntryId[]
  /** Some of what they changed stays: a later change is in its place, or a package is still needed. Absent where nothing does. */
  readonly inPart?: boolean
}

/** `/.vml/transaction.json`, schema 1. Fields are only ever added. */
export interface TransactionDocument extends Partial<TakenBack> {
  readonly schema: 1
  readonly source: TransactionSource
  readonly mode: TransactionMode
  /** Why it is not staged. */
  readonly modeReason?: string
  /** As it was started; bytes. */
  readonly command: readonly RawText[]
  /** Who did it: the login behind sudo where there is one. */
  readonly user: { readonly name: string; readonly uid: number; readonly login?: string }
  readonly startedAt: string
  readonly endedAt: string
  /** Of the command. */
  readonly exitStatus: number
  readonly manager?: 'dpkg' | 'rpm'
  readonly packages: readonly PackageTransition[]
  readonly validations: readonly Validation[]
  readonly services: readonly ServiceAction[]
  /** Every pre-image can be had; where not, `gaps` says what is missing. */
  readonly complete: boolean
  readonly gaps: readonly { readonly path: RawText; readonly reason: string }[]
  /** Absent where there is none. */
  readonly notKept?: readonly NotKept[]
  readonly counts: ChangeCounts
  /** What it costs: bytes that it added to the logbook. */
  readonly storedBytes: number
  /** Bytes of the pre-images before anything was done to store them in less. */
  readonly preImageBytes: number
}

const packageName = textOf({ pattern: packageWord })
const line = textOf({ charactersMax: lineCharactersMax })

export const validationsCheck: Check<readonly Validation[]> = listOf(
  objectOf({
    name: line,
    outcome: oneOf('passed', 'failed', 'not run'),
    message: optional(textOf({ charactersMax: outputCharactersMax })),
  }),
  actionsMax,
)

const reasonedPaths = listOf(objectOf({ path: bytesText(pathBytesMax), reason: line }), listMax)

export const takenBackFields = {
  takesBack: optional(
    listOf(
      convert(sha256, (id) => id as EntryId),
      packagesMax,
    ),
  ),
  inPart: optional(flag),
}

const documentCheck: Check<TransactionDocument> = objectOf({
  schema: oneOf(1),
  source: oneOf('apt', 'dpkg', 'rpm', 'dnf', 'command', 'undo', 'redo', 'hand'),
  mode: oneOf('staged', 'live'),
  modeReason: optional(line),
  command: listOf(bytesText(argumentBytesMax), argumentsMax),
  user: objectOf({ name: text, uid: count, login: optional(text) }),
  startedAt: time,
  endedAt: time,
  exitStatus: count,
  ...takenBackFields,
  manager: optional(oneOf('dpkg', 'rpm')),
  packages: listOf(
    objectOf({
      name: packageName,
      architecture: packageName,
      fate: oneOf('installed', 'upgraded', 'downgraded', 'reconfigured', 'removed', 'purged', 'marked'),
      from: optional(packageName),
      to: optional(packageName),
      automatic: optional(flag),
      neededBy: optional(listOf(packageName, ownersMax)),
      origin: optional(line),
      section: optional(line),
      source: optional(line),
    }),
    packagesMax,
  ),
  validations: validationsCheck,
  services: listOf(
    objectOf({
      unit: line,
      action: oneOf('stop', 'start', 'restart', 'reload'),
      outcome: oneOf('done', 'failed'),
      stoppedMs: optional(count),
    }),
    actionsMax,
  ),
  complete: flag,
  gaps: reasonedPaths,
  notKept: optional(reasonedPaths),
  counts: objectOf({ created: count, changed: count, deleted: count }),
  storedBytes: count,
  preImageBytes: count,
})

/**
 * Whatever packages and commands brought is cut to its limits. Fails with `unsupported` where it could not be read again all the same: one such record would hide all
 * others from every list.
 */
export function encodeTransaction(whole: TransactionDocument): Buffer {
  const document = withinLimits(whole)
  const json = {
    ...document,
    command: document.command.map(encodeBytes),
    gaps: document.gaps.map(encodeReasoned),
    notKept: document.notKept?.map(encodeReasoned),
  }
  const bytes = Buffer.from(`${JSON.stringify(json, undefined, 2)}\n`, 'utf8')
  const read = documentCheck(parseDocumentJson('transaction.json', bytes))
  if (!isMisfit(read)) return bytes
  const field = read.path.join('.')
  throw new VmlError(
    'unsupported',
    `Cannot record the transaction: its field "${field}" is longer than a record takes, or is none`,
    { details: { field, problem: read.problem } },
  )
}

function encodeReasoned({ path, reason }: NotKept): unknown {
  return { path: encodeBytes(path), reason }
}

/** `integrity.format` names the field that is wrong. */
export function parseTransaction(bytes: Uint8Array): TransactionDocument {
  return check('transaction.json', documentCheck, parseDocumentJson('transaction.json', bytes))
}

/** One line of JSON for each path, sorted bytewise by path. */
export function* encodeChanges(changes: Iterable<RecordedChange>): Generator<Buffer> {
  yield* joined(linesOf(changes))
}

function* linesOf(changes: Iterable<RecordedChange>): Generator<string> {
  for (const change of changes) yield encodeChange(change)
}

function* joined(lines: Iterable<string>): Generator<Buffer> {
  let some: string[] = []
  let characters = 0
  for (const line of lines) {
    some.push(line)
    characters += line.length
    if (some.length < linesAtOnce && characters < charactersAtOnce) continue
    yield Buffer.from(some.join(''), 'utf8')
    some = []
    characters = 0
  }
  if (some.length > 0) yield Buffer.from(some.join(''), 'utf8')
}

const linesAtOnce = 1000
/** JavaScript's longest text is half a gigabyte. */
const charactersAtOnce = 16 * 1024 * 1024
/** Some 10 MiB of attributes before it and after it, in base64, where programs have some hundred bytes of them. */
const lineBytesMax = 32 * 1024 * 1024

/** Some two million changes of usual length; parsed, they take half as much again in memory. */
export const changesBytesMax = 1024 * 1024 * 1024
/** Where pre-images go for the budget, lines say so, and become longer: what was written must be readable afterwards, too. */
export const writtenBytesMax = changesBytesMax * 0.75

export interface ReadableChanges {
  readonly pieces: readonly Buffer[]
  /** What a record does not hold: the last ones of too many, and what has too large attributes. */
  readonly leftOut: readonly RecordedChange[]
}

/** As `encodeChanges`, but no more than what can be read again. */
export function encodeReadable(
  changes: Iterable<RecordedChange>,
  bytesMax = writtenBytesMax,
): ReadableChanges {
  const leftOut: RecordedChange[] = []
  let [count, bytes] = [0, 0]
  const readable = function* () {
    for (const change of changes) {
      const line = isRecordable(change) ? encodeChange(change) : undefined
      if (line !== undefined) bytes += Buffer.byteLength(line)
      // Once it is full, nothing of what comes later is in it: what lies in a folder comes after that.
      if (line === undefined || bytes > bytesMax || count >= entryPathsMax) leftOut.push(change)
      else {
        count++
        yield line
      }
    }
  }
  return { pieces: [...joined(readable())], leftOut }
}

/** Takes a list as it comes, in pieces that end anywhere. */
export interface ChangesReader {
  take(piece: Uint8Array): void
  end(): RecordedChange[]
}

export function openChangesReader(): ChangesReader {
  const changes: RecordedChange[] = []
  let begun: Buffer[] = []
  let begunBytes = 0
  const begin = (bytes: Buffer) => {
    begunBytes += bytes.length
    if (begunBytes > lineBytesMax || changes.length >= entryPathsMax)
      throw new VmlError('integrity.format', 'Cannot read /.vml/changes.jsonl: it is too long')
    begun.push(bytes)
  }
  const endLine = () => {
    const value = parseDocumentJson('changes.jsonl', Buffer.concat(begun))
    changes.push(check('changes.jsonl', changeCheck, value))
    begun = []
    begunBytes = 0
  }
  return {
    take(piece) {
      const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
      let start = 0
      for (let end = bytes.indexOf(0x0a); end !== -1; end = bytes.indexOf(0x0a, start)) {
        begin(bytes.subarray(start, end))
        endLine()
        start = end + 1
      }
      // Whoever gives pieces may use their bytes again.
      if (start < bytes.length) begin(Buffer.from(bytes.subarray(start)))
    },
    end() {
      if (begunBytes > 0) endLine()
      return changes
    },
  }
}

export function parseChanges(bytes: Uint8Array): RecordedChange[] {
  const reader = openChangesReader()
  reader.take(bytes)
  return reader.end()
}

/** A name or an address of another form, or longer, would make a line of a record that nobody could read. */
export function isRecordableReference(preImage: Extract<PreImage, { kind: 'reference' }>): boolean {
  return !isMisfit(preImageCheck({ ...preImage, inside: encodeBytes(preImage.inside) }))
}

/** What `parseChanges` would refuse can be no record: its attributes are too many, or too large together, or its size is no exact number. */
export function isRecordable({ before, after }: Pick<RecordedChange, 'before' | 'after'>): boolean {
  const sides = [before, after].flatMap((side) => side ?? [])
  if (sides.some(({ size = 0 }) => !Number.isSafeInteger(size))) return false
  if (sides.some(({ xattrs = [] }) => xattrs.length > xattrsMax)) return false
  return sides.reduce((sum, side) => sum + xattrCharacters(side), 0) <= lineBytesMax - otherBytesMax
}

/** About what its line takes, before it is decided how its pre-image is kept. */
export function estimateLineBytes({
  path,
  before,
  after,
  otherNames = [],
}: Pick<RecordedChange, 'path' | 'before' | 'after' | 'otherNames'>): number {
  let bytes = plainLineBytes + path.length
  for (const name of otherNames) bytes += name.length
  for (const side of [before, after])
    if (side) bytes += (side.linkTarget?.length ?? 0) + xattrCharacters(side)
  return bytes
}

/** Two fingerprints without attributes, an owner, a delta by its names. */
const plainLineBytes = 800

function xattrCharacters({ xattrs = [] }: Fingerprint): number {
  let characters = 0
  for (const { name, value } of xattrs) characters += 2 * name.length + Math.ceil(value.length / 3) * 4 + 64
  return characters
}

/** A path and targets of links of 64 KiB each in base64, and attributes of other kinds. */
const otherBytesMax = 1024 * 1024

function encodeChange({
  path,
  before,
  after,
  otherNames = [],
  owner,
  preImage,
  afterKept,
}: RecordedChange): string {
  const json = {
    path: encodeBytes(path),
    ...(before ? { before: encodeFingerprint(before) } : {}),
    ...(after ? { after: encodeFingerprint(after) } : {}),
    owner: cutOwner(owner),
    preImage: encodePreImage(preImage),
    ...(afterKept ? { afterKept } : {}),
    ...(otherNames.length > 0 ? { otherNames: otherNames.map(encodeBytes) } : {}),
  }
  return `${JSON.stringify(json)}\n`
}

/** Whose a path is is only told: what an undo needs of packages, their own databases say. */
function cutOwner(owner: ChangeOwner): ChangeOwner {
  if (owner.kind === 'script' || owner.package === undefined) return owner
  return { ...owner, package: cutPackageWord(owner.package) }
}

function encodePreImage(preImage: PreImage): unknown {
  if (preImage.kind === 'reference') return { ...preImage, inside: encodeBytes(preImage.inside) }
  return preImage.kind === 'lost' ? { ...preImage, reason: cutLine(preImage.reason) } : preImage
}

/** Numbers that JSON cannot hold are text. */
function encodeFingerprint(fingerprint: Fingerprint): Record<string, unknown> {
  const {
    user,
    group,
    linkTarget,
    xattrs,
    mtimeNs,
    atimeNs: _,
    ctimeNs,
    inode,
    deviceId,
    device,
    ...plain
  } = fingerprint
  return {
    ...plain,
    mtimeNs: mtimeNs.toString(),
    ...(ctimeNs === undefined ? {} : { ctimeNs: ctimeNs.toString() }),
    ...(inode === undefined ? {} : { inode: inode.toString() }),
    ...(deviceId === undefined ? {} : { deviceId: deviceId.toString() }),
    ...(device === undefined ? {} : { device: device.toString() }),
    ...(user === undefined ? {} : { user: encodeBytes(cutRaw(user, nameBytesMax)) }),
    ...(group === undefined ? {} : { group: encodeBytes(cutRaw(group, nameBytesMax)) }),
    ...(linkTarget === undefined ? {} : { linkTarget: encodeBytes(linkTarget) }),
    ...(xattrs === undefined || xattrs.length === 0
      ? {}
      : {
          xattrs: xattrs.map(({ name, value }) => ({
            name: encodeBytes(name),
            value: Buffer.from(value).toString('base64'),
          })),
        }),
  }
}

const modeMax = 0o7777
const mode: Check<number> = convert(count, (value) => (value <= modeMax ? value : misfit('no mode')))
const integer: Check<bigint> = convert(textOf({ pattern: /^-?\d{1,24}$/ }), BigInt)
/** xattr(7). */
const xattrBytesMax = 64 * 1024
const xattrsMax = 1000
const xattrValue = convert(
  textOf({
    charactersMax: xattrBytesMax * 2,
    pattern: /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/,
  }),
  (value): Uint8Array => Buffer.from(value, 'base64'),
)

const fingerprintCheck: Check<Fingerprint> = objectOf({
  type: oneOf('file', 'dir', 'symlink', 'fifo', 'socket', 'dev', 'chardev', 'irregular'),
  mode,
  uid: count,
  gid: count,
  user: optional(bytesText(nameBytesMax)),
  group: optional(bytesText(nameBytesMax)),
  mtimeNs: integer,
  ctimeNs: optional(integer),
  inode: optional(integer),
  deviceId: optional(integer),
  links: optional(count),
  size: optional(count),
  linkTarget: optional(bytesText(pathBytesMax)),
  device: optional(integer),
  sha256: optional(sha256),
  xattrs: optional(listOf(objectOf({ name: bytesText(nameBytesMax), value: xattrValue }), xattrsMax)),
})

const ownerCheck: Check<ChangeOwner> = byKind<ChangeOwner>({
  package: objectOf({ kind: oneOf('package'), package: packageName }),
  configuration: objectOf({ kind: oneOf('configuration'), package: optional(packageName) }),
  script: objectOf({ kind: oneOf('script') }),
})

const preImageCheck: Check<PreImage> = byKind<PreImage>({
  fingerprint: objectOf({ kind: oneOf('fingerprint') }),
  blob: objectOf({ kind: oneOf('blob') }),
  reference: objectOf({
    kind: oneOf('reference'),
    package: packageName,
    version: packageName,
    architecture: packageName,
    inside: bytesPath,
    from: line,
  }),
  regenerable: objectOf({ kind: oneOf('regenerable'), rule: line }),
  delta: objectOf({
    kind: oneOf('delta'),
    file: textOf({ pattern: /^[0-9a-f]{32}-[0-9a-f]{32}\.zst$/ }),
    base: sha256,
  }),
  lost: objectOf({ kind: oneOf('lost'), reason: line }),
})

const changeCheck: Check<RecordedChange> = convert(
  objectOf({
    path: bytesPath,
    before: optional(fingerprintCheck),
    after: optional(fingerprintCheck),
    owner: ownerCheck,
    preImage: preImageCheck,
    afterKept: optional(flag),
    otherNames: optional(listOf(bytesPath, listMax)),
  }),
  ({ afterKept = false, ...change }) => ({ ...change, afterKept }),
)

/** An object whose `kind` says which of these it is. */
function byKind<T extends { readonly kind: string }>(
  checks: Readonly<Record<T['kind'], Check<T>>>,
): Check<T> {
  const kinds = new Map<unknown, Check<T>>(Object.entries<Check<T>>(checks))
  return (value) => {
    const kind = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined
    return kinds.get(kind)?.(value) ?? misfit(`none of ${[...kinds.keys()].join(', ')}`, ['kind'])
  }
}

function check<T>(name: string, fits: Check<T>, value: unknown): T {
  const result = fits(value)
  if (!isMisfit(result)) return result
  const field = result.path.join('.')
  throw new VmlError('integrity.format', `Cannot read /.vml/${name}: field "${field}" is not as it must be`, {
    details: { document: name, field, problem: result.problem },
    hint: 'Where a newer version of VML wrote it, use that one',
  })
}
