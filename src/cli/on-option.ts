// `--on MACHINE`: transactions of a machine over ssh, in the logbook here.
import type { Logbook } from '../app/open.ts'
import { transactionsOn } from '../app/remote-transactions.ts'
import { findMachine } from '../app/config.ts'
import { type ListedTransaction, listTransactions } from '../transaction/transactions.ts'
import { type Context, text } from './command.ts'
import { openTransactionLogbook } from './transaction-logbook.ts'

export const onOption = text('--on <machine>', 'a machine over ssh, instead of this one', 'machine')

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
