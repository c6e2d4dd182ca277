// What a failure of this host's file system means to somebody who writes to it or reads from it.
import { explainDenied } from '../base/denied.ts'
import { messageOf, systemErrorCode, VmlError } from '../base/failure.ts'

/** `action` is what could not be done: "write "/a/b"". */
export async function explained<T>(action: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task()
  } catch (error) {
    throw explainDiskFailure(action, error)
  }
}

/** What is no failure of the system stays as it is. */
export function explainDiskFailure(action: string, error: unknown): unknown {
  const code = systemErrorCode(error)
  if (error instanceof VmlError || code === undefined) return error
  const denied = explainDenied(error, action)
  if (denied) return denied
  const options = { cause: error, details: { code } }
  if (code === 'ENOTDIR')
    return new VmlError('not-found', `Cannot ${action}: what should be a folder is a file`, options)
  if (code === 'ENOENT') return new VmlError('not-found', `Cannot ${action}: no such file`, options)
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new VmlError('unavailable.space', `Cannot ${action}: no space is left`, {
      ...options,
      hint: 'Free space there by other means, since even vml rm and vml prune need a little, and run the command again: what was stored so far is reused',
    })
  }
  if (code === 'ESTALE' || code === 'ETIMEDOUT' || code === 'EHOSTDOWN' || code === 'ENOTCONN')
    return new VmlError('unavailable.network', `Cannot ${action}: ${messageOf(error)}`, options)
  return new VmlError('failed', `Cannot ${action}: ${messageOf(error)}`, options)
}

/** For a `catch`: undefined where there is no such file. */
export function absent(error: unknown): undefined {
  if (systemErrorCode(error) !== 'ENOENT') throw error
  return undefined
}
