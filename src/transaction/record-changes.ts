// Says of each changed path whose it is and how its content before is kept: the last decision before a transaction is recorded.
import { hash } from 'node:crypto'
import { lstatSync, readFileSync } from 'node:fs'
import { isFailure } from '../base/failure.ts'
import { rawToBytes, type RawText } from '../base/raw-text.ts'
import { isMergedByMeaning } from '../model/merge.ts'
import { isWithin, rootPath, type RawPath } from '../model/raw-path.ts'
import { isRecordableReference, writtenReason } from '../model/transaction-record.ts'
import type { ChangeOwner, PathChange, PreImage, RecordedChange } from '../model/transaction.ts'
import { choosePreImage, type DeltaBase, deltaBases } from '../packages/choose-pre-image.ts'
import type { Reference } from '../packages/package-references.ts'
import type { PackagesNow } from './packages-now.ts'
import { type DeltaWorkspace, openDeltaWorkspace } from '../wire/zstd-delta.ts'
import { pathIn } from './workplace.ts'

export interface RecordingParts {
  /** Where the content of a path before it lies on this host; undefined where it could not be kept: `lost` says why. */
  before(path: RawPath): RawText | undefined
  lost(path: RawPath): string
  /** Where the content after it lies. */
  after(path: RawPath): RawText
  /** What the package systems said before and after it. */
  readonly packagesBefore: PackagesNow
  readonly packagesAfter: PackagesNow
  /** Where it is known from before the change whose a removed path was. */
  readonly removedOwners?: ReadonlyMap<RawPath, ChangeOwner> | undefined
  /** Paths that a package of a source that does not forget has. */
  readonly references: ReadonlyMap<RawPath, Reference>
  /** The rule that stands in for what a path was before. */
  ruleOf(change: PathChange): string | undefined
  /** Makes sure that the content with this hash stays, so that deltas against it can be undone; false where it cannot be. */
  pin(path: RawPath, sha256: string): Promise<boolean>
  /** Contents are not here to be compared. */
  readonly withoutDeltas?: boolean
}

export interface RecordedChanges {
  readonly changes: readonly RecordedChange[]
  /** By the names that pre-images give them. */
  readonly deltas: ReadonlyMap<string, Uint8Array>
  readonly gaps: readonly { readonly path: RawPath; readonly reason: string }[]
  /** Of the regular files that were there before. */
  readonly preImageBytes: number
}

/** Files that are merged by meaning have a few MB at most: dpkg's list of all packages, debconf's templates. */
const afterBytesMax = 16 * 1024 * 1024

export async function recordChanges(
  changes: readonly PathChange[],
  parts: RecordingParts,
): Promise<RecordedChanges> {
  const bases = parts.withoutDeltas ? new Map<RawPath, DeltaBase>() : deltaBases(changes)
  using workspace = openDeltaWorkspace()
  const deltas = new Map<string, Uint8Array>()
  const gaps: { path: RawPath; reason: string }[] = []
  const recorded: RecordedChange[] = []
  let preImageBytes = 0
  for (const change of changes) {
    const { path, before } = change
    if (before?.type === 'file') preImageBytes += before.size ?? 0
    // First: the delta of what is merged stands on it.
    const afterKept = isMerged(change) && (parts.withoutDeltas === true || isStill(change, parts))
    const preImage = await preImageOf(change, { parts, bases, deltas, workspace, afterKept })
    if (preImage.kind === 'lost') gaps.push({ path, reason: preImage.reason })
    recorded.push({ ...change, owner: ownerOf(change, parts), preImage, afterKept })
  }
  return { changes: recorded, deltas, gaps, preImageBytes }
}

async function preImageOf(
  change: PathChange,
  {
    parts,
    bases,
    deltas,
    workspace,
    afterKept,
  }: {
    readonly parts: RecordingParts
    readonly bases: ReturnType<typeof deltaBases>
    readonly deltas: Map<string, Uint8Array>
    readonly workspace: DeltaWorkspace
    readonly afterKept: boolean
  },
): Promise<PreImage> {
  const { path } = change
  const rule = parts.ruleOf(change)
  const reference = recordable(parts.references.get(path))
  const kept = parts.before(path)
  if (isUnknown(change.before)) return { kind: 'lost', reason: parts.lost(path) }
  const isNeeded = change.before?.type === 'file' && rule === undefined && reference === undefined
  if (isNeeded && kept === undefined) return { kind: 'lost', reason: parts.lost(path) }
  const base = baseOf(change, bases.get(path), parts)
  const looked = base && lookOf(parts.after(base.path))
  const chosen = await choosePreImage(change, {
    ...(reference ? { reference } : {}),
    ...(rule === undefined ? {} : { rule }),
    ...(base ? { base } : {}),
    // A file after the other: at once they are read ten times sooner than by promises (tx.md 6).
    readBefore: () => Promise.resolve(readKept(kept ?? path, change)),
    readAfter: (of) => Promise.resolve(readAfter(of.path, parts)),
    workspace,
  }).catch((error: unknown) => {
    // Else its record could never be written.
    if (!isFailure(error, 'integrity.hash')) throw error
    return { preImage: { kind: 'lost', reason: writtenReason } } as const
  })
  if (!('delta' in chosen)) return chosen.preImage
  // The entry itself has the content after it of what is merged by meaning.
  const isInEntry = chosen.base === path && afterKept
  if (!isInEntry) {
    const isPinned = await parts.pin(chosen.base, chosen.preImage.base)
    // The pin is a name of what lies there by now: what was written into since it was read is no base.
    if (!isPinned || lookOf(parts.after(chosen.base)) !== looked) return { kind: 'blob' }
  }
  deltas.set(chosen.preImage.file, chosen.delta)
  return chosen.preImage
}

