// What VML knows of the machine since it last looked: by it changes are found that were made by hand, and taken back.
import { hash } from 'node:crypto'
import { rmSync, statSync } from 'node:fs'
import { prepareFile, type PreparedFile } from '../base/files.ts'
import { messageOf, VmlError } from '../base/failure.ts'
import { rawToBytes } from '../base/raw-text.ts'
import { isWithin, type RawPath } from '../model/raw-path.ts'
import type { Fingerprint, RecordedChange } from '../model/transaction.ts'
import { isWatched, keptBytesMax, type WatchRules } from '../model/watched-paths.ts'
import { outlineOf, statusAt, typeBits, typeOf } from '../stage/fingerprint.ts'
import { readDpkgPackages } from '../packages/dpkg-system.ts'
import type { PackageState } from '../packages/package-system.ts'
import { onKnownDevices, rowOfStatus, withRows } from '../stage/index-rows.ts'
import { type RootView, viewOf } from '../stage/mount-plan.ts'
import { entryOf, type IndexEntry, type RootIndex } from '../stage/root-index.ts'
import { decodeIndex, encodeIndex } from '../stage/root-index-file.ts'
import { scanRoot } from '../stage/scan-root.ts'
import type { FileStatus } from '../wire/libc.ts'
import { tryRecordLock } from '../wire/record-lock.ts'
import {
  type Baseline,
  contentBytes,
  decodeBaseline,
  encodeBaseline,
  fingerprintIn,
  lineOf,
  packContent,
} from './baseline-file.ts'
import { readExtraPaths } from './extra-paths.ts'
import { planMountsNow, readIfThere } from './open-stage.ts'
import { ownersOf, packageHostOf } from './packages-now.ts'
import { inRoot, pathIn, type Workplace } from './workplace.ts'

/** All contents together; a system's configuration and books are 10 to 20 MB. What is above it is only known by its attributes. */
const contentsBytesMax = 64 * 1024 * 1024

/** One process at a time reads and writes both files. */
export async function lockBaseline(place: Workplace): Promise<AsyncDisposable> {
  const path = pathIn(place.state, 'index.lock')
  const deadline = place.clock.now() + lockWaitMs
  for (;;) {
    const attempt = await tryRecordLock(path)
    if (attempt.taken) return attempt.lock
    if (place.clock.now() > deadline)
      throw new VmlError('store.locked', `Cannot look for changes: process ${attempt.holder.pid} does`)
    await place.clock.sleep(lockPollMs, { signal: place.signal })
  }
}

/** A look at a million paths that are not in memory takes half a minute (tx.md 6). */
const lockWaitMs = 120_000
const lockPollMs = 50

/** Undefined where stock was never taken, or what was kept of it cannot be read. */
export function readKnownIndex(
  place: Pick<Workplace, 'state' | 'reporter'>,
): { index: RootIndex; takenMs: number } | undefined {
  const file = indexFile(place)
  const bytes = readIfThere(file)
  if (bytes === undefined) return undefined
  try {
    return { index: decodeIndex(bytes), takenMs: statSync(rawToBytes(file)).mtimeMs }
  } catch (error) {
    place.reporter.warn({ warning: `${messageOf(error)}. Stock is taken anew` })
    return undefined
  }
}

/** Undefined where it is gone or cannot be read, which is told: `openKnown` begins a new one. */
export function readBaseline(place: Workplace): Baseline | undefined {
  const bytes = readIfThere(baselineFile(place))
  try {
    if (bytes) return decodeBaseline(bytes)
    place.reporter.warn({ warning: 'What is kept of the system to take back changes by hand is gone' })
  } catch (error) {
    place.reporter.warn({ warning: messageOf(error) })
  }
  return undefined
}

export const noBaseline: Baseline = { lines: new Map(), contents: new Map() }

export async function watchRules(place: Workplace): Promise<WatchRules> {
  const others: PackageState[] = []
  for (const system of place.packageSystems) {
    const state = system.manager === 'dpkg' ? undefined : await system.read(packageHostOf(place))
    if (state) others.push(state)
  }
  // Reading the lists of all packages takes a while: only where one is asked for.
  let packages: ReturnType<typeof readDpkgPackages> | 'unread' = 'unread'
  return {
    extra: readExtraPaths(place),
    isPackaged(path) {
      if (packages === 'unread') packages = readDpkgPackages(place.root)
      return (packages?.ownersOf(path).length ?? 0) > 0 || ownersOf(others, path).length > 0
    },
  }
}

/** What is looked at of the machine: what would be staged. */
export function viewNow(place: Workplace): RootView {
  const planned = planMountsNow(place)
  return planned.kind === 'stage' ? viewOf(planned.plan) : planned.view
}

/** Takes stock of everything. Nothing is recorded: what is there now counts as known. */
export async function takeStock(
  place: Workplace,
  index = scanRoot(viewNow(place), place).index,
): Promise<void> {
  place.reporter.progress({ phase: 'taking stock of the system' })
  await learn(place, index, {
    index,
    draft: openDraft(place, noBaseline),
    rules: await watchRules(place),
  })
}

