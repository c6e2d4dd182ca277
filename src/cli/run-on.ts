// `vml tx run --on MACHINE` and `vml tx recover --on MACHINE`: the same as here, on a machine over ssh.
import { openRemoteParts } from '../app/remote-transactions.ts'
import { rawFromString } from '../base/raw-text.ts'
import { describeRemoteRecovered, recoverRemote } from '../transaction/remote-recover.ts'
import { runRemoteTransaction } from '../transaction/remote-run.ts'
import { commandRequest, type NamedCommand } from './command-transaction.ts'
import type { Context } from './command.ts'
import { openLogbookOn } from './on-option.ts'
import {
  countsText,
  describeRecorded,
  printKeptAllTheSame,
  printNothing,
  printNotKept,
  printRecorded,
} from './print-transaction.ts'

const failedStatus = 1

export interface RunOnOptions extends NamedCommand {
  readonly keepFailed: boolean
  readonly strict: boolean
}

export async function runOn(
  context: Context,
  name: string,
  words: readonly string[],
  options: RunOnOptions,
): Promise<number | void> {
  const { out, config } = context
  context.whenCancelled(
    `nothing was changed on ${name}; vml tx recover --on ${name} throws away what is left there`,
  )
  const logbook = await openLogbookOn(context, name)
  const parts = await openRemoteParts(context, logbook, name)
  const terminal = !out.json && process.stdin.isTTY && process.stdout.isTTY
  const outcome = await runRemoteTransaction(parts, commandRequest(config, words, options), {
    argv: words.map(rawFromString),
    isStrict: options.strict,
    attach: async (argv) =>
      await parts.attach(argv, { terminal, stdio: out.json ? ['inherit', 2, 2] : 'inherit' }),
    decide(exitStatus, changes) {
      if (exitStatus !== 0 && !options.keepFailed) return 'discard'
      context.whenCancelled(
        `the transaction is being committed: vml tx recover --on ${name} tells whether it was`,
      )
      const counts = countsText(changes)
      if (counts !== '') context.reporter.progress({ phase: `committing ${counts}` })
      return 'commit'
    },
  })
  if (outcome.kind !== 'recorded') {
    out.document({ schema: 1, machine: name, outcome: outcome.kind, exit_status: outcome.exitStatus })
    if (outcome.kind === 'nothing') return printNothing(out, outcome.exitStatus)
    printNotKept(out, outcome.exitStatus)
    return failedStatus
  }
  const { transaction } = outcome
  printRecorded(out, transaction, { machine: name, say: 'aside' })
  printKeptAllTheSame(out, outcome.exitStatus)
  out.document({
    schema: 1,
    machine: name,
    ...describeRecorded(transaction, outcome.exitStatus),
  })
}

export async function recoverOn(context: Context, name: string, backward: boolean): Promise<void> {
  const { out } = context
  const logbook = await openLogbookOn(context, name)
  const parts = await openRemoteParts(context, logbook, name)
  const recovered = await recoverRemote(parts, { backward })
  out.document({ schema: 1, machine: name, outcome: recovered.kind })
  out.note(describeRemoteRecovered(recovered, name))
  if (recovered.kind === 'recorded') printRecorded(out, recovered.transaction, { machine: name, say: 'line' })
}
