// Names of one file: which of them a stage changed by another name, and which new ones must become names of a file that stays as it is.
import { linkSync, unlinkSync } from 'node:fs'
import { systemErrorCode } from '../base/failure.ts'
import { asRaw, rawToBytes } from '../base/raw-text.ts'
import {
  callPathBytesMax,
  joinPath,
  nearestOf,
  pathParts,
  type RawName,
  type RawPath,
} from '../model/raw-path.ts'
import { otherNamesMax, type PathChange } from '../model/transaction.ts'
import type { Libc } from '../wire/libc.ts'
import { overlaysOf, type MountPlan, type StagedMount } from './mount-plan.ts'
import { entryOf, inodeKey, linkedPaths, type RootIndex } from './root-index.ts'
import { onHost } from './stage-folder.ts'
import {
  isDirectory,
  isOpaque,
  isWhiteout,
  namesIn,
  placed,
  upperOf,
  type Candidate,
  type Placed,
} from './upper-walk.ts'

/**
 * With `index=on` the overlay keeps the copy of a file with several names in `work/index` (overlayfs.rst, "Index"), under what the file system calls the lower
 * one. All names show that copy; the upper folder has only those that somebody used. The others come from the index of the root.
 */
export function namesByIndex(
  plan: MountPlan,
  overlay: StagedMount,
  { libc, index }: { readonly libc: Libc; readonly index: RootIndex },
): Candidate[] {
  const copies = indexedCopies(plan, overlay, libc)
  if (copies.size === 0) return []
  const mounts = new Map(overlaysOf(plan).map((each) => [each.path, each]))
  const found: Candidate[] = []
  for (const names of linkedPaths(index).values()) {
    const here = names.filter((name) => nearestOf(name, mounts) === overlay)
    const key = here.map((name) => handleKey(libc, onHost(plan, name))).find((each) => each !== undefined)
    const copy = key === undefined ? undefined : copies.get(key)
    if (copy === undefined) continue
    for (const path of here) {
      const lower = placed(libc, onHost(plan, path))
      if (lower === undefined || isDirectory(lower) || isOverridden(plan, overlay, path, libc)) continue
      // A name that has become that of another file since belongs to that one.
      if (handleKey(libc, lower.place) === key) found.push({ path, lower, upper: copy })
    }
  }
  return found
}

/** By handle. */
function indexedCopies(plan: MountPlan, { layer }: StagedMount, libc: Libc): Map<string, Placed> {
  const folder = asRaw(`${onHost(plan, layer)}/work/index`) as RawPath
  const copies = new Map<string, Placed>()
  if (placed(libc, folder) === undefined) return copies
  for (const name of namesIn(folder)) {
    const copy = placed(libc, joinPath(folder, name))
    const key = parseIndexName(name)
    // A whiteout stands for a file of which all names are gone.
    if (copy !== undefined && key !== undefined && !isWhiteout(copy.status)) copies.set(key, copy)
  }
  return copies
}

/**
 * `struct ovl_fb` of the kernel in hex: version 0, magic 0xfb, length, flags, type of the handle, 16 bytes for the file system, the handle.
 * Names in use only while it works begin with `#`.
 */
function parseIndexName(name: RawName): string | undefined {
  const parts = /^00fb[0-9a-f]{4}([0-9a-f]{2})[0-9a-f]{32}((?:[0-9a-f]{2})+)$/.exec(name)
  const [, type, bytes] = parts ?? []
  return type === undefined || bytes === undefined ? undefined : `${Number.parseInt(type, 16)}:${bytes}`
}

function handleKey(libc: Libc, place: RawPath): string | undefined {
  try {
    const handle = libc.fileHandle(place)
    return handle === undefined ? undefined : `${handle.type}:${handle.bytes.toString('hex')}`
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw error
  }
}

/** Whether the upper folder says itself what is at the path: by an entry, or by a folder above that covers the lower one. */
function isOverridden(plan: MountPlan, overlay: StagedMount, path: RawPath, libc: Libc): boolean {
  let place = upperOf(plan, overlay)
  let at = overlay.path
  let covered = false
  for (const part of pathParts(path).slice(pathParts(overlay.path).length)) {
    covered ||= isOpaque(libc, place, at)
    place = joinPath(place, part)
    at = joinPath(at, part)
    const thing = placed(libc, place)
    if (thing === undefined) return covered
    if (at === path || !isDirectory(thing)) return true
  }
  return true
}

/** `index`: before them. `names`: of those that became a name of a file that stays, its names. A path that changes itself is none that stays. */
export function withOtherNames(
  changes: readonly PathChange[],
  index: RootIndex,
  names: ReadonlyMap<RawPath, readonly RawPath[]> = new Map(),
): PathChange[] {
  const entries = new Map(
    changes.flatMap(({ path, before }) => {
      const entry = before?.type === 'file' ? entryOf(index, path) : undefined
      return entry && entry.links > 1 ? [[path, entry] as const] : []
    }),
  )
  if (entries.size + names.size === 0) return [...changes]
  const groups = entries.size === 0 ? undefined : linkedPaths(index)
  const changed = new Set(changes.map(({ path }) => path))
  return changes.map((change) => {
    const { path, before } = change
    const entry = entries.get(path)
    const known = [...((entry && groups?.get(inodeKey(entry))) ?? []), ...(names.get(path) ?? [])]
    const others = [...new Set(known)].filter((name) => !changed.has(name) && name.length <= callPathBytesMax)
    if (others.length === 0) return change
    const was = before && entry ? { before: { ...before, links: entry.links } } : {}
    return { ...change, ...was, otherNames: others.slice(0, otherNamesMax) }
  })
}

/** The lower file becomes the thing that is prepared, by one more name: it stays one file. False where the file system refuses; then there are two. */
export function linkPrepared(from: RawPath, to: RawPath): boolean {
  try {
    linkSync(rawToBytes(from), rawToBytes(to))
    return true
  } catch (error) {
    // Another subvolume, or as many names as there can be.
    if (['EXDEV', 'EMLINK', 'EPERM'].includes(systemErrorCode(error) ?? '')) return false
    throw error
  }
}

/** What an earlier look at the change set linked. */
export function forgetPrepared(folder: RawPath): void {
  for (const name of namesIn(folder)) unlinkSync(rawToBytes(joinPath(folder, name)))
}

export function keyOf({ status }: Placed): string {
  return inodeKey(status)
}
