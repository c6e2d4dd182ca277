// Keeps apt, dpkg, dnf and rpm out while a transaction changes what is theirs.
import { isFailure, VmlError } from '../base/failure.ts'
import { openPackageSystems } from '../packages/all-systems.ts'
import type { PackageSystem } from '../packages/package-system.ts'
import type { TransactionContext } from './transaction-context.ts'
import { rootOfMachine } from './transactions.ts'

type Waiting = Pick<TransactionContext, 'clock' | 'signal' | 'reporter'>

/** Of every package system that the machine has. `store.locked` when the wait was in vain. */
export async function keepPackagesOut(
  { clock, signal, reporter }: Waiting,
  waitMs?: number,
  isMeant: (system: PackageSystem) => boolean = () => true,
): Promise<AsyncDisposable> {
  await using locks = new AsyncDisposableStack()
  for (const system of openPackageSystems()) {
    if (!isMeant(system) || !system.isThere(rootOfMachine)) continue
    const lock = await system
      .lock({
        clock,
        signal,
        ...(waitMs === undefined ? {} : { waitMs }),
        onWait: ({ pid }) =>
          reporter.progress({
            phase: `waiting for process ${pid}, which holds the lock of ${system.manager}`,
          }),
      })
      .catch(nothingChanged)
    locks.use(lock)
  }
  return locks.move()
}

/**
 * While what was done in a stage is committed and recorded: what came into rpm's database meanwhile would be taken for a part of it. Of dpkg every record has
 * its own files before and after.
 */
export async function keepRpmOut(context: Waiting): Promise<AsyncDisposable> {
  return await keepPackagesOut(context, commitWaitMs, ({ manager }) => manager === 'rpm')
}

/** Another rpm that is under way; it waits as long for us. */
const commitWaitMs = 120_000

/** `unsupported` where the machine has no package system. */
export async function requirePackagesOut(context: Waiting, waitMs?: number): Promise<AsyncDisposable> {
  if (!openPackageSystems().some((system) => system.isThere(rootOfMachine)))
    throw new VmlError(
      'unsupported',
      'Cannot record what package managers do: this machine has neither dpkg nor rpm',
    )
  return await keepPackagesOut(context, waitMs)
}

function nothingChanged(error: unknown): never {
  if (!isFailure(error, 'store.locked')) throw error
  const { code, message, details, hint } = error
  throw new VmlError(code, message, { cause: error, details, hint: `Nothing was changed. ${hint ?? ''}` })
}
