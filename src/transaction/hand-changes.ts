// Changes that nobody told VML of: found by comparing the machine with what is known of it, and recorded as a transaction of their own.
import { hash } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { messageOf } from '../base/failure.ts'
import type { PreparedFile } from '../base/files.ts'
import { printable, rawToBytes } from '../base/raw-text.ts'
import { callPathBytesMax, isWithin, nearestOf, type RawPath } from '../model/raw-path.ts'
import { type Fingerprint, type PathChange, sameState } from '../model/transaction.ts'
import { isRecordable } from '../model/transaction-record.ts'
import { isWatched, type WatchRules } from '../model/watched-paths.ts'
import { outlineOf, sha256Of, statusAt, typeOf } from '../stage/fingerprint.ts'
import { withOtherNames } from '../stage/hard-links.ts'
import { hasMarks, withoutMarks } from '../stage/layer-marks.ts'
import { otherMounts, rowOfStatus } from '../stage/index-rows.ts'
import { compareIndex, type IndexDifference, type IndexEntry, type RootIndex } from '../stage/root-index.ts'
import { type Baseline, fingerprintIn } from './baseline-file.ts'
import {
  lockBaseline,
  noBaseline,
  noteChanges,
  prepareChanges,
  readBaseline,
  readKnownIndex,
  takeStock,
  viewNow,
  watchRules,
} from './baseline.ts'
import { scanRoot } from '../stage/scan-root.ts'
import { openOwnFolders } from './own-folders.ts'
import { readDpkgPackages } from '../packages/dpkg-system.ts'
import type { TransactionParts } from './end-stage.ts'
import type { StoredTransaction } from './transaction-entry.ts'
import { spaceFailure } from './space-need.ts'
import { inRoot, pathIn, type Workplace } from './workplace.ts'

export interface HandRecord extends StoredTransaction {
  readonly title: string
}

/**
 * The whole machine, by an index of it that was made just now, or by a look. Where stock was never taken, it is taken. What goes wrong must not keep
 * anybody from an upgrade: it is told, and what was changed is found by the next look.
 */
export async function lookForHandChanges(
  parts: TransactionParts,
  index?: RootIndex,
): Promise<HandRecord | undefined> {
  try {
    await using _lock = await lockBaseline(parts)
    const now = index ?? scanRoot(viewNow(parts), parts).index
    if (readKnownIndex(parts) !== undefined) return await recordHandChanges(parts, now)
    await takeStock(parts, now)
  } catch (error) {
    parts.signal?.throwIfAborted()
    parts.reporter.warn({ warning: `Changes made by hand could not be recorded: ${messageOf(error)}` })
  }
  return undefined
}

interface Found {
  readonly changes: readonly PathChange[]
  /** What is known of all that differs, as it is now. */
  readonly rows: ReadonlyMap<RawPath, IndexEntry | undefined>
}

/** Those that the next transaction would record first. Nothing is, and nothing is known of them afterwards; none where stock was never taken. */
export async function findHandChanges(parts: Workplace): Promise<readonly PathChange[]> {
  await using _lock = await lockBaseline(parts)
  const known = readKnownIndex(parts)
  if (known === undefined) return []
  const { found } = await compareWith(parts, known.index, { now: scanRoot(viewNow(parts), parts).index })
  return found.changes
}

interface Compared {
  readonly found: Found
  /** VML's own, which is not to be known. */
  readonly own: readonly RawPath[]
  /** Contents of thousands of files: read where one is asked for. */
  baseline(): Baseline
}

async function compareWith(
  parts: Workplace,
  known: RootIndex,
  { now, within }: { readonly now: RootIndex; readonly within?: readonly RawPath[] | undefined },
): Promise<Compared> {
  const { own, isSeen } = openSight(parts)
  const differences = [...differencesOf(known, now, { within, isSeen })]
  let read: Baseline | undefined
  const baseline = () => (read ??= readBaseline(parts) ?? noBaseline)
  if (differences.length === 0) return { found: { changes: [], rows: new Map() }, own, baseline }
  return {
    found: await findChanges(parts, differences, { rules: await watchRules(parts), baseline }),
    own,
    baseline,
  }
}

/**
 * Compares `now`, which may be of a part of the machine (`within`), with what is known. Whoever calls holds the lock of it. Order: what will be known,
 * written beside; the record; then what is known: cut off in between, the same record is found by its token. Undefined where nothing was changed, or nothing was known.
 */
