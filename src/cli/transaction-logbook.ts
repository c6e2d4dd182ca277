// Which logbook `vml tx` looks into: the one that was named for this call, else that of this machine.
import type { Logbook } from '../app/open.ts'
import { isSystemLogbook, systemLogbook } from '../app/system-logbook.ts'
import type { Context } from './command.ts'

/** The frame closes what it opens; the machine's own logbook is closed with the command. */
export async function openTransactionLogbook(context: Context): Promise<Logbook> {
  if (isNamed(context)) return await context.openLogbook()
  return await context.openSystemLogbook()
}

/** In a copy the numbers are others, and nothing can be taken back from it. */
export function isOwnLogbook(context: Context): boolean {
  return !isNamed(context) || isSystemLogbook(context.config.logbook?.value ?? systemLogbook)
}

function isNamed({ config: { logbook } }: Context): boolean {
  return logbook?.from.startsWith('--') === true
}
