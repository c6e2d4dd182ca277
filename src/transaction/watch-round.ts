// One look of `vml tx watch` at a part of the machine: what changed there by hand becomes a record.
import { readFileSync } from 'node:fs'
import { messageOf } from '../base/failure.ts'
import { writeFileDurable } from '../base/files.ts'
import { isWithin, nearestIn, parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import { statusAt } from '../stage/fingerprint.ts'
import { rowOfStatus, withRows } from '../stage/index-rows.ts'
import type { RootView } from '../stage/mount-plan.ts'
import type { IndexEntry, RootIndex } from '../stage/root-index.ts'
import { scanRoot } from '../stage/scan-root.ts'
import { lockBaseline, readKnownIndex, takeStock, takeStockOf, viewNow } from './baseline.ts'
import type { TransactionParts } from './end-stage.ts'
import { readExtraPaths } from './extra-paths.ts'
import { type HandRecord, recordHandChanges } from './hand-changes.ts'
import { openOwnFolders } from './own-folders.ts'
import type { StageNote } from './stage-note.ts'
import { waitingNote } from './waiting-stage.ts'
import { inRoot, openFolder, pathIn, type Workplace } from './workplace.ts'

/** Where people work, what packages bring, and all of it. Each has the ones before it. */
export type WatchTier = 'books' | 'programs' | 'everything'

const books = ['/etc', '/boot', '/var/lib/dpkg', '/var/lib/apt'].map((path) => pathIn(rootPath, path))
const programs = ['/usr', '/opt'].map((path) => pathIn(rootPath, path))

export type WatchRound =
  | { readonly kind: 'nothing' }
  /** A transaction is open: it looks by itself. One that was tried and waits may do so for days, and nobody looks until it ends. */
  | { readonly kind: 'busy'; readonly waits?: string }
  /** Nothing was known: from now on it is. */
  | { readonly kind: 'stock' }
  | { readonly kind: 'recorded'; readonly record: HandRecord }

export async function watchRound(parts: TransactionParts, tier: WatchTier): Promise<WatchRound> {
  await using _lock = await lockBaseline(parts)
  // Whoever begins one from here on waits for the lock before anything is changed.
  if (statusAt(parts.libc, openFolder(parts)) !== undefined) return busyWith(waitingNote(parts))
  if (readKnownIndex(parts) === undefined) {
    await takeStock(parts)
    return { kind: 'stock' }
  }
  const within = foldersOf(parts, tier)
  const now = within ? scanWithin(parts, within) : scanRoot(viewNow(parts), parts).index
  const record = await recordHandChanges(parts, now, within)
  await noteLook(parts, tier)
  return record ? { kind: 'recorded', record } : { kind: 'nothing' }
}

function busyWith(waiting: StageNote | undefined): WatchRound {
  return { kind: 'busy', ...(waiting ? { waits: waiting.title } : {}) }
}

/** Whether nothing that is looked at has the path: it is a device of the kernel's, on a file system of another kind, for one boot only, or in a logbook. */
export function isOutOfSight(place: Workplace, path: RawPath): boolean {
  return isClosed(viewNow(place), path) || openOwnFolders(place).holding(path) !== undefined
}

/** What lies there now counts as known: only what changes from here on is told. */
export async function learnExtraPaths(place: Workplace, paths: readonly RawPath[]): Promise<void> {
  await using _lock = await lockBaseline(place)
  await takeStockOf(place, scanWithin(place, paths), paths)
}

function foldersOf(place: Workplace, tier: WatchTier): readonly RawPath[] | undefined {
  if (tier === 'everything') return undefined
  const folders = [...books, ...readExtraPaths(place)]
  return tier === 'books' ? folders : [...folders, ...programs]
}

/** With the folders above, by which mounts are told. */
function scanWithin(place: Workplace, folders: readonly RawPath[]): RootIndex {
  const view = viewNow(place)
  const looked = folders.filter((path) => statusAt(place.libc, inRoot(place, path)) && !isClosed(view, path))
  const tops = new Set([
    ...looked,
    ...view.tops.filter((top) => looked.some((folder) => isWithin(top, folder))),
  ])
  const outer = [...tops].filter(
    (path) => view.tops.includes(path) || ![...tops].some((top) => top !== path && isWithin(path, top)),
  )
  const { index } = scanRoot({ ...view, tops: outer }, place)
  const above = new Map<RawPath, IndexEntry | undefined>()
  for (const folder of outer)
    for (let path = folder; path !== rootPath;) {
      path = parentPath(path)
      const status = statusAt(place.libc, inRoot(place, path))
      if (status) above.set(path, rowOfStatus(status))
    }
  return withRows(index, above)
}

function isClosed({ tops, closed }: RootView, path: RawPath): boolean {
  const nearest = nearestIn(path, closed)
  return nearest !== undefined && !tops.includes(nearest)
}

const dueMs: Readonly<Record<WatchTier, number>> = {
  books: 60_000,
  programs: 3_600_000,
  everything: 86_400_000,
}

/** The largest one that was not looked at for its time (tx.md 6). */
export function dueTier(place: Workplace): WatchTier {
  const now = place.clock.now()
  const looked = readLooks(place)
  const isDue = (tier: WatchTier) => {
    const at = looked[tier] ?? 0
    // A clock that jumped back must not keep it from looking.
    return now - at >= dueMs[tier] || at > now
  }
  return isDue('everything') ? 'everything' : isDue('programs') ? 'programs' : 'books'
}

type Looks = Partial<Record<WatchTier, number>>

function readLooks(place: Workplace): Looks {
  try {
    const value: unknown = JSON.parse(readFileSync(looksFile(place), 'utf8'))
    const looks: Looks = {}
    if (typeof value !== 'object' || value === null) return looks
    if ('programs' in value && typeof value.programs === 'number') looks.programs = value.programs
    if ('everything' in value && typeof value.everything === 'number') looks.everything = value.everything
    return looks
  } catch {
    // Without it, all is looked at.
    return {}
  }
}

async function noteLook(place: Workplace, tier: WatchTier): Promise<void> {
  if (tier === 'books') return
  const now = place.clock.now()
  const looks: Looks = {
    ...readLooks(place),
    programs: now,
    ...(tier === 'everything' ? { everything: now } : {}),
  }
  try {
    await writeFileDurable(looksFile(place), `${JSON.stringify(looks)}\n`)
  } catch (error) {
    // What was found is recorded by now.
    place.reporter.warn({ warning: `When it was looked could not be noted: ${messageOf(error)}` })
  }
}

function looksFile({ state }: Workplace): string {
  return pathIn(state, 'watched.json')
}
