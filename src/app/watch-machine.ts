// `vml tx watch`: looks at the machine as long as it runs, soon after a change where the kernel tells of one.
import { watch } from 'node:fs'
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import type { TransactionParts } from '../transaction/end-stage.ts'
import { dueTier, type WatchRound, watchRound } from '../transaction/watch-round.ts'

/** Where most is changed by hand. The kernel's word is a hint only: it tells of no loss (tx.md 6). */
const hintFolder = '/etc'
const roundMs = 60_000
/** An editor writes a file in several steps. */
const quietMs = 2_000

/** Until it is cancelled. A round that failed is told, and the next one looks again. */
export async function watchMachine(
  parts: TransactionParts,
  { clock, reporter, signal }: { clock: Clock; reporter: Reporter; signal: AbortSignal },
  told: (round: WatchRound) => void,
): Promise<void> {
  let hinted = new AbortController()
  const watcher = watch(hintFolder, { recursive: true, persistent: false, signal }, () => hinted.abort())
  watcher.on('error', (error) =>
    reporter.warn({ warning: `Cannot watch ${hintFolder}: ${messageOf(error)}` }),
  )
  try {
    for (;;) {
      try {
        told(await watchRound(parts, dueTier(parts)))
      } catch (error) {
        signal.throwIfAborted()
        reporter.warn({ warning: messageOf(error) })
      }
      await clock.sleep(roundMs, { signal: AbortSignal.any([signal, hinted.signal]) }).catch(() => {})
      signal.throwIfAborted()
      if (!hinted.signal.aborted) continue
      await clock.sleep(quietMs, { signal })
      hinted = new AbortController()
    }
  } finally {
    watcher.close()
  }
}
