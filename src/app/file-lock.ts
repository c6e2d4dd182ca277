// A lock between processes of this computer: the kernel's own, so that it ends with the process that holds it.
import { DatabaseSync } from 'node:sqlite'
import { VmlError } from '../base/failure.ts'
import type { Clock } from '../base/clock.ts'

const waitMsMax = 10_000
const pollMs = 20

/**
 * Runs `work` while no other process is inside for the same path. SQLite's exclusive transaction on an empty database
 * is a portable fcntl lock: nothing is ever stale, and the file itself stays empty. `held` is what whoever has waited in vain is told.
 */
export async function withFileLock<Result>(
  path: string,
  clock: Clock,
  work: () => Promise<Result>,
  { waitMs = waitMsMax, held }: { readonly waitMs?: number; readonly held?: () => VmlError } = {},
): Promise<Result> {
  const database = new DatabaseSync(path)
  try {
    const started = clock.now()
    while (!tryLock(database)) {
      if (clock.now() - started >= waitMs)
        throw (
          held?.() ??
          new VmlError('store.locked', `Cannot take the lock ${path}: another vml has held it for 10 s`, {
            hint: 'Wait for the other vml to end, then repeat',
          })
        )
      await clock.sleep(pollMs)
    }
    return await work()
  } finally {
    database.close()
  }
}

function tryLock(database: DatabaseSync): boolean {
  try {
    database.exec('BEGIN EXCLUSIVE')
    return true
  } catch (error) {
    // SQLITE_BUSY (5), as https://sqlite.org/rescode.html lists it.
    if (error instanceof Error && 'errcode' in error && error.errcode === 5) return false
    throw error
  }
}
