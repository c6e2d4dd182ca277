// `vml tx recover`: mends what a transaction left that was cut off.
import { endEndedRpm } from '../../app/rpm-runs.ts'
import { tellAbandonedProbations } from '../../app/probations.ts'
import { dropOutlivedTried } from '../../app/tried.ts'
import { openTransactionParts } from '../../app/transactions.ts'
import { sweepStores } from '../../transaction/open-stage.ts'
import { describeRecovered, recoverStage } from '../../transaction/recover-stage.ts'
import { workOn } from '../command-on.ts'
import { defineCommand, flag } from '../command.ts'
import { onOption } from '../on-option.ts'
import { printRecorded } from '../print-transaction.ts'

export const recover = defineCommand({
  description:
    'Mends what is left of a transaction that was cut off by a crash, a kill or a full disk: what was not being committed is thrown away, what was is committed and recorded. The next transaction does so by itself. Without VML, the script recover.sh in /var/lib/vml/stage/open/journal does it.',
  operands: [],
  options: {
    on: onOption,
    backward: flag('--backward', 'take back a commit that was cut off, instead of finishing it'),
  },
  examples: [
    { line: 'sudo vml tx recover', does: 'finish it, or throw it away' },
    { line: 'sudo vml tx recover --backward', does: 'take it back' },
    { line: 'vml tx recover --on lab', does: 'what was left on the machine lab, over ssh' },
    {
      line: 'sudo sh /var/lib/vml/stage/open/journal/recover.sh',
      does: 'the same without VML, as in a rescue system',
    },
  ],
  async run(context, { options }) {
    if (options.on !== undefined) {
      const { recoverOn } = await import('../run-on.ts')
      const { on, backward } = options
      return await workOn(context, on, async (named) => await recoverOn(named, on, backward))
    }
    const { out } = context
    const logbook = await context.openSystemLogbook({ make: true })
    const parts = openTransactionParts(context, logbook)
    const outlived = await dropOutlivedTried(parts)
    if (outlived !== undefined) context.reporter.warn({ warning: outlived })
    await endEndedRpm(parts)
    const recovered = await recoverStage(parts, { backward: options.backward })
    if (recovered.kind === 'nothing') await sweepStores(parts)
    out.document({ schema: 1, outcome: recovered.kind })
    out.note(describeRecovered(recovered) ?? 'Nothing was left behind')
    if (recovered.kind === 'recorded' && recovered.end.kind === 'recorded')
      printRecorded(out, recovered.end.transaction, { say: 'line' })
    await tellAbandonedProbations(parts)
  },
})
