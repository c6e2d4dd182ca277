// `vml tx check`: whether what the records need is there: pins of deltas by their content, then the budget.
import { recordKeepingOf } from '../../app/record-keeping.ts'
import { openTransactionParts } from '../../app/transactions.ts'
import { checkPins } from '../../transaction/check-pins.ts'
import { entryName } from '../../engine/entries.ts'
import { type ListedTransaction, listTransactions } from '../../transaction/transactions.ts'
import { isDropped } from '../../model/transaction-record.ts'
import { defineCommand } from '../command.ts'
import { plural } from '../format.ts'
import { budgetOption, requireBudget } from '../transaction-budget.ts'

const incompleteStatus = 1
const namesMax = 20

export const check = defineCommand({
  description:
    'Checks whether every transaction that says that it can be taken back can: reads each file that stands for an older one, by its content. What is lost is marked so at once, in every list; the status is 1 where something was found that was not known before. Then the budget is seen to. The logbook itself is checked by vml check.',
  operands: [],
  options: { budget: budgetOption },
  examples: [
    {
      line: 'sudo vml tx check --budget 500M',
      does: 'and let the oldest go until all take no more than that',
    },
    { line: 'sudo vml tx check', does: 'check all of them' },
    { line: 'sudo vml tx check --json', does: 'for programs' },
    { line: 'sudo vml check --logbook /var/lib/vml/logbook --read-data', does: 'what lies in the logbook' },
  ],
  async run(context, { options }) {
    const { out, signal, reporter } = context
    context.whenCancelled('what was found is marked; nothing else was changed')
    const logbook = await context.openSystemLogbook()
    const parts = openTransactionParts({ ...context, budget: requireBudget(options.budget) }, logbook)
    const found = await checkPins(recordKeepingOf(parts), { all: true })
    await parts.afterRecord?.()
    const listed = await listTransactions(logbook, { signal, reporter })
    const incomplete = listed.filter(({ document }) => !document.complete && !isDropped(document))
    const dropped = listed.filter(({ document }) => isDropped(document))
    const numbers = (some: typeof listed) => some.map(({ entry }) => entry.number ?? null)
    out.document({
      schema: 1,
      transactions: listed.length,
      found,
      incomplete: numbers(incomplete),
      dropped: numbers(dropped),
    })
    out.line(
      [
        plural(listed.length, 'transaction'),
        incomplete.length === 0
          ? 'none lacks anything'
          : `${incomplete.length} incomplete: ${namesOf(incomplete)}`,
        ...(dropped.length === 0 ? [] : [`${dropped.length} without pre-images, for the budget`]),
      ].join('; '),
    )
    if (incomplete.length > 0) out.note('vml tx show tells of each what cannot be had')
    out.note(
      'What lies in the logbook itself was not read: vml check --logbook /var/lib/vml/logbook --read-data does that',
    )
    // What was known before is named each time; the status says whether something came to it.
    return found === 0 ? 0 : incompleteStatus
  },
})

function namesOf(listed: readonly ListedTransaction[]): string {
  const names = listed.slice(0, namesMax).map(({ entry }) => entryName(entry))
  const left = listed.length - names.length
  return `${names.join(', ')}${left > 0 ? ` and ${left} more` : ''}`
}
