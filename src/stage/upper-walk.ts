// Walks the upper folder of an overlay beside the lower one: which paths it says something of (overlayfs.rst, "whiteouts and opaque directories").
import { readdirSync } from 'node:fs'
import { VmlError } from '../base/failure.ts'
import { printable, rawFromBytes, rawFromString, rawToBytes } from '../base/raw-text.ts'
import { callPathBytesMax, joinPath, type RawName, type RawPath } from '../model/raw-path.ts'
import type { FileStatus, Libc } from '../wire/libc.ts'
import { overlayPrefix, statusAt, typeOf } from './fingerprint.ts'
import { overlaysOf, viewOf, type MountPlan, type StagedMount } from './mount-plan.ts'
import { onHost } from './stage-folder.ts'

/** A path that may have changed: what is there now, and what the stage has. Without either, there is nothing. */
export interface Candidate {
  readonly path: RawPath
  readonly lower?: Placed
  readonly upper?: Placed
}

/** A thing and the place on this host where it can be read. */
export interface Placed {
  readonly place: RawPath
  readonly status: FileStatus
}

/** Where the policy script is mounted in a stage; a mount needs a file to lie on. */
const policyPlaces: ReadonlySet<string> = new Set(['/usr/sbin/policy-rc.d', '/usr/bin/policy-rc.d'])

/** How upper and lower folders are looked at: on this host, or in a list of those of another machine. */
export interface UpperLook {
  /** Undefined where nothing is. */
  at(place: RawPath): Placed | undefined
  names(place: RawPath): readonly RawName[]
  isOpaque(place: RawPath, path: RawPath): boolean
}

export function lookHere(libc: Libc): UpperLook {
  return {
    at: (place) => placed(libc, requireShort(place)),
    names: namesIn,
    isOpaque: (place, path) => isOpaque(libc, place, path),
  }
}

/** In a stage a path has that of the upper folder before it. */
function requireShort(place: RawPath): RawPath {
  if (place.length <= callPathBytesMax) return place
  throw new VmlError(
    'unsupported',
    `Cannot read the change set of the stage: "${printable(place)}" is longer than the ${callPathBytesMax} bytes that a call takes`,
    { hint: 'Nothing was changed. vml tx run --live makes such a change on the machine itself' },
  )
}

/** All paths of which the upper folder says anything; also folders that are in it for what they hold, and copies that are equal. */
export function walkUpper(plan: MountPlan, overlay: StagedMount, look: UpperLook): Candidate[] {
  const found: Candidate[] = []
  // Other mounts lie on these: what is in them is no part of this one.
  const closed = new Set(viewOf(plan).closed)
  for (const { path } of overlaysOf(plan)) if (path !== overlay.path) closed.add(path)
  const lowerAt = (path: RawPath): Placed | undefined => look.at(onHost(plan, path))

  // Where the parent is no folder below, nothing of this path is there: asked for all the same, a link would answer for what it leads to.
  const visit = (
    path: RawPath,
    place: RawPath,
    { covered, inFolder }: { readonly covered: boolean; readonly inFolder: boolean },
  ): void => {
    const upper = look.at(place)
    const lower = inFolder ? lowerAt(path) : undefined
    if (upper === undefined) return
    if (isWhiteout(upper.status)) {
      if (lower !== undefined) gone(path, lower)
      return
    }
    if (lower === undefined && isPolicyPlace(path, upper.status)) return
    found.push({ path, upper, ...(lower === undefined ? {} : { lower }) })
    const [isFolder, wasFolder] = [isDirectory(upper), isDirectory(lower)]
    if (wasFolder && !isFolder) goneBelow(path)
    if (isFolder) enter(path, place, wasFolder, covered || look.isOpaque(place, path))
  }
  /** In a folder that covers the lower one, and in all below, what is not there is gone. */
  const enter = (path: RawPath, place: RawPath, wasFolder: boolean, covered: boolean): void => {
    const names = look.names(place)
    for (const name of names) {
      const child = joinPath(path, name)
      if (!closed.has(child)) visit(child, joinPath(place, name), { covered, inFolder: wasFolder })
    }
    if (covered && wasFolder) goneBelow(path, new Set(names))
  }
  const gone = (path: RawPath, lower: Placed): void => {
    // Another overlay's whiteout is nothing to this one: it was not there in the stage, and stays what it is.
    if (closed.has(path) || isWhiteout(lower.status)) return
    found.push({ path, lower })
    if (isDirectory(lower)) goneBelow(path)
  }
  const goneBelow = (path: RawPath, but: ReadonlySet<RawName> = new Set()): void => {
    for (const name of look.names(onHost(plan, path))) {
      if (but.has(name)) continue
      const child = joinPath(path, name)
      const lower = lowerAt(child)
      if (lower !== undefined) gone(child, lower)
    }
  }
  visit(overlay.path, upperOf(plan, overlay), { covered: false, inFolder: true })
  return found
}

export function upperOf(plan: MountPlan, { layer }: StagedMount): RawPath {
  return joinPath(onHost(plan, layer), rawFromString('upper') as RawName)
}

export function placed(libc: Libc, place: RawPath): Placed | undefined {
  const status = statusAt(libc, place)
  return status === undefined ? undefined : { place, status }
}

export function isDirectory(thing: Placed | undefined): boolean {
  return thing !== undefined && typeOf(thing.status.mode) === 'dir'
}

/** A character device 0:0 stands for "nothing here". An overlay lets nobody make one that is meant. */
export function isWhiteout({ mode, device }: FileStatus): boolean {
  return typeOf(mode) === 'chardev' && device === 0n
}

/** Marks that only other options than ours make are a change set that would be read wrongly. */
export function isOpaque(libc: Libc, place: RawPath, path: RawPath): boolean {
  for (const name of ['redirect', 'metacopy']) {
    if (libc.getXattr(place, rawFromString(`${overlayPrefix}${name}`)) === undefined) continue
    throw new VmlError(
      'integrity.format',
      `Cannot read the change set of the stage: "${printable(path)}" has a mark of another kind of overlay (${name})`,
    )
  }
  const mark = libc.getXattr(place, rawFromString(`${overlayPrefix}opaque`))
  return mark?.toString('latin1') === 'y'
}

export function namesIn(place: RawPath): RawName[] {
  return readdirSync(rawToBytes(place), { encoding: 'buffer' }).map((name) => rawFromBytes(name) as RawName)
}

function isPolicyPlace(path: RawPath, { mode, size }: FileStatus): boolean {
  return policyPlaces.has(path) && mode === 0o100000 && size === 0
}