/** The same for some folders alone, by an index of them; the rest stays as it is known. */
export async function takeStockOf(
  place: Workplace,
  now: RootIndex,
  folders: readonly RawPath[],
): Promise<void> {
  const known = readKnownIndex(place)
  if (known === undefined) return
  const isTaken = (path: RawPath) => folders.some((folder) => isWithin(path, folder))
  const gone = known.index.paths.filter((path) => isTaken(path) && entryOf(now, path) === undefined)
  const rows = new Map<RawPath, IndexEntry | undefined>(gone.map((path) => [path, undefined]))
  for (const path of now.paths) if (isTaken(path)) rows.set(path, entryOf(now, path))
  const index = withRows(known.index, rows)
  const rules = await watchRules(place)
  const draft = openKnown(place, rules, () => known.index)
  for (const path of gone) draft.forget(path)
  await learn(place, index, { index: now, draft, rules, isTaken })
}

async function learn(
  place: Workplace,
  whole: RootIndex,
  {
    index,
    draft,
    rules,
    isTaken,
  }: { index: RootIndex; draft: Draft; rules: WatchRules; isTaken?: (path: RawPath) => boolean },
): Promise<void> {
  const rows = new Map<RawPath, IndexEntry | undefined>()
  for (const [row, path] of index.paths.entries()) {
    if (row % pathsAtOnce === 0) place.signal?.throwIfAborted()
    if (isTaken?.(path) === false || !isWatched(path, rules)) continue
    draft.forget(path)
    const known = draft.keep(path, () => keptBytesMax(path, rules))
    if (known?.ctimeNs !== index.columns.ctimeNs[row]) rows.set(path, known)
  }
  await using known = await prepareKnown(place, withRows(whole, rows), draft.end())
  await known.put()
}

const pathsAtOnce = 4096

/**
 * What a transaction, or a record of changes by hand, has told is known from now on. Nothing else is: what anybody else changed meanwhile is
 * found by the next look. Without stock there is nothing to keep current.
 */
export async function noteChanges(
  place: Workplace,
  changes: readonly ToldChange[],
  options: NotingOptions = {},
): Promise<void> {
  await using known = await prepareChanges(place, changes, options)
  await known?.put()
}

type ToldChange = Pick<RecordedChange, 'path' | 'after' | 'owner'>

interface NotingOptions {
  readonly byHand?: boolean
  readonly index?: RootIndex
  readonly rows?: ReadonlyMap<RawPath, IndexEntry | undefined>
  /** Of paths that were looked at just now. */
  readonly looked?: ReadonlyMap<RawPath, FileStatus>
}

/** The same up to where it counts: for whoever records them in between, and is not to fail afterwards for want of room. */
export async function prepareChanges(
  place: Workplace,
  changes: readonly ToldChange[],
  options: NotingOptions = {},
): Promise<PreparedFile | undefined> {
  const index = options.index ?? readKnownIndex(place)?.index
  if (index === undefined) return undefined
  const rules = await watchRules(place)
  const owners = new Map(changes.map(({ path, owner }) => [path, owner.kind === 'package']))
  const isPackaged = (path: RawPath): boolean => owners.get(path) ?? rules.isPackaged(path)
  const rows = new Map<RawPath, IndexEntry | undefined>(options.rows)
  const draft = openKnown(place, rules, () => withRows(index, rows))
  for (const { path, after } of changes) {
    rows.set(path, after && rowNow(place, path, after, options.looked?.get(path)))
    draft.forget(path)
    if (after === undefined || !isWatched(path, { ...rules, isPackaged })) continue
    // Where a package's file was changed by hand, the package does not have it any more.
    const limits = { ...rules, isPackaged: options.byHand ? () => false : isPackaged }
    draft.keepAs(path, after, () => keptBytesMax(path, limits))
  }
  const known = onKnownDevices(index, rows, (folder) => statusAt(place.libc, inRoot(place, folder))?.deviceId)
  return await prepareKnown(place, withRows(index, known), draft.changed() ? draft.end() : undefined)
}

/**
 * Where what was kept is gone, it is kept anew, or nothing but what changes from now on could be taken back, for good. What was changed since `index` is
 * left to the next look.
 */
function openKnown(place: Workplace, rules: WatchRules, index: () => RootIndex): Draft {
  const baseline = readBaseline(place)
  const draft = openDraft(place, baseline ?? noBaseline)
  if (baseline) return draft
  const { paths, columns } = index()
  for (const [row, path] of paths.entries()) {
    if (row % pathsAtOnce === 0) place.signal?.throwIfAborted()
    if (isWatched(path, rules)) draft.keep(path, () => keptBytesMax(path, rules), columns.ctimeNs[row])
  }
  return draft
}

/**
 * At the end of a transaction. If it fails, the next look takes stock anew: better to miss a change by hand than to take a transaction's own for one.
 */
export async function noteOrForget(
  place: Workplace,
  changes: readonly ToldChange[],
  looked: ReadonlyMap<RawPath, FileStatus> = new Map(),
): Promise<void> {
  try {
    await using _lock = await lockBaseline(place)
    await noteChanges(place, changes, { looked })
  } catch (error) {
    place.reporter.warn({
      warning: `What is known of the system could not be kept current (${messageOf(error)}): stock is taken anew, and changes by hand until then are not recorded`,
    })
    rmSync(rawToBytes(indexFile(place)), { force: true })
  }
}

