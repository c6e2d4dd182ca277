// The folders of the open stage: made before it is entered, and taken away when it is done with.
import { constants, existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { VmlError, systemErrorCode } from '../base/failure.ts'
import { asRaw, printable, rawFromString, rawToBytes, type RawText } from '../base/raw-text.ts'
import { parentPath, rootPath, type RawPath } from '../model/raw-path.ts'
import { here, type Libc } from '../wire/libc.ts'
import { enterScript } from './enter-script.ts'
import { overlaysOf, storeName, type MountPlan } from './mount-plan.ts'
import { overlayPrefix } from './fingerprint.ts'

/** Where things lie on this host; `open` is `STATE/stage/open`. */
export interface StageFolder {
  readonly open: RawPath
  /** The generated script: `unshare -m --propagation private /bin/sh ENTER COMMAND…`. */
  readonly enter: RawPath
  /** What services were asked to do in the stage. */
  readonly queue: RawPath
  /** There, with a sentence, when the last one who entered did not get in. */
  readonly refusal: RawPath
}

export function stageFolderOf(plan: MountPlan): StageFolder {
  const open = onHost(plan, asRaw(`${plan.state}/stage/open`) as RawPath)
  const below = (name: string) => `${open}/${name}` as RawPath
  return { open, enter: below('enter'), queue: below('queue'), refusal: below('refusal') }
}

/** The place on this host of a path of the machine. */
export function onHost({ root }: Pick<MountPlan, 'root'>, path: RawPath): RawPath {
  return root === rootPath ? path : path === rootPath ? root : ((root + path) as RawPath)
}

export interface StageSettings {
  /** Names the mounts of this stage, so that who is in it can be found: letters and digits. */
  readonly token: string
  /** The script on the machine that stands in for `/usr/sbin/policy-rc.d`. */
  readonly policy?: RawPath
}

/**
 * Makes layers, queue and script; the folder of the stage itself is there. The script comes last: a stage without one was never open.
 * What lies there of an earlier one is in the way: `removeStage` first.
 */
export function makeStage(plan: MountPlan, settings: StageSettings, libc: Libc): StageFolder {
  const folder = stageFolderOf(plan)
  const make = (path: RawPath) => mkdirSync(rawToBytes(path), { mode: 0o700 })
  try {
    make(`${folder.open}/merged` as RawPath)
    make(`${folder.open}/layers` as RawPath)
    for (const { path, layer } of overlaysOf(plan)) {
      const top = onHost(plan, path)
      const place = onHost(plan, layer)
      if (parentPath(layer).endsWith(`/${storeName}`)) make(parentPath(place))
      make(place)
      markLayer(plan, place)
      make(`${place}/work` as RawPath)
      make(`${place}/links` as RawPath)
      makeFolderLike(top, `${place}/upper` as RawPath, libc)
    }
    writeFileSync(rawToBytes(folder.queue), '', { mode: 0o600, flag: 'wx' })
    const script = rawToBytes(enterScript(plan, settings))
    writeFileSync(rawToBytes(folder.enter), script, { mode: 0o700, flag: 'wx' })
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST') throw error
    throw new VmlError(
      'exists',
      `Cannot open a stage: what is left of another one lies in "${printable(folder.open)}"`,
      {
        cause: error,
        hint: 'One stage is open at a time: end it, or have it thrown away',
      },
    )
  }
  return folder
}

/** Systems that share a file system, such as a host and its containers, find each other's layers there. `layer` is of this host. */
export function markLayer(plan: Pick<MountPlan, 'root' | 'state'>, layer: RawPath): void {
  mkdirSync(rawToBytes(ownMark(plan, layer)), { mode: 0o700 })
}

export function isOwnLayer(plan: Pick<MountPlan, 'root' | 'state'>, layer: RawPath): boolean {
  return existsSync(rawToBytes(ownMark(plan, layer)))
}

/** Named for when VML's folder of the system was made, to the nanosecond: no other's was made then, but for one that is a copy. */
function ownMark(plan: Pick<MountPlan, 'root' | 'state'>, layer: RawPath): RawPath {
  return `${layer}/of-${statSync(rawToBytes(onHost(plan, plan.state)), { bigint: true }).birthtimeNs}` as RawPath
}

/** A folder of an upper layer is what is seen of it in the stage: it has the rights, owner and attributes of the one below. */
export function makeFolderLike(top: RawPath, upper: RawPath, libc: Libc): void {
  mkdirSync(rawToBytes(upper), { mode: 0o700 })
  const file = libc.openAt(here, upper, directoryFlags)
  try {
    const { uid, gid, mode, mtimeNs } = libc.statAt(here, top)
    libc.chownOf(file, { uid, gid })
    for (const { name, value } of libc.readXattrs(top)) {
      if (!name.startsWith(overlayPrefix)) libc.setXattr(file, name, value)
    }
    libc.chmodOf(file, mode & 0o7777)
    libc.setTimesOf(file, { mtimeNs })
  } finally {
    libc.close(file)
  }
}

const directoryFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

/**
 * Throws the stage away: nobody may be in it any more. The script goes first, so that what is half removed is entered by nobody; files of
 * others in the folder of the stage stay.
 */
export function removeStage(plan: MountPlan): void {
  const folder = stageFolderOf(plan)
  const remove = (path: RawText) => rmSync(rawToBytes(path), { recursive: true, force: true })
  remove(folder.enter)
  for (const { layer } of overlaysOf(plan)) {
    const place = onHost(plan, layer)
    remove(place)
    if (parentPath(layer).endsWith(`/${storeName}`)) remove(parentPath(place))
  }
  for (const name of ['layers', 'merged', 'queue', 'refusal'])
    remove(asRaw(`${folder.open}/${rawFromString(name)}`))
}