/** Of a package whose name or version is longer than a record takes, the content is kept. */
function recordable(reference: Reference | undefined): Reference | undefined {
  return reference && isRecordableReference(reference) ? reference : undefined
}

/** Where only its place in an index is known, nobody can make it again. */
function isUnknown(before: PathChange['before']): boolean {
  if (before?.type === 'symlink') return before.linkTarget === undefined
  return (before?.type === 'dev' || before?.type === 'chardev') && before.device === undefined
}

function lookOf(file: RawText): string {
  const status = lstatSync(rawToBytes(file), { bigint: true, throwIfNoEntry: false })
  return status ? `${status.ino} ${status.size} ${status.mtimeNs}` : 'gone'
}

/** A program that has it open may go on to write at its end. */
function readKept(kept: RawText, { before }: PathChange): Buffer {
  return readFileSync(rawToBytes(kept)).subarray(0, before?.size)
}

/** Services run again before the record is made: what the change brought may be another by then, or gone. */
function readAfter(path: RawPath, parts: RecordingParts): Buffer | undefined {
  const file = rawToBytes(parts.after(path))
  return lstatSync(file, { throwIfNoEntry: false })?.isFile() === true ? readFileSync(file) : undefined
}

/** A merge by what is not the content after it would take what was written since for the transaction's own. */
function isStill({ path, after }: PathChange, parts: RecordingParts): boolean {
  const content = readAfter(path, parts)
  return content !== undefined && hash('sha256', content, 'hex') === after?.sha256
}

/**
 * A pin is a second name of the file: good as long as nobody writes into the file itself. The files of packages are replaced, by dpkg as
 * by an undo; configuration, data of services and what people made by hand are written into.
 */
function baseOf(
  change: PathChange,
  base: DeltaBase | undefined,
  { packagesAfter }: RecordingParts,
): DeltaBase | undefined {
  if (base === undefined || (base.path === change.path && isMerged(change))) return base
  const { path } = base
  if (isWithin(path, etc) || isConfiguration(path, packagesAfter)) return undefined
  return packageOf(path, packagesAfter) === undefined ? undefined : base
}

const etc = pathIn(rootPath, '/etc')

function ownerOf(change: PathChange, parts: RecordingParts): ChangeOwner {
  const { packagesAfter, packagesBefore, removedOwners } = parts
  if (change.after) return ownerBy(change, packagesAfter)
  const known = removedOwners?.get(change.path)
  return known ?? ownerBy(change, packagesBefore.length > 0 ? packagesBefore : packagesAfter)
}

/** By what package systems say. After the change nothing tells whose a removed path was. */
export function ownerBy({ path, before, after }: PathChange, packages: PackagesNow): ChangeOwner {
  const isFolder = (after ?? before)?.type === 'dir'
  const name = packageOf(path, isFolder ? [] : packages)
  if (isWithin(path, etc) || (name !== undefined && isConfiguration(path, packages)))
    return { kind: 'configuration', ...(name === undefined ? {} : { package: name }) }
  return name === undefined ? { kind: 'script' } : { kind: 'package', package: name }
}

function packageOf(path: RawPath, packages: PackagesNow): string | undefined {
  for (const state of packages) {
    const name = state.packageOf(path)
    if (name !== undefined) return name
  }
  return undefined
}

function isConfiguration(path: RawPath, packages: PackagesNow): boolean {
  return packages.some((state) => state.isConfiguration(path))
}

/** Whether a later change of it may be merged: then what it was after this transaction is needed. */
function isMerged({ path, before, after }: PathChange): boolean {
  if ((before ?? after)?.type !== 'file' || after?.type !== 'file' || before?.sha256 === after.sha256)
    return false
  return isMergedByMeaning(path) && (after.size ?? 0) <= afterBytesMax
}
