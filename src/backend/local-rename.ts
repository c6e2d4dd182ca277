// How a file of a repository gets its name where the file system has no hard links (FAT, some network ones): a rename would replace another one.
import { lstat, open, rename, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { absent } from './disk-failure.ts'
import { claimName } from './temporary-name.ts'

/**
 * What is named for its content is the same where two write it at once. Not so the config: of those that would write one, one at a time
 * looks and renames. `acceptSame` is called where a file of that name is there.
 */
export async function renameNew(
  temporary: string,
  target: string,
  acceptSame: () => Promise<void>,
): Promise<void> {
  const claim = basename(target) === 'config' ? await claimConfig(dirname(target)) : undefined
  try {
    if (await lstat(target).catch(absent)) await acceptSame()
    else await rename(temporary, target)
  } finally {
    if (claim !== undefined) await unlink(claim).catch(() => {})
  }
}

const claimWaitMsMax = 5000
const claimPollMs = 50

async function claimConfig(folder: string): Promise<string> {
  const claim = join(folder, 'tmp', claimName)
  for (let waitedMs = 0; waitedMs < claimWaitMsMax; waitedMs += claimPollMs) {
    try {
      await (await open(claim, 'wx', 0o600)).close()
      return claim
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST') throw error
    }
    await sleep(claimPollMs)
  }
  throw new VmlError('exists', `Cannot write a config: another program is at it, by "${claim}"`, {
    hint: 'Where none is, one was killed at it: remove that file, or wait an hour',
  })
}
