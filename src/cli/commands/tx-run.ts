// `vml tx run -- COMMAND`: makes a transaction of any command.
import { keepRpmOut } from '../../app/packages-kept-out.ts'
import { openTransactionParts } from '../../app/transactions.ts'
import { requireRecording, requireRoot, requireWritable } from '../../app/system-logbook.ts'
import { isFailure, messageOf, VmlError } from '../../base/failure.ts'
import { runLive } from '../../transaction/run-live.ts'
import { runTransaction } from '../../transaction/run-transaction.ts'
import { requirePassed } from '../../transaction/stage-checks.ts'
import { workOn } from '../command-on.ts'
import { defineCommand, flag, text, texts } from '../command.ts'
import { budgetOption, requireBudget } from '../transaction-budget.ts'
import {
  countsText,
  describeRecorded,
  printKeptAllTheSame,
  printNothing,
  printNotKept,
  printRecorded,
} from '../print-transaction.ts'
import { endOverdueProbations, beginProbationOf, probationRequest } from '../probation.ts'
import { commandOperand, commandTransaction } from '../command-transaction.ts'
import { onOption, requireNoneOf } from '../on-option.ts'
import { recoverFirst } from '../recover-first.ts'

export const command = defineCommand({
  description:
    'Runs a command, as root, in a stage: the machine is not touched while it runs, but for /tmp, /var/tmp, /run and /var/log, which are the real ones. When it has ended well, exactly what it changed is committed in one step and recorded, so that it can be taken back alone, now or later. When it fails, nothing of it is kept.',
  operands: [commandOperand],
  options: {
    on: onOption,
    message: text('-m, --message <title>', 'what it is for (default: the command)'),
    budget: budgetOption,
    tag: texts('--tag <tag>', 'mark the transaction', 'tag'),
    live: flag(
      '--live',
      'run it on the machine itself, without a stage: what it changes is recorded all the same',
    ),
    strict: flag('--strict', 'commit nothing where a check does not pass'),
    validate: text(
      '--validate <command>',
      'ask this command for a while whether all is well; else take it back',
    ),
    within: text('--within <time>', 'for so long, such as 10m (the default)'),
    confirm: flag('--confirm', 'take it back unless vml tx confirm comes within that time'),
    keepFailed: flag('--keep-failed', 'commit what it changed even if it ends with another status than 0'),
  },
  examples: [
    { line: 'vml tx run -- apt-get install -y joe', does: 'install a package' },
    { line: 'vml tx run -m "tool from source" -- make install', does: 'any command, with a title' },
    { line: 'vml tx run --live -- ./install.sh', does: 'one that needs the running system' },
    {
      line: 'vml tx run --validate "systemctl is-active nginx" --within 10m -- apt-get -y upgrade',
      does: 'taken back by itself if nginx does not stay up',
    },
    { line: 'vml tx run --on lab --strict -- apt-get -y upgrade', does: 'on the machine lab, over ssh' },
    { line: 'vml tx run -- sh', does: 'a shell: what is done in it until it ends is one transaction' },
  ],
  async run(context, { operands, options }) {
    const [program] = operands
    if (program === undefined)
      throw new VmlError('usage', 'Cannot make a transaction of nothing', { hint: 'vml tx run -- COMMAND' })
    requireRecording(context.config, 'make a transaction')
    if (options.on !== undefined) {
      const { live, validate, within, confirm, budget } = options
      requireNoneOf({
        '--live': live,
        '--validate': validate !== undefined,
        '--within': within !== undefined,
        '--confirm': confirm,
        '--budget': budget !== undefined,
      })
      const { runOn } = await import('../run-on.ts')
      const { on } = options
      return await workOn(context, on, async (named) => await runOn(named, on, operands, options))
    }
    requireRoot('make a transaction')
    requireWritable('make a transaction')
    const watched = probationRequest(options)
    if (options.live && options.strict)
      throw new VmlError('usage', 'Cannot take --live and --strict at once: checks are made in a stage', {
        hint: 'Nothing was changed. With --validate it is asked afterwards whether all is well',
      })
    const { out } = context
    context.whenCancelled('nothing was changed')
    const logbook = await context.openSystemLogbook({ make: true })
    const parts = openTransactionParts({ ...context, budget: requireBudget(options.budget) }, logbook)
    await recoverFirst(context, parts)
    await endOverdueProbations(context, logbook, parts)
    const { request: asked, run } = commandTransaction(context, operands, options)
    const request = { ...asked, ...(watched ? { probation: watched } : {}) }
    const runOutside = async (reason: string) => {
      context.whenCancelled(
        'what was changed until then is recorded by the next transaction, or vml tx recover',
      )
      return await runLive(parts, request, run, reason)
    }
    await using locks = new AsyncDisposableStack()
    const outcome = options.live
      ? await runOutside('--live was given')
      : await runTransaction(parts, request, run, async ({ exitStatus, looked, check }) => {
          if (exitStatus !== 0 && !options.keepFailed) return 'discard'
          if (options.strict) requirePassed(await check())
          locks.use(await keepRpmOut(context))
          context.whenCancelled('the transaction is being committed: vml tx list tells whether it was')
          const counts = countsText(looked.changeSet.changes)
          if (counts !== '') context.reporter.progress({ phase: `committing ${counts}` })
          return 'commit'
        }).catch(async (error: unknown) => {
          // It tells so before anything was run.
          if (!isFailure(error, 'unsupported') || options.strict) throw error
          out.note(`${messageOf(error)}. It is run on the machine itself, and recorded live`)
          return await runOutside(messageOf(error))
        })
    if (outcome.kind === 'discarded' || outcome.kind === 'kept') {
      out.document({ schema: 1, outcome: 'discarded', exit_status: outcome.exitStatus })
      printNotKept(out, outcome.exitStatus)
      return failedStatus
    }
    if (outcome.kind === 'nothing') {
      out.document({ schema: 1, outcome: 'nothing', exit_status: outcome.exitStatus })
      printNothing(out, outcome.exitStatus)
      return outcome.exitStatus === 0 || options.keepFailed ? 0 : failedStatus
    }
    const { transaction } = outcome.end
    printRecorded(out, transaction, { say: 'aside' })
    if (transaction.document.mode === 'staged') printKeptAllTheSame(out, outcome.exitStatus)
    const watch = watched
      ? await beginProbationOf(context, logbook, parts, { transaction, request: watched })
      : undefined
    out.document({
      schema: 1,
      ...describeRecorded(transaction, outcome.exitStatus),
      ...(watch ? { watch: watch.outcome } : {}),
    })
    if (outcome.exitStatus === 0 || transaction.document.mode === 'staged') return watch?.status
    out.aside(
      `The command ended with status ${outcome.exitStatus}; what it changed stays until it is taken back`,
    )
    return failedStatus
  },
})

const failedStatus = 1
