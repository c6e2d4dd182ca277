// Whether there is room for a commit or an undo, asked before anything is changed (A4).
import { statfsSync, statSync } from 'node:fs'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { formatBytes } from '../base/format-bytes.ts'
import { printable, rawToBytes, type RawText } from '../base/raw-text.ts'
import { parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { PathChange } from '../model/transaction.ts'
import type { LookedStage } from './end-stage.ts'
import type { UndoPlan } from './undo.ts'
import { inRoot, type Workplace } from './workplace.ts'

/** What one file system has to hold besides what it holds. */
export interface SpaceNeed {
  /** A folder on it. */
  readonly folder: RawText
  readonly neededBytes: number
  readonly freeBytes: number
}

/** Journal, documents of the record, an index of the logbook. */
export const recordMarginBytes = 16 * 1024 * 1024
/** Files of packages take a third of their size in the logbook, as deltas less (tx.md, 8). */
const storedShare = 0.5

/** What is new lies on the right file system already, and is moved: what is needed is the record with what was there before. */
export function commitNeeds(place: Workplace, { changeSet: { changes } }: LookedStage): SpaceNeed[] {
  if (changes.length === 0) return []
  return [needOf(place.state, recordMarginBytes + storedBytes(changes))]
}

export type Room = Omit<SpaceNeed, 'freeBytes'>

/** A folder that is there, and what tells its file system from others. */
export interface Standing<Device> {
  readonly folder: RawText
  readonly device: Device
}

export function undoNeeds(place: Workplace, plan: UndoPlan): SpaceNeed[] {
  const { dev: device } = statSync(rawToBytes(place.state))
  const own = { folder: place.state, device }
  const rooms = undoRooms(plan, { own, standing: (path) => standing(place, parentPath(path)) })
  return rooms.map(({ folder, neededBytes }) => needOf(folder, neededBytes))
}

/** What comes back is made ready in VML's folder, and copied where another file system is its place. `standing` tells where a path lies. */
export function undoRooms<Device>(
  { paths: { paths }, bytes, transfers }: UndoPlan,
  {
    own,
    standing: standingOf,
  }: { readonly own: Standing<Device>; readonly standing: (path: RawPath) => Standing<Device> },
): Room[] {
  const changes = paths.map(({ path, now, wanted }) => ({
    path,
    ...(now ? { before: now } : {}),
    ...(wanted ? { after: wanted } : {}),
  }))
  // Exported, and what was there in the record; what is made of it is among `bytes`.
  const transferred = transfers.reduce((sum, { bytes: size }) => sum + size * (1 + storedShare), 0)
  const { folder: ownFolder, device: ownDevice } = own
  const needs = new Map<Device, Room>([
    [
      ownDevice,
      { folder: ownFolder, neededBytes: recordMarginBytes + bytes + storedBytes(changes) + transferred },
    ],
  ])
  for (const { path, wanted } of paths) {
    if (wanted?.type !== 'file') continue
    const { folder, device } = standingOf(path)
    if (device === ownDevice) continue
    const need = needs.get(device) ?? { folder, neededBytes: 0 }
    needs.set(device, { ...need, neededBytes: need.neededBytes + (wanted.size ?? 0) })
  }
  return [...needs.values()]
}

/** `unavailable.space`, with the numbers. `what` follows "Cannot". */
export function requireSpace(what: string, needs: readonly SpaceNeed[]): void {
  const short = needs.find(({ neededBytes, freeBytes }) => neededBytes > freeBytes)
  if (short === undefined) return
  const { folder, neededBytes, freeBytes } = short
  throw new VmlError(
    'unavailable.space',
    `Cannot ${what}: it needs ${formatBytes(neededBytes)} where "${printable(folder)}" lies, and ${formatBytes(freeBytes)} are free`,
    {
      details: { folder, needed_bytes: neededBytes, free_bytes: freeBytes },
      hint: 'Nothing was changed. Make room, and repeat',
    },
  )
}

/** A file system without room for what was to be made in a folder of ours, in words; all else as it is. `what` follows "Cannot". */
export function spaceFailure(
  error: unknown,
  {
    what,
    folder,
    unchanged = 'Nothing was changed',
  }: { readonly what: string; readonly folder: RawText; readonly unchanged?: string },
): unknown {
  const code = systemErrorCode(error)
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error
  return new VmlError(
    'unavailable.space',
    `Cannot ${what}: no room is left where "${printable(folder)}" lies`,
    {
      cause: error,
      details: { folder },
      hint: `${unchanged}. Make room, and repeat`,
    },
  )
}

function storedBytes(changes: readonly PathChange[]): number {
  const sizes = changes.map(({ before, after }) =>
    before?.type === 'file' && before.sha256 !== after?.sha256 ? (before.size ?? 0) : 0,
  )
  return Math.ceil(sizes.reduce((sum, size) => sum + size, 0) * storedShare)
}

/** bavail: what the file system reserves for root stays for who mends it. */
export function needOf(folder: RawText, neededBytes: number): SpaceNeed {
  const { bavail, bsize } = statfsSync(rawToBytes(folder))
  return { folder, neededBytes, freeBytes: bavail * bsize }
}

/** The nearest folder that is there. */
function standing(place: Workplace, path: RawPath): { folder: RawText; device: number } {
  const folder = inRoot(place, path)
  try {
    return { folder, device: statSync(rawToBytes(folder)).dev }
  } catch (error) {
    if (path === rootPath || !['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) throw error
    return standing(place, parentPath(path))
  }
}
