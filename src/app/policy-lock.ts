// Two runs of the policies at once would save the same machine twice: the second does nothing.
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { VmlError } from '../base/failure.ts'
import { makePrivateFolder } from '../base/files.ts'
import type { Config } from './config.ts'
import { withFileLock } from './file-lock.ts'

/** `store.locked` at once where another process of this user is inside. */
export async function withPolicyLock<Result>(
  { folders }: Config,
  clock: Clock,
  work: () => Promise<Result>,
): Promise<Result> {
  const folder = join(folders.state, 'policy')
  await makePrivateFolder(folder)
  return await withFileLock(join(folder, 'run.lock'), clock, work, {
    waitMs: 0,
    held: () =>
      new VmlError('store.locked', 'Another vml policy run is at work: this one did nothing', {
        hint: 'It does what is due. Run the command again when it has ended',
      }),
  })
}
