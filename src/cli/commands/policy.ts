// `vml policy`: how often machines are saved, which entries stay, and how much room they may take.
import { findMachine } from '../../app/config.ts'
import { keepCache, keepMachinePath } from '../../app/machine-path.ts'
import { choosePolicies, findPolicy } from '../../app/policies.ts'
import { isProjectName } from '../../app/policy-settings.ts'
import { VmlError } from '../../base/failure.ts'
import {
  emptyPolicy,
  parsePolicy,
  type Policy,
  policyName,
  policySettingForm,
  type PolicySettings,
  policySettings,
  thins,
} from '../../model/policy.ts'
import {
  type Context,
  defineCommand,
  dryRun,
  type NounSpec,
  type Operand,
  operand,
  text,
  texts,
} from '../command.ts'
import { entryName } from '../../engine/entries.ts'
import { formatBytes } from '../format.ts'
import { shown } from '../options.ts'
import type { Output } from '../output.ts'
import { table } from '../style.ts'
import { apply, run } from './policy-run.ts'
import { install } from './policy-install.ts'

const machineOperand: Operand = operand('MACHINE', 'a machine of yours: see vml machine list', 'machine')
const projectOption = text('-p, --project <name>', 'of the entries of this project alone', 'project')

/** The flag of each setting, by its name in config.toml. */
const settingFlags = {
  every: text('--every <time>', 'save so often: 15min, 1h, 1d'),
  keepLast: text('--keep-last <n>', 'keep the last n entries ("unlimited": all)'),
  keepHourly: text('--keep-hourly <n>', 'keep the last of each hour, for the last n hours that have any'),
  keepDaily: text('--keep-daily <n>', 'the same with days'),
  keepWeekly: text('--keep-weekly <n>', 'with weeks'),
  keepMonthly: text('--keep-monthly <n>', 'with months'),
  keepYearly: text('--keep-yearly <n>', 'with years'),
  keepWithin: text(
    '--keep-within <time>',
    'keep all that are not older than this before the newest: 30d, 1y6m',
  ),
  keepWithinHourly: text('--keep-within-hourly <time>', 'one for each hour, so far back'),
  keepWithinDaily: text('--keep-within-daily <time>', 'one for each day'),
  keepWithinWeekly: text('--keep-within-weekly <time>', 'one for each week'),
  keepWithinMonthly: text('--keep-within-monthly <time>', 'one for each month'),
  keepWithinYearly: text('--keep-within-yearly <time>', 'one for each year'),
  keepTag: texts('--keep-tag <tag,…>', 'keep what has this tag, or all of several', 'tag'),
  keepSafety: text('--keep-safety <time>', 'how long entries made before a restore stay (30d)'),
  budget: text('--budget <size>', 'room for all of them: 8% of what is in use on the machine, or 20GiB'),
  include: texts('--include <dir>', 'save this folder too; relative as for vml save --include'),
  exclude: texts('--exclude <pattern>', 'leave out what matches, in gitignore syntax'),
  only: texts('--only <dir>', 'save this folder instead of the home'),
  cache: texts('--cache <name=dir>', 'keep a large cache as a part'),
} as const

const set = defineCommand({
  description:
    'Sets the policy of a machine: how often it is saved, which of its entries stay, and how much room they may take. What is not named stays as it was; "none" takes a setting away. The rules for what to keep are those of restic forget, for the entries of each machine and project by themselves.',
  operands: [machineOperand],
  options: { project: projectOption, ...settingFlags, dryRun },
  examples: [
    {
      line: 'vml policy set lab --every 1h --keep-hourly 24 --keep-daily 7 --keep-monthly 12',
      does: 'save hourly, thin as the entries get older',
    },
    { line: 'vml policy set lab --budget 8%', does: 'let the oldest go where they take more' },
    {
      line: 'vml policy set lab --project thesis --keep-within 1y --keep-tag submitted',
      does: 'other rules for one project',
    },
    { line: 'vml policy set lab --every none', does: 'save by hand again; thin as before' },
  ],
  async run(context, { operands: [machine = ''], options: { project, dryRun: dry, ...given } }) {
    const { config, clock, out } = context
    const of = findMachine(config, machine)
    if (project !== undefined && !isProjectName(project))
      throw new VmlError('usage', `Cannot use the project "${shown(project)}"`)
    // In config.toml a number is bytes; typed, eight bytes are hardly ever meant.
    if (given.budget !== undefined && /^[\d.]+$/.test(given.budget.trim()))
      throw new VmlError(
        'usage',
        `Cannot take "${given.budget}" for --budget: it says neither a share (${given.budget}%) nor a size (${given.budget}GiB)`,
        { hint: 'Nothing was changed' },
      )
    const before = findPolicy(config, { machine, project }) ?? emptyPolicy(machine, project)
    const keep = (kept: typeof keepMachinePath) => (typed: readonly string[]) =>
      isNone(typed) ? typed : typed.map((each) => kept(each, of, config.workingFolder))
    const settings = changed(policySettings(before), {
      ...given,
      include: keep(keepMachinePath)(given.include),
      only: keep(keepMachinePath)(given.only),
      cache: keep(keepCache)(given.cache),
    })
    const parsed = parsePolicy(before, settings)
    if ('wrong' in parsed) {
      const typed = [settings.get(parsed.wrong) ?? ''].flat().join(' ')
      throw new VmlError(
        'usage',
        `Cannot take "${shown(typed)}" for --${parsed.wrong.replaceAll('_', '-')}: it must be ${policySettingForm(parsed.wrong)}`,
        { hint: 'Nothing was changed' },
      )
    }
    const { policy } = parsed
    if (policySettings(policy).size === 0)
      throw new VmlError('usage', 'Cannot set a policy that says nothing', {
        hint: 'Say how often (--every 1h), what to keep (--keep-daily 7) or how much (--budget 8%); vml policy rm takes one away',
      })
    if (!dry) {
      const { writePolicy } = await import('../../app/policies.ts')
      await writePolicy(config, clock, policy)
    }
    const over = given.budget === undefined ? undefined : await newestOver(context, policy)
    out.document({
      schema: 1,
      dry_run: dry,
      policy: describe(policy),
      ...(over ? { newest_over_budget: { id: over.entry.id, bytes: over.bytes } } : {}),
    })
    printPolicies(out, [policy])
    if (over)
      context.reporter.warn({
        warning: `${entryName(over.entry)}, the newest, takes ${formatBytes(over.bytes)} by itself, more than the budget: nothing is removed for a budget that cannot be met. Give a larger one`,
      })
    out.note(
      dry
        ? 'Nothing was changed'
        : policy.everyMs === undefined
          ? `Nothing was removed: vml policy apply ${machine} --dry-run shows what would be`
          : 'A timer does it: vml policy install, once, and again where a shorter time was set',
    )
  },
})

