// What stands at a path of the machine now. A folder above that has become a link leads elsewhere: then nothing stands at the path itself.
import { parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import { statusAt, typeOf } from '../stage/fingerprint.ts'
import type { FileStatus } from '../wire/libc.ts'
import { inRoot, type Workplace } from './workplace.ts'

/** Whether a path is a folder, and no link to one; to be kept while nothing is changed. */
export type KnownFolders = Map<RawPath, boolean>

export function statusOfPath(
  place: Pick<Workplace, 'root' | 'libc'>,
  path: RawPath,
  known: KnownFolders = new Map(),
): FileStatus | undefined {
  if (!isFolder(place, parentPath(path), known)) return undefined
  return statusAt(place.libc, inRoot(place, path))
}

function isFolder(place: Pick<Workplace, 'root' | 'libc'>, path: RawPath, known: KnownFolders): boolean {
  if (path === rootPath) return true
  const before = known.get(path)
  if (before !== undefined) return before
  const status = statusOfPath(place, path, known)
  const found = status !== undefined && typeOf(status.mode) === 'dir'
  known.set(path, found)
  return found
}
