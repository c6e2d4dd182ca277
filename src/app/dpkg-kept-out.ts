// Keeps apt and dpkg out while a transaction changes what is theirs.
import { existsSync } from 'node:fs'
import { isFailure, VmlError } from '../base/failure.ts'
import { type DpkgLocks, takeDpkgLocks } from '../packages/dpkg-locks.ts'
import type { TransactionContext } from './transactions.ts'

/** Undefined where the machine has no dpkg. `store.locked` when the wait was in vain. */
export async function keepDpkgOut(
  context: TransactionContext,
  waitMs?: number,
): Promise<DpkgLocks | undefined> {
  return existsSync('/var/lib/dpkg') ? await requireDpkgOut(context, waitMs) : undefined
}

/** `unsupported` where the machine has no dpkg. */
export async function requireDpkgOut(
  { clock, signal, reporter }: Pick<TransactionContext, 'clock' | 'signal' | 'reporter'>,
  waitMs?: number,
): Promise<DpkgLocks> {
  return await takeDpkgLocks({
    clock,
    signal,
    ...(waitMs === undefined ? {} : { waitMs }),
    onWait: ({ pid }) =>
      reporter.progress({ phase: `waiting for process ${pid}, which holds the lock of dpkg` }),
  }).catch(nothingChanged)
}

function nothingChanged(error: unknown): never {
  if (!isFailure(error, 'store.locked')) throw error
  const { code, message, details, hint } = error
  throw new VmlError(code, message, { cause: error, details, hint: `Nothing was changed. ${hint ?? ''}` })
}