async function newestOver({ config, signal, reporter }: Context, policy: Policy) {
  const { newestOverBudget } = await import('../../app/budget-too-small.ts')
  return await newestOverBudget(config, policy, { signal, reporter })
}

/** What was typed, over what was there; a list that is typed replaces the list. */
function changed(
  before: PolicySettings,
  given: Readonly<Record<string, string | undefined | readonly string[]>>,
): PolicySettings {
  const settings = new Map(before)
  for (const [option, typed] of Object.entries(given)) {
    const name = option.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    if (typed === undefined || (Array.isArray(typed) && typed.length === 0)) continue
    if (isNone([typed].flat())) settings.delete(name)
    else settings.set(name, typed)
  }
  return settings
}

function isNone(typed: readonly string[]): boolean {
  return typed.join() === 'none'
}

const show = defineCommand({
  description: 'Shows policies: those of your configuration, or those of one machine.',
  operands: [{ ...machineOperand, required: false }],
  options: {},
  examples: [
    { line: 'vml policy show', does: 'all policies' },
    { line: 'vml policy show lab --json', does: 'those of one machine, for programs' },
    { line: 'vml policy apply lab --dry-run', does: 'what one would remove now, and why' },
  ],
  run: ({ config, out }, { operands: [machine] }) => {
    const policies = machine === undefined ? config.policies : choosePolicies(config, machine)
    out.document({ schema: 1, policies: policies.map(describe) })
    printPolicies(out, policies)
    if (policies.length === 0)
      out.note('No policy yet: vml policy set MACHINE --every 1d --keep-daily 7 --keep-monthly 12')
    return Promise.resolve()
  },
})

const rm = defineCommand({
  description: 'Takes a policy away: nothing is saved or removed by it any more. Its entries stay.',
  operands: [machineOperand],
  options: { project: projectOption, dryRun },
  examples: [
    { line: 'vml policy rm lab', does: 'that of a machine' },
    { line: 'vml policy rm lab --project thesis', does: 'that of one project' },
    { line: 'vml policy rm lab --dry-run', does: 'only look whether there is one' },
  ],
  async run({ config, clock, out }, { operands: [machine = ''], options: { project, dryRun: dry } }) {
    const policy = findPolicy(config, { machine, project })
    if (!policy)
      throw new VmlError('not-found', `Cannot find a policy of ${shown(policyName({ machine, project }))}`, {
        hint: 'See what there is: vml policy show',
      })
    if (!dry) {
      const { removePolicy } = await import('../../app/policies.ts')
      await removePolicy(config, clock, policy)
    }
    out.line(
      `${dry ? 'Would take away' : 'Took away'} the policy of ${shown(policyName(policy))}; its entries stay`,
    )
    out.document({ schema: 1, dry_run: dry, policy: describe(policy) })
  },
})

export const noun: NounSpec = {
  description:
    'Policies: how often machines are saved, which of their entries stay, how much room they may take. They stand in your config.toml.',
  verbs: {
    set: { summary: 'set one', load: async () => set },
    show: { summary: 'show them', load: async () => show },
    rm: { summary: 'take one away', load: async () => rm },
    apply: { summary: 'remove the entries that the rules do not keep', load: async () => apply },
    run: { summary: 'save what is due, then thin: what a timer calls', load: async () => run },
    install: { summary: 'have a timer of this computer call it', load: async () => install },
  },
}

function describe(policy: Policy): Readonly<Record<string, unknown>> {
  const { machine, project } = policy
  return {
    machine,
    project: project ?? null,
    ...Object.fromEntries(policySettings(policy)),
    thins: thins(policy),
  }
}

function printPolicies(out: Output, policies: readonly Policy[]): void {
  const rows = policies.flatMap((policy) =>
    [...policySettings(policy)].map(([name, value], index) => [
      index === 0 ? out.style.bold(shown(policyName(policy))) : '',
      name.replaceAll('_', '-'),
      shown([value].flat().join(' ')),
    ]),
  )
  for (const line of table(rows)) out.line(line)
}