/** Contents first: what the index tells has to be known of them. Cut off in between, they are newer, which is seen by their times. */
async function prepareKnown(
  place: Workplace,
  index: RootIndex,
  baseline: Baseline | undefined,
): Promise<PreparedFile> {
  await using prepared = new AsyncDisposableStack()
  const files: PreparedFile[] = []
  if (baseline) files.push(prepared.use(await prepareFile(baselineFile(place), encodeBaseline(baseline))))
  files.push(prepared.use(await prepareFile(indexFile(place), encodeIndex(index))))
  const all = prepared.move()
  return {
    async put() {
      for (const file of files) await file.put()
    },
    [Symbol.asyncDispose]: async () => await all.disposeAsync(),
  }
}

interface Draft {
  /** Reads the path as it is now, if it did not change since `ctimeNs`. Undefined where nothing is. */
  keep(path: RawPath, bytesMax: () => number, ctimeNs?: bigint): IndexEntry | undefined
  /** The path is known to be this; its content is kept if it is still that. */
  keepAs(path: RawPath, is: Fingerprint, bytesMax: () => number): void
  forget(path: RawPath): void
  changed(): boolean
  end(): Baseline
}

function openDraft(place: Workplace, from: Baseline): Draft {
  const lines = new Map(from.lines)
  const contents = new Map(from.contents)
  let isChanged = false
  let bytes = contentBytes(from)
  const put = (path: RawPath, known: Fingerprint): void => {
    lines.set(path, lineOf(path, known))
    isChanged = true
  }
  const contentOf = (
    path: RawPath,
    { size = 0 }: Fingerprint,
    bytesMax: () => number,
  ): Buffer | undefined => {
    if (bytes + size > contentsBytesMax || size > bytesMax()) return undefined
    const content = readIfThere(inRoot(place, path))
    return content?.length === size ? content : undefined
  }
  const add = (path: RawPath, known: Fingerprint, content: Buffer, sha256: string): void => {
    if (!contents.has(sha256)) contents.set(sha256, packContent(content))
    bytes += content.length
    put(path, { ...known, sha256 })
  }
  return {
    keep(path, bytesMax, ctimeNs) {
      const at = inRoot(place, path)
      const status = statusAt(place.libc, at)
      if (status === undefined || status.ctimeNs !== (ctimeNs ?? status.ctimeNs)) return undefined
      const known = outlineOf(place.libc, at, status)
      const content = known.type === 'file' ? contentOf(path, known, bytesMax) : undefined
      if (content && statusAt(place.libc, at)?.ctimeNs === status.ctimeNs)
        add(path, known, content, hash('sha256', content, 'hex'))
      else if (isMoreThanRow(known)) put(path, known)
      return rowOfStatus(status)
    },
    keepAs(path, is, bytesMax) {
      const content = is.type === 'file' ? contentOf(path, is, bytesMax) : undefined
      if (content && is.sha256 !== undefined && hash('sha256', content, 'hex') === is.sha256)
        add(path, is, content, is.sha256)
      else if (isMoreThanRow(is)) {
        const { sha256: _, ...outline } = is
        put(path, outline)
      }
    },
    forget(path) {
      const known = fingerprintIn({ lines }, path)
      if (known === undefined) return
      if (known.sha256 !== undefined) bytes -= known.size ?? 0
      lines.delete(path)
      isChanged = true
    },
    changed: () => isChanged,
    end: () => ({ lines, contents }),
  }
}

/** An index does not tell it: where a link leads, what a device is, attributes. */
function isMoreThanRow({ type, xattrs = [] }: Fingerprint): boolean {
  return xattrs.length > 0 || !['file', 'dir'].includes(type)
}

/** Numbers of names and sizes of folders are not in a fingerprint; where the path was changed since, it does not count. */
function rowNow(
  place: Workplace,
  path: RawPath,
  is: Fingerprint,
  looked: FileStatus | undefined,
): IndexEntry {
  const status = looked ?? statusAt(place.libc, inRoot(place, path))
  const isSame = status && (is.type === 'dir' ? typeOf(status.mode) === 'dir' : status.ctimeNs === is.ctimeNs)
  return isSame ? { ...rowOfStatus(status), mode: rowOf(is).mode, uid: is.uid, gid: is.gid } : rowOf(is)
}

function rowOf(is: Fingerprint): IndexEntry {
  const { type, mode, uid, gid, links = 1, inode = 0n, deviceId = 0n, size = 0, mtimeNs, ctimeNs = 0n } = is
  return { mode: typeBits[type] | mode, uid, gid, links, inode, deviceId, size, mtimeNs, ctimeNs }
}

function indexFile({ state }: Pick<Workplace, 'state'>): RawPath {
  return pathIn(state, 'index')
}

function baselineFile({ state }: Workplace): RawPath {
  return pathIn(state, 'baseline')
}
