// What an undo needs beside the machine: contents from before, old packages, hooks of services.
import { rawFromString } from '../base/raw-text.ts'
import type { LoggedEntry } from '../engine/entries.ts'
import type { EntryId } from '../model/ids.ts'
import type { StateHook } from '../model/state-hook.ts'
import type { WantedPackage } from '../packages/package-sources.ts'
import { startedOf } from '../packages/services.ts'
import type { UndoRun } from '../transaction/run-undo.ts'
import { type ReadTransaction, readTransactionsOf } from '../transaction/transaction-entry.ts'
import { type ListedTransaction, transactionsHere } from '../transaction/transactions.ts'
import { machineSettings } from './machine-settings.ts'
import type { Logbook } from './open.ts'
import { ownNames } from './own-names.ts'
import { openRecordedContents } from './recorded-contents.ts'
import { listStateHooks } from './state-hooks.ts'
import { systemFolder } from './system-logbook.ts'
import type { TransactionContext } from './transaction-context.ts'
import { openTransactionParts, rootOfMachine, stopServicesBy, whoIsAtWork } from './transactions.ts'

export interface OpenUndo extends AsyncDisposable {
  readonly run: UndoRun
  /** How data of services goes from version to version. Fails with `usage` for a file of them with a mistake. */
  stateHooks(): readonly StateHook[]
  /** Exact versions of packages, as files that a stage sees until this is disposed of: see `fetchOldPackages`. */
  oldPackages(wanted: readonly WantedPackage[]): Promise<readonly string[]>
  /** Packages that a plan needs and no pool has, where services were not asked for them. */
  unasked(): readonly string[]
  readonly listed: readonly ListedTransaction[]
  /** Of other machines, in the logbook of this one. */
  readonly elsewhere: readonly LoggedEntry[]
}

export async function openUndoRun(
  context: TransactionContext,
  logbook: Logbook,
  command: readonly string[],
  /** Of this machine for certain, whatever it is called by now. */
  ids: ReadonlySet<EntryId> = new Set(),
): Promise<OpenUndo> {
  const parts = openTransactionParts(context, logbook)
  const own = { names: ownNames(context.config), ids }
  const { signal, reporter } = context
  const { listed, elsewhere } = await transactionsHere(logbook, own, { signal, reporter })
  let read: Promise<readonly ReadTransaction[]> | undefined
  const transactions = () =>
    (read ??= readTransactionsOf(
      logbook.repository,
      listed.map(({ entry }) => entry),
      context,
    ))
  const asking = { context, settings: machineSettings(context).settings, shell: parts.shell }
  const recorded = openRecordedContents({ asking, logbook, transactions, folder: systemFolder })
  const { clock } = context
  const run: UndoRun = {
    ...parts,
    contents: recorded.contents,
    user: whoIsAtWork(context.config),
    command: command.map(rawFromString),
    processId: process.pid,
    stopServices: async (units, onStop) => {
      onStop(await startedOf(parts.shell, units))
      return await stopServicesBy(parts.shell, units, clock)
    },
  }
  const stateHooks = () => listStateHooks(rootOfMachine)
  const owned = new AsyncDisposableStack()
  owned.use(recorded)
  const oldPackages = async (wanted: readonly WantedPackage[]) => {
    const { fetchOldPackages } = await import('./old-packages.ts')
    const found = owned.use(await fetchOldPackages(asking, wanted))
    return found.files
  }
  return {
    run,
    listed,
    elsewhere,
    stateHooks,
    oldPackages,
    unasked: () => recorded.unasked(),
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}
