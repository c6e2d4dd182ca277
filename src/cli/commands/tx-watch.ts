// `vml tx confirm` and `vml tx resume-watch`: a transaction that was committed on probation stays, or is taken back by itself.
import type { Logbook } from '../../app/open.ts'
import { requireRoot } from '../../app/system-logbook.ts'
import { openTransactionParts } from '../../app/transactions.ts'
import { beginWatch, claimWatches, confirmWatch, goOnWatching, type WatchRequest } from '../../app/watches.ts'
import { VmlError } from '../../base/failure.ts'
import type { TransactionParts } from '../../engine/end-stage.ts'
import type { StoredTransaction } from '../../engine/transaction-entry.ts'
import type { WatchEnd } from '../../engine/watch-transaction.ts'
import { type Context, defineCommand } from '../command.ts'
import { formatDuration } from '../format.ts'
import { shown } from '../options.ts'
import { parseDuration } from '../quantities.ts'
import { recoverFirst } from './tx-run.ts'

export const confirm = defineCommand({
  description:
    'Says that a transaction which vml tx run --confirm watches shall stay. Without it, it is taken back by itself when its time is over.',
  operands: [
    { name: 'ID', description: 'a transaction, by its number', required: true, complete: 'none' },
  ],
  options: {},
  examples: [
    { line: 'sudo vml tx confirm 7', does: 'keep the transaction #7' },
    { line: 'sudo vml tx confirm 7 --json', does: 'with a document for programs' },
    { line: 'sudo vml tx run --confirm --within 10m -- apt-get -y upgrade', does: 'what is confirmed by it' },
  ],
  async run(context, { operands: [typed = ''] }) {
    requireRoot('confirm a transaction')
    const number = /^#?(\d{1,15})$/.exec(typed)?.[1]
    if (number === undefined)
      throw new VmlError('usage', `Cannot take "${shown(typed)}" for a transaction: it is a number such as 7`)
    const logbook = await context.openSystemLogbook()
    await confirmWatch(openTransactionParts(context, logbook), Number(number))
    context.out.document({ schema: 1, number: Number(number), outcome: 'confirmed' })
    context.out.note(`#${number} stays`)
  },
})

export const resumeWatch = defineCommand({
  description:
    'Takes up watches of transactions (vml tx run --validate, --confirm) that nobody attends to any more, and returns when the last one has ended. systemd calls it after a start of the machine, where it runs; elsewhere whatever makes or takes back a transaction next takes up those whose time is over.',
  operands: [],
  options: {},
  examples: [
    { line: 'sudo vml tx resume-watch', does: 'go on watching after a start of the machine' },
    { line: 'sudo vml tx resume-watch --json', does: 'with a document for programs' },
    { line: 'sudo vml tx confirm 7', does: 'end the watch of #7, which stays' },
  ],
  async run(context) {
    requireRoot('watch transactions')
    const logbook = await context.openSystemLogbook()
    const parts = openTransactionParts(context, logbook)
    await recoverFirst(context, parts)
    const claimed = await claimWatches(parts, 'all')
    const ends = await Promise.all(
      claimed.map(async (number) => ({ number, end: await goOnWatching(context, logbook, parts, number) })),
    )
    context.out.document({ schema: 1, watches: ends.map(({ number, end }) => ({ number, outcome: end.kind })) })
    if (ends.length === 0) context.out.note('Nothing is to be watched')
    return Math.max(0, ...ends.map(({ number, end }) => tellEnd(context, number, end)))
  },
})

/** Of the options of `vml tx run`; undefined where nothing is to be watched. */
export function watchRequest(options: {
  readonly validate: string | undefined
  readonly within: string | undefined
  readonly confirm: boolean
}): WatchRequest | undefined {
  const { validate, within, confirm: isConfirmed } = options
  if (validate === undefined && !isConfirmed) {
    if (within === undefined) return undefined
    throw new VmlError('usage', 'Cannot watch for nothing: --within needs --validate or --confirm', {
      hint: 'vml tx run --validate "curl -fs localhost" --within 10m -- COMMAND',
    })
  }
  const withinMs = within === undefined ? withinMsDefault : parseDuration(within, '--within')
  if (withinMs <= 0 || withinMs > withinMsMax)
    throw new VmlError('usage', 'Cannot watch for that long: --within is more than nothing and at most 7d')
  return { command: validate, withinMs, confirm: isConfirmed }
}

const withinMsDefault = 10 * 60_000
/** Who does not look for a week relies on it. */
const withinMsMax = 7 * 24 * 3_600_000

/** Waits until its time is over. The status is not 0 where it did not stay. */
export async function watchIt(
  context: Context,
  logbook: Logbook,
  parts: TransactionParts,
  { transaction, request }: { readonly transaction: StoredTransaction; readonly request: WatchRequest },
): Promise<{ readonly status: number; readonly outcome: WatchEnd['kind'] }> {
  const { number, byItself } = await beginWatch(parts, transaction, request)
  const goesOn = byItself
    ? 'systemd goes on watching it'
    : `vml tx resume-watch goes on; vml tx confirm ${number} keeps it`
  context.whenCancelled(`#${number} is committed; ${goesOn}`)
  const what = request.confirm ? `taken back unless vml tx confirm ${number} comes` : 'watched'
  context.out.note(`#${number} is ${what} within ${formatDuration(request.withinMs)}`)
  const end = await goOnWatching(context, logbook, parts, number)
  return { status: tellEnd(context, number, end), outcome: end.kind }
}

/** Without systemd nobody takes up what was cut off: whoever comes next does, where its time is over. */
export async function endOverdueWatches(
  context: Context,
  logbook: Logbook,
  parts: TransactionParts,
): Promise<void> {
  for (const number of await claimWatches(parts, 'overdue'))
    tellEnd(context, number, await goOnWatching(context, logbook, parts, number))
}

const takenBackStatus = 1

function tellEnd({ out, reporter }: Context, number: number, end: WatchEnd): number {
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
      reporter.warn({ warning: `#${number} was to be taken back (${end.reason}), and could not be: ${end.why}` })
      return takenBackStatus
  }
}
