// `vml policy apply` and `vml policy run`: entries go by the rules; due saves come before them.
import { choosePolicies } from '../../app/policies.ts'
import { withPolicyLock } from '../../app/policy-lock.ts'
import type { PolicyContext, PolicyEvent, RunOptions } from '../../app/policy-events.ts'
import { VmlError } from '../../base/failure.ts'
import { type Context, defineCommand, dryRun, flag, type Operand } from '../command.ts'
import { plural } from '../format.ts'
import { describeEvent, isWell, printEvent } from '../print-policy.ts'

const machineOperand: Operand = {
  name: 'MACHINE',
  description: 'a machine with a policy (default: all)',
  required: false,
  complete: 'machine',
}

const failedStatus = 1
const partialStatus = 3

export const apply = defineCommand({
  description:
    'Removes the entries that the rules of their policy do not keep, after showing them. The newest entry of each machine and project stays in any case, and so does what has the tag "keep"; imported entries and those of other programs are not touched. The space is freed by vml prune.',
  operands: [machineOperand],
  options: { dryRun },
  examples: [
    { line: 'vml policy apply lab --dry-run', does: 'what stays, what goes, and why' },
    { line: 'vml policy apply lab', does: 'remove it, after a question' },
    { line: 'vml policy apply --yes', does: 'of all machines, without a question' },
  ],
  run: (context, { operands: [machine], options }) =>
    runThem(context, machine, { save: false, thin: true, prune: false, dryRun: options.dryRun }),
})

export const run = defineCommand({
  description:
    'Does what a timer would: saves each machine that is due, without an entry where nothing has changed; removes what the rules do not keep; once a day frees the space. Saves that were missed are made up for by one. A machine that fails does not keep the others from theirs. With --quiet nothing is said while all is well.',
  operands: [machineOperand],
  options: {
    all: flag('--all', 'every machine with a policy: the default'),
    prune: flag('--no-prune', 'leave the space to vml prune'),
    dryRun,
  },
  examples: [
    { line: 'vml policy run --all --yes', does: 'all that is due, without a question: for a timer' },
    { line: 'vml policy run lab --dry-run', does: 'whether one is due, and what would go' },
    { line: 'vml policy run --all --yes --json', does: 'a line of JSON for each step' },
  ],
  run: async (context, { operands: [machine], options }) => {
    if (options.all && machine !== undefined)
      throw new VmlError('usage', 'Cannot take --all and a machine at once', { hint: 'Give one of them' })
    return await runThem(context, machine, {
      save: true,
      thin: true,
      prune: options.prune,
      dryRun: options.dryRun,
    })
  },
})

async function runThem(context: Context, machine: string | undefined, options: RunOptions): Promise<number> {
  const { config, clock, out } = context
  const policies = choosePolicies(config, machine)
  const work = async () => {
    const { runPolicies } = await import('../../app/run-policies.ts')
    const logbook = await context.openLogbook()
    const seen: PolicyEvent[] = []
    for await (const event of runPolicies(policyContext(context), logbook, policies, options)) {
      seen.push(event)
      // A timer's word with --quiet is mail to somebody: only what is not well is worth that.
      const isSilent = out.quiet && options.save && !options.dryRun && isWell(event)
      if (!isSilent) printEvent(context, event, options)
      const type = event.what === 'failed' ? 'error' : 'verbose_status'
      out.message({ message_type: type, ...describeEvent(event, options) })
    }
    return summarize(context, seen, options)
  }
  // A dry run changes nothing, and may look while another run is at work.
  return options.dryRun ? await work() : await withPolicyLock(config, clock, work)
}

function policyContext(context: Context): PolicyContext {
  return {
    ...context,
    agreeTo: ({ entries }) =>
      context.confirm(`Remove ${plural(entries.length, 'entry', 'entries')}? There is no way back.`),
  }
}

/** 1 where something failed, 3 where all was done but some paths could not be read, or a budget cannot be met. */
function summarize({ out }: Context, events: readonly PolicyEvent[], { dryRun: dry }: RunOptions): number {
  const of = (what: PolicyEvent['what']) => events.filter((event) => event.what === what).length
  const removed = events.reduce(
    (sum, event) =>
      event.what === (dry ? 'plan' : 'removed') && 'removal' in event
        ? sum + event.removal.entries.length
        : sum,
    0,
  )
  const partial = events.some((event) => event.what === 'saved' && event.saved.document.outcome === 'partial')
  const overBudget = events.filter(
    (event) => event.what === 'plan' && event.plan.budget?.exceeded === true,
  ).length
  const failed = of('failed')
  const status = failed > 0 ? failedStatus : partial || overBudget > 0 ? partialStatus : 0
  const entries = plural(removed, 'entry', 'entries')
  out.summary(
    dry
      ? `Would remove ${entries}`
      : `Saved ${of('saved')}, unchanged ${of('unchanged')}, removed ${entries}${overBudget > 0 ? `, ${overBudget} over the budget` : ''}${failed > 0 ? `, ${failed} failed` : ''}`,
    {
      schema: 1,
      dry_run: dry,
      saved: of('saved'),
      unchanged: of('unchanged'),
      removed,
      over_budget: overBudget,
      failed,
      status,
    },
  )
  return status
}
