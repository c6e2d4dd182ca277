// Folders of the machine, as it is now, of which no change is anybody's work and none is ever taken back: VML's own, by whatever name, and logbooks.
import { systemErrorCode } from '../base/failure.ts'
import { rawFromString } from '../base/raw-text.ts'
import {
  callPathBytesMax,
  joinPath,
  parentPath,
  type RawName,
  type RawPath,
  rootPath,
} from '../model/raw-path.ts'
import { statusAt, typeOf } from '../stage/fingerprint.ts'
import type { FileStatus } from '../wire/libc.ts'
import { planMountsNow } from './open-stage.ts'
import { inRoot, type Workplace } from './workplace.ts'

export interface OwnFolder {
  /** By the path that was asked for. */
  readonly path: RawPath
  /** `logbook`: any repository in restic's format, which others than VML may write to, too; or another state folder with one. */
  readonly what: 'state' | 'logbook'
}

export interface OwnFolders {
  /** The folder that it is or lies in. To be asked while nothing is mounted or moved. */
  holding(path: RawPath): OwnFolder | undefined
}

/** What a repository has (restic, "Repository Format"). A snapshot is nothing without packs that an earlier one brought: nothing of it goes by itself. */
const partsOfLogbook = [
  ['snapshots', 'dir'],
  ['keys', 'dir'],
  ['index', 'dir'],
  ['data', 'dir'],
  ['config', 'file'],
] as const
/** A state folder of VML's that is not this machine's now: a copy, one of another system, or its own on a disk that is not mounted at its place. */
const partsOfState = [
  ['recovery-key', 'file'],
  ['logbook', 'dir'],
] as const

/** By the table of mounts, and by what each folder above a path is: device and inode, or what lies in it. */
export function openOwnFolders(place: Workplace): OwnFolders {
  const planned = planMountsNow(place, { live: true })
  const own = new Set(planned.kind === 'stage' ? planned.plan.hidden : planned.view.own)
  const look = (path: RawPath): FileStatus | undefined => {
    // What no call reaches can be none of them, but may lie in one.
    if (inRoot(place, path).length > callPathBytesMax) return undefined
    try {
      return statusAt(place.libc, inRoot(place, path))
    } catch (error) {
      // Below a link that leads to itself nothing is.
      if (systemErrorCode(error) === 'ELOOP') return undefined
      throw error
    }
  }
  const keyOf = ({ deviceId, inode }: FileStatus) => `${deviceId} ${inode}`
  const keys = new Set(
    [...own].flatMap((path) => {
      const status = look(path)
      return status ? [keyOf(status)] : []
    }),
  )
  const kindOf = (path: RawPath): OwnFolder['what'] | undefined => {
    if (own.has(path)) return 'state'
    const status = look(path)
    if (status === undefined || typeOf(status.mode) !== 'dir') return undefined
    if (keys.has(keyOf(status))) return 'state'
    const isLogbook = [partsOfLogbook, partsOfState].some((parts) =>
      parts.every(([name, type]) => {
        const part = look(joinPath(path, rawFromString(name) as RawName))
        return part !== undefined && typeOf(part.mode) === type
      }),
    )
    return isLogbook ? 'logbook' : undefined
  }
  const known = new Map<RawPath, OwnFolder | undefined>([[rootPath, undefined]])
  return {
    holding(path) {
      const unknown: RawPath[] = []
      let at = path
      for (; !known.has(at); at = parentPath(at)) unknown.push(at)
      let found = known.get(at)
      for (const below of unknown.toReversed()) {
        const what = found ? undefined : kindOf(below)
        if (what !== undefined) found = { path: below, what }
        known.set(below, found)
      }
      return found
    },
  }
}
