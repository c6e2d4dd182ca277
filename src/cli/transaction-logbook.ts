// Which logbook `vml tx` looks into: the one that was named for this call, else that of this machine.
import type { Logbook } from '../app/open.ts'
import type { Context } from './command.ts'

/** The frame closes what it opens; the machine's own logbook is closed with the command. */
export async function openTransactionLogbook(context: Context): Promise<Logbook> {
  if (context.config.logbook?.from.startsWith('--')) return await context.openLogbook()
  return await context.openSystemLogbook()
}
