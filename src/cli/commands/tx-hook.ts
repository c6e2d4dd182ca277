// `vml tx hook`: what the hooks of apt and dpkg call; not for people.
import { beginPackageRun, considerPlan, endPackageRun, goLive, redoLive } from '../../app/package-hooks.ts'
import { openTransactionParts, whoIsAtWork } from '../../app/transactions.ts'
import { yieldTried } from '../../app/tried.ts'
import { isFailure, messageOf } from '../../base/failure.ts'
import type { TransactionParts } from '../../engine/end-stage.ts'
import { type HookCall, parseHookCall } from '../../packages/hook-calls.ts'
import { refusedStatus } from '../../packages/hook-scripts.ts'
import { type Context, defineCommand, operand } from '../command.ts'
import { printRecorded } from '../print-transaction.ts'
import { recoverFirst } from './tx-run.ts'

export const hook = defineCommand({
  description:
    'Called by the hooks of apt and dpkg, which vml tx enable puts in place. Not to be called by hand.',
  operands: [
    operand('VERB', 'begin, plan, live, redo-live, end, dpkg-begin, dpkg-end'),
    { ...operand('PROCESS', 'of apt or dpkg; of redo-live the number of the call'), required: false },
    { ...operand('STATUS', 'that the call ended with'), required: false },
  ],
  options: {},
  examples: [
    { line: 'vml tx hook begin 4711', does: 'a run of apt begins' },
    { line: 'vml tx hook end 4711', does: 'it has ended' },
    { line: 'vml tx hook redo-live 0001 1', does: 'what failed in the stage is done on the system' },
  ],
  async run(context, { operands }) {
    const call = parseHookCall(operands.filter((word) => word !== undefined))
    const logbook = await context.openSystemLogbook({ make: true })
    const parts = openTransactionParts(context, logbook)
    try {
      return await answer(context, parts, call)
    } catch (error) {
      // Another transaction is open: nothing must change beside it.
      if (!isFailure(error, 'store.locked') || !beginnings.has(call.verb)) throw error
      context.out.note(`vml: ${messageOf(error)}${error.hint === undefined ? '' : `\n     ${error.hint}`}`)
      return refusedStatus
    }
  },
})

const beginnings: ReadonlySet<HookCall['verb']> = new Set(['begin', 'live', 'dpkg-begin'])

async function answer(context: Context, parts: TransactionParts, call: HookCall): Promise<number> {
  const { out } = context
  const tellLive = (reason: string) =>
    out.note(`vml: ${reason}. It is done again on the machine itself, and recorded live`)
  switch (call.verb) {
    case 'begin':
    case 'dpkg-begin': {
      const yielded = await yieldTried(parts)
      if (yielded !== undefined) out.note(`vml: ${yielded}`)
      await recoverFirst(context, parts)
      await beginPackageRun(parts, {
        source: call.verb === 'begin' ? 'apt' : 'dpkg',
        processId: call.pid,
        user: whoIsAtWork(context.config),
      })
      return 0
    }
    case 'plan': {
      const reason = await considerPlan(parts, call.pid)
      if (reason !== undefined) out.note(`vml: ${reason}. It is recorded live`)
      return 0
    }
    case 'live':
      await goLive(parts, call.pid)
      return 0
    case 'redo-live':
      return await redoLive(parts, call, tellLive)
    case 'end':
    case 'dpkg-end': {
      const done = await endPackageRun(parts, call.pid, tellLive)
      if (done?.end.kind === 'recorded') printRecorded(out, done.end.transaction)
      return done?.redoStatus ?? 0
    }
  }
}
