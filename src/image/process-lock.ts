// A lock between processes that ends with the process that holds it: SQLite's lock on an empty file.
// A file with a process number would have to be judged stale, and two judges can both be right.
import { DatabaseSync } from 'node:sqlite'
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/failure.ts'

const pollMs = 100

/**
 * Waits until nobody else holds the lock at `path`, in this process or another. The empty file stays where it is.
 * Nothing else may open that file: POSIX gives up a process's locks when it closes any descriptor of it.
 */
export async function takeLock(
  path: string,
  { clock, signal, onWait }: { clock: Clock; signal?: AbortSignal | undefined; onWait?: () => void },
): Promise<Disposable> {
  for (let tries = 0; ; tries++) {
    signal?.throwIfAborted()
    const lock = tryLock(path)
    if (lock !== undefined) return lock
    if (tries === 0) onWait?.()
    await clock.sleep(pollMs, { signal })
  }
}

function tryLock(path: string): Disposable | undefined {
  const database = new DatabaseSync(path, { timeout: 0 })
  try {
    database.exec('BEGIN EXCLUSIVE')
    return { [Symbol.dispose]: () => database.close() }
  } catch (error) {
    database.close()
    if (/\b(?:locked|busy)\b/.test(messageOf(error))) return undefined
    throw error
  }
}
