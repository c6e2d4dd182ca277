// What an earlier transaction left when it was cut off is mended before anything new begins.
import { recordKeepingOf } from '../app/record-keeping.ts'
import { messageOf } from '../base/failure.ts'
import type { TransactionParts } from '../transaction/end-stage.ts'
import { checkPins } from '../transaction/check-pins.ts'
import { openFolder } from '../transaction/workplace.ts'
import type { Context } from './command.ts'

export async function recoverFirst(context: Context, parts: TransactionParts): Promise<void> {
  // Most find nothing, and need not wait for what mends it to be imported.
  if (parts.disk.look(openFolder(parts))) await mend(context, parts)
  try {
    await checkPins(recordKeepingOf(parts))
  } catch (error) {
    // Whoever uses the logbook now is no reason to upgrade nothing; it is looked at again the next time.
    context.signal.throwIfAborted()
    context.reporter.warn({ warning: `Older records could not be checked: ${messageOf(error)}` })
  }
}

async function mend({ reporter }: Context, parts: TransactionParts): Promise<void> {
  const { dropOutlivedTried } = await import('../app/tried.ts')
  const { endEndedRpm } = await import('../app/rpm-runs.ts')
  const { describeRecovered, isLeftBehind, recoverStage } = await import('../transaction/recover-stage.ts')
  const outlived = await dropOutlivedTried(parts)
  if (outlived !== undefined) reporter.warn({ warning: outlived })
  await endEndedRpm(parts)
  if (!isLeftBehind(parts)) return
  const told = describeRecovered(await recoverStage(parts))
  if (told !== undefined) reporter.warn({ warning: told })
  const { tellAbandonedProbations } = await import('../app/probations.ts')
  await tellAbandonedProbations(parts)
}
