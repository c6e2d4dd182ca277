// A budget that cannot be met, in words: what the entries take that must stay, and what would help.
import { entryName } from '../engine/entries.ts'
import type { BudgetOutcome, PolicyPlan } from '../engine/retain.ts'
import { type Policy, policyName } from '../model/policy.ts'
import { formatBytes, plural } from './format.ts'
import { shown } from './options.ts'

/** As many as are worth naming; the largest count. */
const namedMax = 5

/** A sentence on what is, and one on what to do. */
export function describeExceeded(
  policy: Policy,
  budget: BudgetOutcome,
  dryRun: boolean,
): { readonly message: string; readonly hint: string } {
  const { limitBytes, bytesByRules, mustStay } = budget
  const [first] = mustStay
  const takenBy = first
    ? [
        `${first.fixed === 'newest' ? 'the newest, ' : ''}${entryName(first.entry)}, ${formatBytes(first.bytes)} by itself`,
        ...partsOf(mustStay.slice(1)),
      ]
    : []
  const verb = dryRun ? 'would be' : 'was'
  return {
    message: `${shown(policyName(policy))}: the budget of ${formatBytes(limitBytes)} cannot be met, and nothing ${verb} removed for it: entries take ${formatBytes(bytesByRules)}; of that ${takenBy.join(', ')}`,
    hint: hintFor(policy, budget),
  }
}

function partsOf(others: BudgetOutcome['mustStay']): readonly string[] {
  const kinds = [
    ['newest', (count: number) => `${plural(count, 'newest entry', 'newest entries')} of other projects`],
    ['tag', (count: number) => `${plural(count, 'entry', 'entries')} that a tag keeps`],
    ['safety', (count: number) => plural(count, 'safety entry', 'safety entries')],
    ['transaction', (count: number) => plural(count, 'transaction', 'transactions')],
  ] as const
  return kinds.flatMap(([kind, words]) => {
    const some = others.filter(({ fixed }) => fixed === kind)
    const bytes = some.reduce((sum, each) => sum + each.bytes, 0)
    return some.length === 0 ? [] : [`${words(some.length)} ${formatBytes(bytes)} more`]
  })
}

function hintFor(policy: Policy, { limitBytes, mustStay }: BudgetOutcome): string {
  const least = mustStay.reduce((sum, { bytes }) => sum + bytes, 0)
  const project = policy.project === undefined ? '' : ` --project ${shown(policy.project)}`
  const raise = `Raise it: vml policy set ${shown(policy.machine)}${project} --budget ${atLeast(least)}`
  const free = mustStay
    .filter(({ fixed, bytes }) => bytes > 0 && (fixed === 'tag' || fixed === 'safety'))
    .toSorted((left, right) => right.bytes - left.bytes)
  const byNewest = mustStay.reduce((sum, { fixed, bytes }) => (fixed === 'newest' ? sum + bytes : sum), 0)
  if (byNewest > limitBytes || free.length === 0)
    return `${raise}; or save less: --exclude, and the newest entries then take less`
  const names = free.slice(0, namedMax).map(({ entry }) => entry.number ?? entry.id.slice(0, 8))
  return `${raise}; or remove what you need no more, such as: vml rm ${names.join(' ')}`
}

/** Rounded up to a size that a policy can say, with some room for what the next entries add. */
function atLeast(bytes: number): string {
  const unit = bytes >= 10 * 1024 ** 3 ? (['GiB', 1024 ** 3] as const) : (['MiB', 1024 ** 2] as const)
  return `${Math.ceil((bytes * 1.1) / unit[1])}${unit[0]}`
}

export function describeBudget(plan: PolicyPlan, dryRun: boolean): Readonly<Record<string, unknown>> | null {
  const { budget, policy } = plan
  if (!budget) return null
  const { limitBytes, bytesByRules, bytes, exceeded, mustStay } = budget
  return {
    limit_bytes: limitBytes,
    bytes_by_rules: bytesByRules,
    bytes,
    exceeded,
    must_stay: mustStay.map(({ entry, fixed, bytes: own }) => ({
      id: entry.id,
      number: entry.number ?? null,
      why: fixed,
      bytes: own,
    })),
    ...(exceeded ? describeExceeded(policy, budget, dryRun) : {}),
  }
}
