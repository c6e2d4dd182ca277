// `vml tx hook`: what the hooks of apt and dpkg call; not for people.
import { readFileSync } from 'node:fs'
import { openTransactionParts, policyScriptOf, whoIsAtWork } from '../../app/transactions.ts'
import { yieldTried } from '../../app/tried.ts'
import { isFailure, messageOf, VmlError } from '../../base/failure.ts'
import { rawFromBytes, type RawText } from '../../base/raw-text.ts'
import { commitOrDiscard } from '../../engine/run-transaction.ts'
import { discardStage, lookAtStage } from '../../engine/end-stage.ts'
import { openStage, readOpenStage } from '../../engine/open-stage.ts'
import { parseHookCall } from '../../packages/hook-calls.ts'
import { refusedStatus } from '../../packages/hook-scripts.ts'
import { type Context, defineCommand, operand } from '../command.ts'
import { printRecorded } from '../print-transaction.ts'
import { recoverFirst } from './tx-run.ts'

export const hook = defineCommand({
  description:
    'Called by the hooks of apt and dpkg, which vml tx enable puts in place. Not to be called by hand.',
  operands: [{ ...operand('CALL', 'what apt or dpkg does, and which process it is'), many: true }],
  options: {},
  examples: [
    { line: 'vml tx hook begin 4711', does: 'a run of apt begins' },
    { line: 'vml tx hook end 4711', does: 'it has ended' },
    { line: 'vml tx hook redo-live 0001 1', does: 'what failed in the stage is done on the system' },
  ],
  async run(context, { operands }) {
    const call = parseHookCall(operands)
    switch (call.verb) {
      case 'begin':
        return await begin(context, call.pid)
      case 'end':
        return await end(context)
      case 'live':
      case 'dpkg-begin':
      case 'dpkg-end':
      case 'redo-live':
        throw new VmlError('unsupported', `Cannot record "${call.verb}" yet`)
    }
  },
})

async function begin(context: Context, processId: number): Promise<number> {
  const { config } = context
  try {
    const logbook = await context.openSystemLogbook({ make: true })
    const parts = openTransactionParts(context, logbook)
    const yielded = await yieldTried(parts)
    if (yielded !== undefined) context.out.note(`vml: ${yielded}`)
    await recoverFirst(context, parts)
    const command = commandOf(processId)
    const policy = policyScriptOf()
    await openStage(parts, {
      source: 'apt',
      title: command
        .map((word) => word.replaceAll(/\s+/g, ' '))
        .join(' ')
        .slice(0, titleCharactersMax),
      note: '',
      tags: [],
      command,
      user: whoIsAtWork(config),
      processId,
      ...(policy === undefined ? {} : { policy }),
    })
    return 0
  } catch (error) {
    // Another transaction is open: apt must not work beside it.
    if (!isFailure(error, 'store.locked')) throw error
    context.out.note(messageOf(error))
    return refusedStatus
  }
}

const titleCharactersMax = 200

async function end(context: Context): Promise<number> {
  const logbook = await context.openSystemLogbook({ make: true })
  const parts = openTransactionParts(context, logbook)
  const stage = readOpenStage(parts)
  if (stage === undefined) return 0
  try {
    const looked = await lookAtStage(parts, stage)
    const done = await commitOrDiscard(parts, looked, 0)
    if (done.kind === 'recorded') printRecorded(context.out, done.transaction)
    return 0
  } catch (error) {
    if (isFailure(error, 'conflict')) await discardStage(parts, stage)
    throw error
  }
}

function commandOf(processId: number): RawText[] {
  try {
    const words = rawFromBytes(readFileSync(`/proc/${processId}/cmdline`)).split('\0')
    return words.slice(0, -1).map((word) => rawFromBytes(Buffer.from(word, 'latin1')))
  } catch {
    return []
  }
}
