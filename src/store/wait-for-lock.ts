// Tries to take a lock again and again, for as long as was asked: a save beside it ends by itself.
import type { Clock } from '../base/clock.ts'
import { isFailure } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import type { HeldLock } from './lock.ts'

export interface WaitOptions {
  readonly waitMs: number
  readonly clock: Clock
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
}

const firstPauseMs = 500
const longestPauseMs = 10_000

/** The failure of the last try is the caller's. */
export async function waitForLock(
  take: () => Promise<HeldLock>,
  { waitMs, clock, reporter, signal }: WaitOptions,
): Promise<HeldLock> {
  const until = clock.now() + waitMs
  for (let pause = firstPauseMs; ; pause = Math.min(pause * 2, longestPauseMs)) {
    try {
      return await take()
    } catch (error) {
      const left = until - clock.now()
      if (!isFailure(error, 'store.locked') || left <= 0) throw error
      reporter.progress({ phase: 'waiting for the lock' })
      await clock.sleep(Math.min(left, pause), { signal })
    }
  }
}
