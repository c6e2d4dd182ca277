// A budget: the oldest entries go until what is left takes no more than that, and none goes where that cannot be reached.
import { formatBudget } from '../model/span.ts'
import { openGrowth } from '../store/entry-sizes.ts'
import type { LoggedEntry, OpenLogbook } from './entries.ts'
import type { BudgetOutcome, Decision, PolicyPlan } from './retain.ts'

/**
 * By what blobs take up in the packs. What the rules keep goes too, but for the newest of each line, what a tag keeps, and safety entries.
 * The oldest go first, and one whose going frees nothing that is needed stays. Where what must stay is too much by itself, nothing goes:
 * the removal of an entry is never undone, and would gain nothing.
 */
export async function fitBudget(
  { repository }: Pick<OpenLogbook, 'repository'>,
  plan: PolicyPlan,
  { limitBytes, signal }: { readonly limitBytes: number; readonly signal?: AbortSignal | undefined },
): Promise<PolicyPlan> {
  const staying = plan.decisions.filter(({ stays }) => stays)
  const removable = staying.filter(({ fixed }) => fixed === undefined)
  const all = await openGrowth(repository, { signal })
  const mustStay: BudgetOutcome['mustStay'][number][] = []
  let bytesByRules = 0
  for (const { entry, fixed } of fixedOf(staying)) {
    const bytes = (await all.add(entry.snapshot.tree)) ?? 0
    mustStay.push({ entry, fixed, bytes })
    bytesByRules += bytes
  }
  const leastBytes = bytesByRules
  for (const { entry } of removable) bytesByRules += (await all.add(entry.snapshot.tree)) ?? 0

  const outcome = { limitBytes, bytesByRules, mustStay, exceeded: leastBytes > limitBytes }
  if (outcome.exceeded || bytesByRules <= limitBytes)
    return { ...plan, budget: { ...outcome, bytes: bytesByRules } }

  // From the newest: each stays that fits beside those that stay already, so that none goes for what a newer one's going frees by itself.
  const kept = await openGrowth(repository, { signal })
  let bytes = 0
  for (const { entry } of mustStay) bytes += (await kept.add(entry.snapshot.tree)) ?? 0
  const going = new Set<LoggedEntry>()
  for (const { entry } of removable) {
    const grown = await kept.add(entry.snapshot.tree, limitBytes - bytes)
    if (grown === undefined) going.add(entry)
    else bytes += grown
  }
  const reason = `over the budget of ${plan.policy.budget ? formatBudget(plan.policy.budget) : ''}`.trim()
  return {
    ...plan,
    decisions: plan.decisions.map((decision) =>
      going.has(decision.entry) ? { ...decision, stays: false, reasons: [reason] } : decision,
    ),
    budget: { ...outcome, bytes },
  }
}

const fixedOrder = ['newest', 'no rules', 'tag', 'safety', 'transaction'] as const

/** What is worth the most comes first. */
function fixedOf(decisions: readonly Decision[]) {
  return fixedOrder.flatMap((kind) =>
    decisions.flatMap(({ entry, fixed }) => (fixed === kind ? [{ entry, fixed }] : [])),
  )
}
