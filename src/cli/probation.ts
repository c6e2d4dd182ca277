// A transaction on probation: what `vml tx run` was asked to watch, and what becomes of it.
import type { Logbook } from '../app/open.ts'
import { beginProbation, claimProbations, goOnWithProbation } from '../app/probations.ts'
import { VmlError } from '../base/failure.ts'
import type { TransactionParts } from '../transaction/end-stage.ts'
import type { StoredTransaction } from '../transaction/transaction-entry.ts'
import type { ProbationEnd } from '../transaction/probation.ts'
import { commandCharactersMax, type ProbationRequest } from '../transaction/probation-note.ts'
import type { Context } from './command.ts'
import { formatDuration } from './format.ts'
import { parseDuration } from './quantities.ts'

/** Of the options of `vml tx run`; undefined where nothing is to be watched. */
export function probationRequest(options: {
  readonly validate: string | undefined
  readonly within: string | undefined
  readonly confirm: boolean
}): ProbationRequest | undefined {
  const { validate, within, confirm: isConfirmed } = options
  if (validate === undefined && !isConfirmed) {
    if (within === undefined) return undefined
    throw new VmlError('usage', 'Cannot watch for nothing: --within needs --validate or --confirm', {
      hint: 'vml tx run --validate "curl -fs localhost" --within 10m -- COMMAND',
    })
  }
  if (validate !== undefined && validate.trim() === '')
    throw new VmlError('usage', 'Cannot ask whether all is well: the command of --validate is empty', {
      hint: 'Nothing was changed. In a script the variable that should have it may not be set',
    })
  if (validate !== undefined && validate.length > commandCharactersMax)
    throw new VmlError(
      'usage',
      `Cannot ask a command of ${validate.length} characters: the limit is ${commandCharactersMax}`,
      { hint: 'Nothing was changed. Write it into a file, and give its path to --validate' },
    )
  const withinMs = within === undefined ? withinMsDefault : parseDuration(within, '--within')
  if (withinMs <= 0 || withinMs > withinMsMax)
    throw new VmlError('usage', 'Cannot watch for that long: --within is more than nothing and at most 7d')
  return { command: validate, withinMs, confirm: isConfirmed }
}

const withinMsDefault = 10 * 60_000
/** Who does not look for a week relies on it. */
const withinMsMax = 7 * 24 * 3_600_000

/** Waits until its time is over. The status is not 0 where it did not stay. */
export async function beginProbationOf(
  context: Context,
  logbook: Logbook,
  parts: TransactionParts,
  { transaction, request }: { readonly transaction: StoredTransaction; readonly request: ProbationRequest },
): Promise<{ readonly status: number; readonly outcome: ProbationEnd['kind'] }> {
  const { number, byItself } = await beginProbation(parts, transaction)
  const goesOn = byItself
    ? 'systemd goes on watching it'
    : `vml tx resume-probation goes on; vml tx confirm ${number} keeps it`
  context.whenCancelled(`#${number} is committed; ${goesOn}`)
  const what = request.confirm ? `taken back unless vml tx confirm ${number} comes` : 'watched'
  context.out.aside(`#${number} is ${what} within ${formatDuration(request.withinMs)}`)
  const end = await goOnWithProbation(context, logbook, parts, number, { waits: true })
  return { status: tellEnd(context, number, end), outcome: end.kind }
}

/** Without systemd nobody takes up what was cut off: whoever comes next does, where its time is over. */
export async function endOverdueProbations(
  context: Context,
  logbook: Logbook,
  parts: TransactionParts,
): Promise<void> {
  for (const number of await claimProbations(parts, 'overdue'))
    tellEnd(context, number, await goOnWithProbation(context, logbook, parts, number, { waits: false }))
}

const takenBackStatus = 1

/** Gives the exit status. */
export function tellEnd({ out, reporter }: Context, number: number, end: ProbationEnd): number {
  switch (end.kind) {
    case 'confirmed':
      out.note(`#${number} is confirmed, and stays`)
      return 0
    case 'passed':
      out.note(`#${number} stood its time, and stays`)
      return 0
    case 'undone':
      reporter.warn({ warning: `#${number} was taken back: ${end.reason}` })
      return takenBackStatus
    case 'gave up':
      reporter.warn({
        warning: `#${number} was to be taken back (${end.reason}), and could not be: ${end.why}`,
      })
      return takenBackStatus
    case 'later':
      reporter.warn({
        warning: `#${number} is to be taken back (${end.reason}), and could not be yet: ${end.why}. Whatever makes or takes back a transaction next does it, or vml tx resume-probation`,
      })
      return takenBackStatus
  }
}
