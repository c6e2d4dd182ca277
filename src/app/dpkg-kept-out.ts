// Keeps apt and dpkg out while a transaction changes what is theirs.
import { existsSync } from 'node:fs'
import { type DpkgLocks, takeDpkgLocks } from '../packages/dpkg-locks.ts'
import type { TransactionContext } from './transactions.ts'

/** Undefined where the machine has no dpkg. `store.locked` when the wait was in vain. */
export async function keepDpkgOut(
  { clock, signal, reporter }: TransactionContext,
  waitMs?: number,
): Promise<DpkgLocks | undefined> {
  if (!existsSync('/var/lib/dpkg')) return undefined
  return await takeDpkgLocks({
    clock,
    signal,
    ...(waitMs === undefined ? {} : { waitMs }),
    onWait: ({ pid }) =>
      reporter.progress({ phase: `waiting for process ${pid}, which holds the lock of dpkg` }),
  })
}
