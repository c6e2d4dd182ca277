// `--on MACHINE`: transactions of a machine over ssh, in the logbook here.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Logbook } from '../app/open.ts'
import { ownNames } from '../app/own-names.ts'
import { isSystemLogbook, systemFolder, systemLogbook } from '../app/system-logbook.ts'
import { findMachine, type Setting } from '../app/config.ts'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import type { LoggedEntry } from '../engine/entries.ts'
import {
  type ListedTransaction,
  listTransactions,
  transactionsHere,
  transactionsOn,
} from '../transaction/transactions.ts'
import { type Context, text } from './command.ts'
import { tellLeftBehind } from './left-behind.ts'
import type { ProbationOf } from './probation-state.ts'
import { isOwnLogbook, openTransactionLogbook } from './transaction-logbook.ts'

export const onOption = text('--on <machine>', 'a machine over ssh, instead of this one', 'machine')

/** Options that cannot be had over ssh, with what does their work there. */
const notThere = {
  '--live': 'a command that needs the running system is run on the machine itself: vml tx run --live there',
  '--validate':
    'ask the machine afterwards, and take it back where it is not well: vml tx undo ID --on MACHINE',
  '--within': 'it goes with --validate',
  '--confirm': 'take it back if it is not what you wanted: vml tx undo ID --on MACHINE',
  '--budget':
    'records of other machines stay in your logbook until you remove them: vml rm ID, then vml prune',
  '--scripts':
    'run what the scripts shall do as a transaction: vml tx run --on MACHINE -- apt-get install NAME=VERSION',
}

export function requireNoneOf(given: { readonly [name in keyof typeof notThere]?: boolean }): void {
  for (const [name, instead] of Object.entries(notThere)) {
    if (!Object.entries(given).some(([one, isGiven]) => one === name && isGiven)) continue
    throw new VmlError('usage', `Cannot take ${name} with --on`, {
      hint: `Nothing was changed. Leave it away; ${instead}`,
    })
  }
}

/** Of the machine that is named, as the logbook here has them; else of this one. */
export async function listedOf(
  context: Context,
  machine: string | undefined,
): Promise<{
  readonly logbook: Logbook
  readonly listed: readonly ListedTransaction[]
  /** Of other machines, in the logbook of this one. */
  readonly elsewhere: readonly LoggedEntry[]
  readonly probationOf: ProbationOf
}> {
  const { config, signal, reporter } = context
  const rest = { elsewhere: [], probationOf: nobody }
  if (machine === undefined) {
    const logbook = await openTransactionLogbook(context)
    if (!isOwnLogbook(context))
      return { logbook, listed: await listTransactions(logbook, { signal, reporter }), ...rest }
    const here = await transactionsHere(logbook, { names: ownNames(config) }, { signal, reporter })
    await tellLeftBehind(context)
    return { logbook, ...here, probationOf: await probationsHere() }
  }
  findMachine(config, machine)
  requireNamed(context, machine)
  const logbook = await context.openLogbook()
  return { logbook, listed: await transactionsOn(logbook, machine, context), ...rest }
}

/** Where transactions of a machine over ssh are recorded. By its number one among this machine's own would be taken for one of them. */
export async function openLogbookOn(context: Context, machine: string): Promise<Logbook> {
  const { value } = requireNamed(context, machine)
  if (!isSystemLogbook(value)) return await context.openLogbook()
  throw new VmlError(
    'usage',
    `Cannot use ${systemLogbook} for ${machine}: it has the transactions of this machine alone`,
    { hint: `Nothing was changed. ${howToHaveOne}` },
  )
}

function requireNamed({ config: { logbook } }: Context, machine: string): Setting<string> {
  if (logbook) return logbook
  throw new VmlError(
    'store.missing',
    `Cannot tell which logbook is for transactions of ${machine}: none is configured`,
    { hint: `Nothing was changed. ${howToHaveOne}` },
  )
}

const howToHaveOne =
  'Make one of your own once, with vml init DIR, or name it with --logbook DIR or VML_LOGBOOK'

/** Most machines have none, and no list waits for what reads them to be imported. */
async function probationsHere(): Promise<ProbationOf> {
  if (!hasFiles(join(systemFolder, 'probation'))) return nobody
  const { readProbationsHere } = await import('./probations-here.ts')
  return await readProbationsHere()
}

function hasFiles(folder: string): boolean {
  try {
    return readdirSync(folder).length > 0
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false
    throw error
  }
}

/** Only this machine's own transactions are watched. */
function nobody(): undefined {
  return undefined
}
