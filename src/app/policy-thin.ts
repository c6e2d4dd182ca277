// What goes by a policy: entries by its rules and its budget, and, from time to time, the space that they took.
import { isFailure, VmlError } from '../base/failure.ts'
import { rawFromString } from '../base/raw-text.ts'
import { listEntries } from '../engine/entries.ts'
import { localZone } from '../engine/local-zone.ts'
import { pruneMarksOf, runPruning } from '../engine/prune.ts'
import { fitBudget } from '../engine/budget.ts'
import { planForget, type PolicyPlan, removalOf, runForget } from '../engine/retain.ts'
import { type Policy, policyName } from '../model/policy.ts'
import { parseRawPath, rootPath } from '../model/raw-path.ts'
import { readDiskUse } from '../source/disk-use.ts'
import { pruneRuleDefault } from '../store/prune-plan.ts'
import { findMachine } from './config.ts'
import { patiently, type PolicyContext, type PolicyEvent, type PolicyRun } from './policy-events.ts'

/** A prune, and the measuring for a budget, read every folder of every entry: for a timer once a day is enough. */
const dayMs = 24 * 3_600_000

export async function* thinLine(run: PolicyRun, policy: Policy): AsyncGenerator<PolicyEvent> {
  const { context, logbook } = run
  const { clock, config, signal } = context
  const entries = await listEntries(logbook, context)
  const all = planForget(entries, config.policies, { nowMs: clock.now(), localZone })
  let plan = all.find((each) => each.policy === policy)
  if (!plan) return
  try {
    const limitBytes = isMeasuredLately(run, policy) ? undefined : await limitOf(context, plan)
    if (limitBytes !== undefined) plan = await fitBudget(logbook, plan, { limitBytes, signal })
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof VmlError)) throw error
    // A machine that cannot be asked how full it is: its rules hold all the same.
    yield { what: 'failed', policy, doing: 'budget', error }
  }
  const removal = removalOf([plan])
  yield { what: 'plan', policy, plan, removal }
  if (run.dryRun) return
  if (removal.entries.length > 0) {
    await run.agreeTo(removal)
    // Before the first one goes: a kill in between must not forget that there is space to free.
    await run.remember({ pruneWanted: true })
    const chosen = [plan]
    const removed = await patiently(run, async () => await runForget(logbook, chosen, signal))
    yield { what: 'removed', policy, removal: removed }
  }
  // One that cannot be met is looked at and told each time, until somebody sees to it.
  if (plan.budget && !plan.budget.exceeded)
    await run.remember({ measured: { ...run.state.measured, [policyName(policy)]: clock.now() } })
}

function isMeasuredLately({ save, dryRun, context, state }: PolicyRun, policy: Policy): boolean {
  const atMs = state.measured[policyName(policy)]
  return save && !dryRun && atMs !== undefined && isLately(atMs, context.clock.now())
}

/** A day and no less: a timer that ticks a little early must not make two of it. A clock that was set back makes nothing lately. */
function isLately(atMs: number, nowMs: number): boolean {
  return nowMs >= atMs && nowMs - atMs < dayMs - slackMs
}

const slackMs = 5 * 60_000

async function limitOf(context: PolicyContext, plan: PolicyPlan): Promise<number | undefined> {
  const { budget } = plan.policy
  if (budget === undefined || budget.kind === 'bytes') return budget?.bytes
  const shell = await context.openShell(findMachine(context.config, plan.policy.machine))
  const saved = plan.decisions[0]?.entry.snapshot.paths ?? []
  const paths = [rootPath, ...saved.flatMap((path) => parseRawPath(rawFromString(path)) ?? [])]
  return Math.floor(((await readDiskUse(shell, paths, context.signal)) * budget.percent) / 100)
}

export async function* pruneSometimes(run: PolicyRun): AsyncGenerator<PolicyEvent> {
  const { context, logbook, state } = run
  const nowMs = context.clock.now()
  if (!state.pruneWanted || isLately(state.prunedAtMs, nowMs)) return
  const { reporter, signal } = context
  try {
    const report = await runPruning(logbook.repository, {
      rule: pruneRuleDefault,
      marks: pruneMarksOf(context.config.folders.state, logbook.repository.id),
      now: false,
      waitMs: 0,
      reporter,
      signal,
    })
    const { due, unused, unindexed, repack } = report.plan
    const marked = unused.packs.length + unindexed.packs.length + repack.packs.length
    const left = due.packs.length - report.deleted.packs.length - report.deleted.back.length
    await run.remember({ prunedAtMs: nowMs, pruneWanted: marked + left > 0 })
    yield { what: 'pruned', report }
  } catch (error) {
    // Whoever uses the logbook now comes first; the next run tries again.
    if (!isFailure(error, 'store.locked')) throw error
    yield { what: 'prune-left', error }
  }
}
