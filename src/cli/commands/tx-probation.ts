// `vml tx confirm` and `vml tx resume-probation`: a transaction that was committed on probation stays, or is taken back by itself.
import { requireRoot } from '../../app/system-logbook.ts'
import type { Logbook } from '../../app/open.ts'
import { openTransactionParts } from '../../app/transactions.ts'
import { claimProbations, confirmProbation, goOnWithProbation } from '../../app/probations.ts'
import { isFailure, VmlError } from '../../base/failure.ts'
import { entryName } from '../../engine/entries.ts'
import { findTransaction, listTransactions } from '../../transaction/transactions.ts'
import { type Context, defineCommand } from '../command.ts'
import { shown } from '../options.ts'
import { tellEnd } from '../probation.ts'
import { recoverFirst } from '../recover-first.ts'

export const confirm = defineCommand({
  description:
    'Says that a transaction which vml tx run --confirm watches shall stay. Without it, it is taken back by itself when its time is over.',
  operands: [{ name: 'ID', description: 'a transaction, by its number', required: true, complete: 'none' }],
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
    await requireInForce(context, logbook, Number(number))
    await confirmProbation(openTransactionParts(context, logbook), Number(number)).catch(
      async (error: unknown) => {
        if (isFailure(error, 'not-found'))
          findTransaction({ listed: await listTransactions(logbook, context) }, number)
        throw error
      },
    )
    context.out.document({ schema: 1, number: Number(number), outcome: 'confirmed' })
    context.out.note(`#${number} stays`)
  },
})

/** Taken back by hand meanwhile, it does not stay whatever somebody says. */
async function requireInForce(context: Context, logbook: Logbook, number: number): Promise<void> {
  const listed = await listTransactions(logbook, context)
  const undoneBy = listed.find(({ entry }) => entry.number === number)?.undoneBy
  if (undoneBy)
    throw new VmlError('conflict', `Cannot confirm #${number}: ${entryName(undoneBy)} has taken it back`, {
      hint: `Nothing was changed. To bring it back: vml tx redo ${number}`,
    })
}

export const resumeProbation = defineCommand({
  description:
    'Takes up watches of transactions (vml tx run --validate, --confirm) that nobody attends to any more, and returns when the last one has ended. systemd calls it after a start of the machine, where it runs; elsewhere whatever makes or takes back a transaction next takes up those whose time is over.',
  operands: [],
  options: {},
  examples: [
    { line: 'sudo vml tx resume-probation', does: 'go on watching after a start of the machine' },
    { line: 'sudo vml tx resume-probation --json', does: 'with a document for programs' },
    { line: 'sudo vml tx confirm 7', does: 'end the watch of #7, which stays' },
  ],
  async run(context) {
    requireRoot('watch transactions')
    const logbook = await context.openSystemLogbook()
    const parts = openTransactionParts(context, logbook)
    await recoverFirst(context, parts)
    const claimed = await claimProbations(parts, 'all')
    const ends = await Promise.all(
      claimed.map(async (number) => ({
        number,
        end: await goOnWithProbation(context, logbook, parts, number, { waits: true }),
      })),
    )
    context.out.document({
      schema: 1,
      watches: ends.map(({ number, end }) => ({ number, outcome: end.kind })),
    })
    if (ends.length === 0) context.out.note('Nothing is to be watched')
    return Math.max(0, ...ends.map(({ number, end }) => tellEnd(context, number, end)))
  },
})
