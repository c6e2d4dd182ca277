// The folder of a path, held open for one call: who may rename a folder above it cannot lead that call elsewhere.
import { constants } from 'node:fs'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { asRaw, printable, type RawText } from '../base/raw-text.ts'
import { type FolderHandle, here, type Libc, openPathOnly } from '../wire/libc.ts'

const folderFlags = openPathOnly | constants.O_DIRECTORY
/** Of who but root may put a link in the place of another thing in a folder. */
const othersMayWrite = 0o022

/**
 * A commit writes as root, also below folders of users and services, and its paths have no links: one on the way was put there since. Only where
 * root alone could have put it is it followed, as in `/var` that leads to another disk.
 */
export function inHeldFolder<Result>(
  libc: Libc,
  path: RawText,
  act: (folder: FolderHandle, name: RawText) => Result,
): Result {
  const slash = path.lastIndexOf('/')
  const above = asRaw(path.slice(0, slash) || '/')
  const folder = openAtOnce(libc, above) ?? openStepwise(libc, above)
  try {
    return act(folder, asRaw(path.slice(slash + 1) || '.'))
  } finally {
    libc.close(folder)
  }
}

/** Undefined where the kernel cannot do it, or found a link. */
function openAtOnce(libc: Libc, path: RawText): FolderHandle | undefined {
  try {
    return libc.openWithoutLinks(path, folderFlags)
  } catch (error) {
    if (['ELOOP', 'ENOSYS', 'EPERM'].includes(systemErrorCode(error) ?? '')) return undefined
    throw error
  }
}

function openStepwise(libc: Libc, path: RawText): FolderHandle {
  let at = libc.openAt(here, asRaw('/'), folderFlags)
  for (const name of path.split('/').filter((part) => part !== '')) {
    try {
      const next = openNext(libc, { at, name: asRaw(name), path })
      libc.close(at)
      at = next
    } catch (error) {
      libc.close(at)
      throw error
    }
  }
  return at
}

function openNext(
  libc: Libc,
  { at, name, path }: { readonly at: FolderHandle; readonly name: RawText; readonly path: RawText },
): FolderHandle {
  try {
    return libc.openAt(at, name, folderFlags | constants.O_NOFOLLOW)
  } catch (error) {
    if (!['ELOOP', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) throw error
  }
  const { uid, mode } = libc.statOf(at)
  if (uid === 0 && (mode & othersMayWrite) === 0) return libc.openAt(at, name, folderFlags)
  throw new VmlError(
    'conflict',
    `Cannot change what lies in "${printable(path)}": "${printable(name)}" on the way is no folder any more`,
  )
}
