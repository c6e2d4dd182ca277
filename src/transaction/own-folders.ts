// Whether a path of the machine as it is now leads into VML's own folder, by whatever name.
import { systemErrorCode } from '../base/failure.ts'
import { callPathBytesMax, parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import { statusAt } from '../stage/fingerprint.ts'
import { planMountsNow } from './open-stage.ts'
import { inRoot, type Workplace } from './workplace.ts'

export interface OwnFolders {
  /** The folder of VML's, by the path that was asked for, that it is or lies in. To be asked while nothing is mounted or moved. */
  holding(path: RawPath): RawPath | undefined
}

/** By the table of mounts, and by what each folder above a path is: device and inode. */
export function openOwnFolders(place: Workplace): OwnFolders {
  const planned = planMountsNow(place, { live: true })
  const own = new Set(planned.kind === 'stage' ? planned.plan.hidden : planned.view.own)
  const keyAt = (path: RawPath): string | undefined => {
    try {
      const status = statusAt(place.libc, inRoot(place, path))
      return status && `${status.deviceId} ${status.inode}`
    } catch (error) {
      // Below a link that leads to itself nothing is.
      if (systemErrorCode(error) === 'ELOOP') return undefined
      throw error
    }
  }
  const keys = new Set([...own].map(keyAt).filter((key) => key !== undefined))
  // What no call reaches can be no folder of VML's, but may lie in one.
  const isOne = (path: RawPath): boolean =>
    own.has(path) || (inRoot(place, path).length <= callPathBytesMax && keys.has(keyAt(path) ?? ''))
  const known = new Map<RawPath, RawPath | undefined>([[rootPath, undefined]])
  return {
    holding(path) {
      const unknown: RawPath[] = []
      let at = path
      for (; !known.has(at); at = parentPath(at)) unknown.push(at)
      let found = known.get(at)
      for (const below of unknown.toReversed()) {
        if (found === undefined && isOne(below)) found = below
        known.set(below, found)
      }
      return found
    },
  }
}