export async function recordHandChanges(
  parts: TransactionParts,
  now: RootIndex,
  within?: readonly RawPath[],
): Promise<HandRecord | undefined> {
  const old = readKnownIndex(parts)
  if (old === undefined) return undefined
  const { found, own, baseline } = await compareWith(parts, old.index, { now, within })
  const forgotten = own.map((path) => ({ path, owner: { kind: 'script' } as const }))
  if (found.changes.length === 0) {
    // Times of folders and the like: cheap to find again.
    if (found.rows.size > rowsToKeepMax || forgotten.length > 0)
      await noteChanges(parts, forgotten, { index: old.index, rows: found.rows })
    return undefined
  }
  parts.reporter.progress({ phase: 'recording changes made by hand' })
  const folder = pathIn(parts.state, 'hand')
  try {
    rmSync(rawToBytes(folder), { recursive: true, force: true })
    mkdirSync(rawToBytes(folder), { mode: 0o700 })
    const { storeHandChanges } = await import('./record-hand-changes.ts')
    await using known = new AsyncDisposableStack()
    let prepared: PreparedFile | undefined
    const stored = await storeHandChanges(parts, withOtherNames(found.changes, old.index), {
      baseline: baseline(),
      folder,
      takenMs: old.takenMs,
      // With the record made, nothing must be left that needs room: the same changes would be recorded again, by another look together with others.
      async beforeStored(changes) {
        prepared = await prepareChanges(parts, [...forgotten, ...changes], {
          byHand: true,
          index: old.index,
          rows: found.rows,
        })
        known.use(prepared)
      },
    })
    try {
      await prepared?.put()
    } catch (error) {
      if (stored === undefined) throw error
      parts.reporter.warn({
        warning: `#${stored.number} is recorded, but that it is known could not be (${messageOf(error)}): the next look may record the same once more`,
      })
    }
    return stored
  } catch (error) {
    throw spaceFailure(error, {
      what: 'record changes made by hand',
      folder: parts.state,
      unchanged: 'Nothing was changed, and they are found again',
    })
  } finally {
    rmSync(rawToBytes(folder), { recursive: true, force: true })
  }
}

/** A look at each takes some 20 microseconds. */
const rowsToKeepMax = 1000

/** Where a file system is mounted no more, or is mounted now, its paths are neither gone nor new. */
function* differencesOf(
  known: RootIndex,
  now: RootIndex,
  {
    within,
    isSeen,
  }: { readonly within: readonly RawPath[] | undefined; readonly isSeen: (path: RawPath) => boolean },
): Iterable<IndexDifference> {
  const isLooked = (path: RawPath) => within === undefined || within.some((folder) => isWithin(path, folder))
  const away = otherMounts(known, now).filter(isLooked)
  for (const difference of compareIndex(known, now)) {
    const { path } = difference
    if (!isLooked(path)) continue
    if (away.some((top) => isWithin(path, top)) || !isSeen(path)) continue
    yield difference
  }
}

/**
 * What was looked at once and is not any more, since something was mounted on it, is neither gone nor changed. VML's own, which came to be seen at a second path, is told
 * in `own`: it is not to be known. What is saved into a logbook is nobody's change of the machine.
 */
function openSight(place: Workplace): { isSeen(path: RawPath): boolean; readonly own: readonly RawPath[] } {
  const { tops, closed } = viewNow(place)
  const ends = new Map([
    ...[...closed].map((path) => [path, false] as const),
    ...tops.map((path) => [path, true] as const),
  ])
  const folders = openOwnFolders(place)
  const own: RawPath[] = []
  const isSeen = (path: RawPath) => {
    const holder = folders.holding(path)
    if (holder?.what === 'state') own.push(path)
    return holder === undefined && nearestOf(path, ends) !== false
  }
  return { isSeen, own }
}

