// Tells what a machine has become since it was taken stock of without a stage: every path that differs, and where its content before lies.
import { setImmediate } from 'node:timers/promises'
import { readlinkSync } from 'node:fs'
import type { ProgressEvent } from '../base/progress.ts'
import { printable, rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import { nearestIn, type RawPath } from '../model/raw-path.ts'
import type { Fingerprint, PathChange } from '../model/transaction.ts'
import type { FolderReader } from '../wire/folder-reader.ts'
import type { Libc } from '../wire/libc.ts'
import { isChange } from './change-set.ts'
import { outlineOf, sha256Of, statusAt, typeOf } from './fingerprint.ts'
import type { LiveCapture } from './live-capture.ts'
import { openLiveFarm } from './live-farm.ts'
import { type MountPlan, viewOf } from './mount-plan.ts'
import { withOtherNames } from './hard-links.ts'
import {
  compareIndex,
  entryOf,
  type IndexDifference,
  type IndexEntry,
  inodeKey,
  linkedPaths,
  type RootIndex,
} from './root-index.ts'
import { scanRoot } from './scan-root.ts'
import { onHost } from './stage-folder.ts'

export interface LiveEndRequest {
  /** As it was taken stock of. */
  readonly plan: MountPlan
  readonly capture: LiveCapture
  /** As it would be made now: mounts that came or went since are no change of what lies in them. */
  readonly planNow: MountPlan
  readonly libc: Libc
  readonly reader: FolderReader
  /** Differences that are none of the change. */
  isLeftOut?(change: PathChange): boolean
  readonly report?: (event: ProgressEvent) => void
  readonly signal?: AbortSignal | undefined
}

/** What was kept of the machine as it was. */
export interface LiveKept {
  /** Where the content before lies; undefined where it is lost. */
  at(path: RawPath): RawPath | undefined
  /** Where a copy of it lies, which no later write can have reached. */
  copyAt(path: RawPath): RawPath | undefined
  lost(path: RawPath): string
  /** Removes all that is kept but of these. That moves ctimes: no time is taken before it. */
  prune(changes: readonly PathChange[]): void
}

const pathsAtOnce = 512

/** In the order of paths. What is equal in state, and in time of change where it is a file, is no change. */
export async function readLiveChanges(request: LiveEndRequest): Promise<PathChange[]> {
  const { plan, capture, planNow, libc, report, signal } = request
  report?.({ phase: 'finding what changed' })
  const kept = openLiveKept(request)
  const scan = scanRoot(viewOf(planNow), request)
  const silent = new Set([
    ...capture.unread,
    ...scan.unread.map(({ path }) => path),
    ...changedMounts(plan, planNow),
  ])
  const attributes = new Map(capture.attributes.map(({ path, before }) => [path, before]))
  const changes: PathChange[] = []
  let looked = 0
  for (const difference of compareIndex(capture.index, scan.index)) {
    const { path } = difference
    if (nearestIn(path, silent) !== undefined) continue
    const change = await changeOf(difference, { plan, libc, kept, known: attributes.get(path) })
    if (change && request.isLeftOut?.(change) !== true) changes.push(change)
    if (++looked % pathsAtOnce !== 0) continue
    await setImmediate()
    signal?.throwIfAborted()
    report?.({ phase: 'comparing', filesDone: looked, item: printable(path) })
  }
  return withOtherNames(changes, capture.index, namesAfter(changes, scan.index))
}

/** Of files that have several names now. */
function namesAfter(
  changes: readonly PathChange[],
  now: RootIndex,
): ReadonlyMap<RawPath, readonly RawPath[]> {
  const linked = changes.filter(({ after }) => after?.type === 'file' && (after.links ?? 1) > 1)
  const groups = linked.length === 0 ? undefined : linkedPaths(now)
  return new Map(
    linked.flatMap(({ path, after }) => {
      const { inode, deviceId } = after ?? {}
      const names =
        inode === undefined || deviceId === undefined ? undefined : groups?.get(inodeKey({ inode, deviceId }))
      return names ? [[path, names] as const] : []
    }),
  )
}

export function openLiveKept({
  plan,
  capture: { index },
  libc,
}: Pick<LiveEndRequest, 'plan' | 'capture' | 'libc'>): LiveKept {
  const farm = openLiveFarm(plan)
  const look = (path: RawPath): { readonly place?: RawPath; readonly lost?: string } => {
    const entry = entryOf(index, path)
    if (entry === undefined) return { lost: 'it was not seen before it was changed' }
    const kept = farm.placeOf(path, entry)
    if (kept?.how === 'copy') return { place: kept.place }
    const [thing, place] = kept ? [kept.place, kept.place] : [onHost(plan, path), undefined]
    const status = statusAt(libc, thing)
    // A file that nobody replaced or wrote to has its content still.
    if (status && status.inode === entry.inode && isUnwritten(entry, status)) return { place: place ?? thing }
    return {
      lost: kept
        ? 'it was written in place, and there was no copy of it'
        : 'it could not be kept when the change began',
    }
  }
  return {
    at: (path) => look(path).place,
    copyAt(path) {
      const entry = entryOf(index, path)
      const kept = entry && farm.placeOf(path, entry)
      return kept?.how === 'copy' ? kept.place : undefined
    },
    lost: (path) => look(path).lost ?? 'it could not be kept',
    prune(changes) {
      const needed = new Set<RawPath>()
      for (const { path, before } of changes) {
        const entry = before && entryOf(index, path)
        const kept = entry && farm.placeOf(path, entry)
        if (kept) needed.add(kept.place)
      }
      farm.prune(needed)
    },
  }
}

interface ChangeContext {
  readonly plan: MountPlan
  readonly libc: Libc
  readonly kept: LiveKept
  /** What was noted of it when the change began. */
  readonly known: Fingerprint | undefined
}

async function changeOf(
  { path, before: entry, after: found }: IndexDifference,
  context: ChangeContext,
): Promise<PathChange | undefined> {
  const live = onHost(context.plan, path)
  // What has gone since the scan is gone; of what was not found a name may lead somewhere all the same, through a folder that became a link.
  const status = found && statusAt(context.libc, live)
  const after = status && outlineOf(context.libc, live, status)
  const before = entry && outlineBefore(path, entry, context)
  const isSameContent =
    entry !== undefined &&
    status !== undefined &&
    entry.inode === status.inode &&
    isUnwritten(entry, status) &&
    !(await isRewritten(path, { entry, status, live, kept: context.kept }))
  if (isSameContent && before?.type === 'file' && after?.type === 'file') {
    if (!isChange(before, after)) return undefined
    const sha256 = await hashOf(live)
    return { path, before: { ...before, sha256 }, after: { ...after, sha256 } }
  }
  const whole = {
    path,
    ...(before === undefined ? {} : { before: await withHash(before, context.kept.at(path)) }),
    ...(after === undefined ? {} : { after: await withHash(after, live) }),
  }
  return isChange(whole.before, whole.after) ? whole : undefined
}

/** From the index, with what only the kept thing, or the note of it, can tell. */
function outlineBefore(path: RawPath, entry: IndexEntry, { libc, kept, known }: ChangeContext): Fingerprint {
  const type = typeOf(entry.mode)
  const place = type === 'dir' || type === 'file' ? undefined : kept.at(path)
  const status = place === undefined ? undefined : statusAt(libc, place)
  const linkTarget =
    known?.linkTarget ??
    (type === 'symlink' && place !== undefined
      ? rawFromBytes(readlinkSync(rawToBytes(place), 'buffer'))
      : undefined)
  const device = known?.device ?? (type === 'dev' || type === 'chardev' ? status?.device : undefined)
  return {
    type,
    mode: entry.mode & 0o7777,
    uid: entry.uid,
    gid: entry.gid,
    mtimeNs: entry.mtimeNs,
    ctimeNs: entry.ctimeNs,
    inode: entry.inode,
    deviceId: entry.deviceId,
    links: entry.links,
    ...(type === 'file' ? { size: entry.size } : {}),
    ...(linkTarget === undefined ? {} : { linkTarget }),
    ...(device === undefined ? {} : { device }),
    ...(known?.xattrs === undefined ? {} : { xattrs: known.xattrs }),
  }
}

async function withHash(fingerprint: Fingerprint, place: RawPath | undefined): Promise<Fingerprint> {
  if (fingerprint.type !== 'file' || place === undefined) return fingerprint
  return { ...fingerprint, sha256: await hashOf(place) }
}

async function hashOf(place: RawPath): Promise<string> {
  return await sha256Of(place, () => {})
}

function isUnwritten(
  { size, mtimeNs, mode }: IndexEntry,
  status: { readonly size: number; readonly mtimeNs: bigint },
): boolean {
  return typeOf(mode) !== 'file' || (size === status.size && mtimeNs === status.mtimeNs)
}

/** In place, with as many bytes, and its time set back, as `cp -p` over it does: only its time of change moves, and a copy tells. */
async function isRewritten(
  path: RawPath,
  {
    entry,
    status,
    live,
    kept,
  }: { entry: IndexEntry; status: { readonly ctimeNs: bigint }; live: RawPath; kept: LiveKept },
): Promise<boolean> {
  if (typeOf(entry.mode) !== 'file' || entry.ctimeNs === status.ctimeNs) return false
  const copy = kept.copyAt(path)
  return copy !== undefined && (await hashOf(copy)) !== (await hashOf(live))
}

/** Mount points, and folders that are left out, of one of the plans only. */
function changedMounts(before: MountPlan, now: MountPlan): RawPath[] {
  const pathsOf = ({ mounts, hidden }: MountPlan) => [...mounts.map(({ path }) => path), ...hidden]
  const [old, next] = [new Set(pathsOf(before)), new Set(pathsOf(now))]
  return [...[...old].filter((path) => !next.has(path)), ...[...next].filter((path) => !old.has(path))]
}
