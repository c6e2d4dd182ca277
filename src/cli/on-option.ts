// `--on MACHINE`: transactions of a machine over ssh, in the logbook here.
import type { Logbook } from '../app/open.ts'
import { findMachine } from '../app/config.ts'
import { VmlError } from '../base/failure.ts'
import { type ListedTransaction, listTransactions, transactionsOn } from '../transaction/transactions.ts'
import { type Context, text } from './command.ts'
import { openTransactionLogbook } from './transaction-logbook.ts'

export const onOption = text('--on <machine>', 'a machine over ssh, instead of this one', 'machine')

/** Options that need VML on the machine itself. */
export function requireNoneOf(given: Readonly<Record<string, boolean>>): void {
  const found = Object.keys(given).find((name) => given[name])
  if (found === undefined) return
  throw new VmlError('usage', `Cannot take ${found} with --on: it needs VML on the machine itself`, {
    hint: 'Nothing was changed. Leave one of them away',
  })
}

/** Of the machine that is named, as the logbook here has them; else of this one. */
export async function listedOf(
  context: Context,
  machine: string | undefined,
): Promise<{ readonly logbook: Logbook; readonly listed: readonly ListedTransaction[] }> {
  const { signal, reporter } = context
  if (machine === undefined) {
    const logbook = await openTransactionLogbook(context)
    return { logbook, listed: await listTransactions(logbook, { signal, reporter }) }
  }
  findMachine(context.config, machine)
  const logbook = await context.openLogbook()
  return { logbook, listed: await transactionsOn(logbook, machine, context) }
}