async function findChanges(
  place: Workplace,
  differences: readonly IndexDifference[],
  { rules, baseline }: { readonly rules: WatchRules; readonly baseline: () => Baseline },
): Promise<Found> {
  const changes: PathChange[] = []
  const rows = new Map<RawPath, IndexEntry | undefined>()
  const tooDeep: RawPath[] = []
  // Checksums of packages are only read where one is asked for.
  let dpkg: ReturnType<typeof readDpkgPackages> | 'unread' = 'unread'
  for (const { path, before: row } of differences) {
    place.signal?.throwIfAborted()
    if (!isWatched(path, rules)) continue
    // The look may be of a while ago: what counts is what is there now.
    const at = inRoot(place, path)
    if (at.length > callPathBytesMax) {
      tooDeep.push(path)
      continue
    }
    const status = statusAt(place.libc, at)
    rows.set(path, status && rowOfStatus(status))
    const kept = fingerprintIn(baseline(), path)
    const before = row && beforeOf(row, kept)
    if (status === undefined) {
      if (before) changes.push({ path, before })
      continue
    }
    const found = outlineOf(place.libc, at, status)
    // Of what stock was taken of by an older VML, no marks of a layer are known.
    const outline = row === undefined || hasMarks(kept) ? found : withoutMarks(found)
    if (kept?.ctimeNs === outline.ctimeNs && kept?.inode === outline.inode) continue
    if (
      before &&
      row &&
      isTouchedOnly(row, rowOfStatus(status)) &&
      !kept?.sha256 &&
      sameState(before, outline)
    )
      continue
    const after = outline.type === 'file' ? { ...outline, sha256: await sha256Of(at, () => {}) } : outline
    if (before === undefined || row === undefined) {
      changes.push({ path, after })
      continue
    }
    const md5 = () => {
      if (dpkg === 'unread') dpkg = readDpkgPackages(place.root)
      return dpkg?.files.fileOf(path)?.md5
    }
    const was = withContent(before, after, () => md5Matches(place, path, after, md5()))
    if (!sameState(was, after) && !isSameUnknown(was, after)) changes.push({ path, before: was, after })
  }
  tellLeftOut(place, tooDeep, `longer than the ${callPathBytesMax} bytes that a call takes`)
  const tooLarge = changes.filter((change) => !isRecordable(change))
  tellLeftOut(
    place,
    tooLarge.map(({ path }) => path),
    'more extended attributes than a record holds',
  )
  return { changes: tooLarge.length === 0 ? changes : changes.filter(isRecordable), rows }
}

/** One path that cannot be recorded is no reason to record none. */
function tellLeftOut({ reporter }: Workplace, [first, ...more]: readonly RawPath[], reason: string): void {
  if (first === undefined) return
  reporter.warn({
    warning: `"${printable(first)}"${more.length > 0 ? ` and ${more.length} more` : ''} cannot be recorded as changed by hand: ${reason}`,
  })
}

/** What the index tells, and what is kept beside it. */
function beforeOf(row: IndexEntry, kept: Fingerprint | undefined): Fingerprint {
  if (kept) return kept
  const { mode, uid, gid, links, inode, deviceId, size, mtimeNs, ctimeNs } = row
  const type = typeOf(mode)
  return {
    type,
    mode: mode & 0o7777,
    uid,
    gid,
    mtimeNs,
    ctimeNs,
    inode,
    deviceId,
    links,
    ...(type === 'file' ? { size } : {}),
  }
}

/** A content that was not kept is still the same one where the package's checksum, or everything that moves when a file is written, says so. */
function withContent(
  before: Fingerprint,
  after: Fingerprint,
  isOfPackage: () => boolean | undefined,
): Fingerprint {
  if (before.type !== 'file' || before.sha256 !== undefined || after.sha256 === undefined) return before
  if (after.type !== 'file' || before.size !== after.size) return before
  const isSame = isOfPackage() ?? (before.inode === after.inode && before.mtimeNs === after.mtimeNs)
  return isSame ? { ...before, sha256: after.sha256 } : before
}

/** A further name moves the time of change, and one that goes: live mode and kept contents give names to files by the thousand. */
function isTouchedOnly(row: IndexEntry, now: IndexEntry): boolean {
  return row.inode === now.inode && row.size === now.size && row.mtimeNs === now.mtimeNs
}

/** Both are what cannot be told apart: no content of before is known, and nothing else differs. */
function isSameUnknown(before: Fingerprint, after: Fingerprint): boolean {
  return before.type === 'symlink' && before.linkTarget === undefined && before.mtimeNs === after.mtimeNs
}

/** Undefined where no package has a checksum of it. */
function md5Matches(
  place: Workplace,
  path: RawPath,
  { size = 0 }: Fingerprint,
  md5: string | undefined,
): boolean | undefined {
  if (md5 === undefined || size > md5BytesMax) return undefined
  return hash('md5', readFileSync(rawToBytes(inRoot(place, path))), 'hex') === md5
}

/** Read at once. */
const md5BytesMax = 256 * 1024 * 1024
