// What policies did, in lines that a journal can keep, and as JSON.
import { printable } from '../base/raw-text.ts'
import type { PolicyEvent } from '../app/policy-events.ts'
import { entryName, entryWord, type LoggedEntry } from '../engine/entries.ts'
import type { Decision, PolicyPlan } from '../engine/retain.ts'
import { uncoveredRoots } from '../engine/uncovered-roots.ts'
import { policyName, policySettings } from '../model/policy.ts'
import type { Context } from './command.ts'
import { describeBudget, describeExceeded } from './print-budget.ts'
import { describeEntry } from './describe-entry.ts'
import { formatBytes, formatCount, formatDuration, formatMoment, plural } from './format.ts'
import { shown } from './options.ts'
import { describeRead } from './read-counts.ts'
import { printableLines } from './output.ts'
import { table } from './style.ts'

/** One line for each thing that happened; of a plan, a line for each entry that goes. */
export function printEvent(
  { out, reporter }: Pick<Context, 'out' | 'reporter'>,
  event: PolicyEvent,
  { dryRun }: { readonly dryRun: boolean },
): void {
  const name = 'policy' in event ? shown(policyName(event.policy)) : ''
  switch (event.what) {
    case 'due':
      out.line(`${name}: due: would be saved`)
      break
    case 'not-due':
      if (dryRun || out.verbose) out.line(`${name}: due at ${formatMoment(new Date(event.dueMs))}`)
      break
    case 'unchanged':
      out.line(`${name}: nothing has changed since ${entryName(event.since)}`)
      break
    case 'saved': {
      const { document, stored, durationMs } = event.saved
      const { statistics, outcome, number, problems } = document
      const partial =
        outcome === 'partial' ? `, in part: ${plural(problems.length, 'path')} could not be read` : ''
      out.line(
        `${name}: saved #${number} in ${formatDuration(durationMs)}: ${describeRead(statistics)}, stored ${formatBytes(stored.storedBytes)}${partial}`,
      )
      break
    }
    case 'plan':
      printPlan({ out, reporter }, event.plan, dryRun)
      break
    case 'removed':
      out.line(`${name}: removed ${plural(event.removal.entries.length, 'entry', 'entries')}`)
      break
    case 'failed': {
      const { message, hint } = event.error
      const words = `${name}: ${failedWords[event.doing]}: ${message}${hint === undefined ? '' : `. ${hint}`}`
      // Under --json the event itself says so.
      if (!out.json) reporter.warn({ warning: printableLines(words) })
      break
    }
    case 'pruned': {
      const { deleted, plan } = event.report
      const marked = plan.unused.bytes + plan.unindexed.bytes + plan.repack.bytes
      if (deleted.packs.length > 0)
        out.line(`space: deleted ${plural(deleted.packs.length, 'pack')}, ${formatBytes(deleted.bytes)}`)
      if (marked > 0 || out.verbose)
        out.line(`space: marked ${formatBytes(marked)} that nothing needs, to be looked at again in a day`)
      break
    }
    case 'prune-left':
      out.line(`space: left for the next run: ${event.error.message}`)
      break
  }
}

/** Whether it is what was asked for and nothing else: no failure, no part that is missing, nothing that was left. */
export function isWell(event: PolicyEvent): boolean {
  switch (event.what) {
    case 'saved':
      return event.saved.document.outcome === 'complete'
    case 'plan':
      return event.plan.budget?.exceeded !== true
    case 'failed':
    case 'prune-left':
      return false
    case 'due':
    case 'not-due':
    case 'unchanged':
    case 'removed':
    case 'pruned':
      return true
  }
}

const failedWords = { save: 'not saved', thin: 'not thinned', budget: 'budget not looked at' } as const

/** Of an entry whose folders no other one has. */
const rootsShown = 3

/** In a dry run also what stays, and why. */
function printPlan(
  { out, reporter }: Pick<Context, 'out' | 'reporter'>,
  plan: PolicyPlan,
  dryRun: boolean,
): void {
  const name = shown(policyName(plan.policy))
  const going = plan.decisions.filter(({ stays }) => !stays)
  if (dryRun) {
    for (const line of table(
      plan.decisions.map((decision) => row(decision, decision.stays ? 'keep' : 'remove')),
    ))
      out.line(line)
  } else {
    for (const line of table(going.map((decision) => row(decision, `${name}: remove`)))) out.line(line)
  }
  for (const [entry, roots] of uncoveredRoots(plan.decisions)) {
    const some = roots.slice(0, rootsShown).map(printable).join(', ')
    const more = roots.length > rootsShown ? ` and ${roots.length - rootsShown} more` : ''
    const warning = `${entryName(entry)} ${dryRun ? 'would go' : 'goes'}, and no entry that stays has ${some}${more}. To keep it: vml edit ${entryWord(entry)} --tag keep`
    if (!out.json) reporter.warn({ warning: printableLines(`${name}: ${warning}`) })
  }
  const { budget } = plan
  if (budget?.exceeded) {
    const { message, hint } = describeExceeded(plan.policy, budget, dryRun)
    // Under --json the event itself says so.
    if (!out.json) reporter.warn({ warning: printableLines(`${message}. ${hint}`) })
    // In a journal only what is news.
  } else if (budget && (dryRun || budget.bytes < budget.bytesByRules)) {
    const [limit, before, after] = [budget.limitBytes, budget.bytesByRules, budget.bytes].map(formatBytes)
    const words = budget.bytes < budget.bytesByRules ? `${after} of ${before}` : after
    out.line(`${name}: budget ${limit}, entries take ${words}`)
  }
  if (dryRun)
    out.line(
      `${name}: ${plural(plan.decisions.length - going.length, 'entry stays', 'entries stay')}, ${going.length === 0 ? 'none goes' : `${formatCount(going.length)} would go`}`,
    )
}

function row({ entry, reasons }: Decision, verb: string): readonly string[] {
  return [
    verb,
    entryName(entry),
    formatMoment(entry.takenAt),
    shown(entry.project === undefined ? entry.machine : `${entry.machine}/${entry.project}`),
    reasons.map(shown).join(', '),
    shown(entry.title),
  ]
}

export function describeEvent(
  event: PolicyEvent,
  { dryRun }: { readonly dryRun: boolean },
): Readonly<Record<string, unknown>> {
  const whose =
    'policy' in event ? { machine: event.policy.machine, project: event.policy.project ?? null } : {}
  const base = { action: event.what, ...whose }
  switch (event.what) {
    case 'due':
      return base
    case 'not-due':
      return { ...base, due: new Date(event.dueMs).toISOString() }
    case 'unchanged':
      return { ...base, since: describeBriefly(event.since) }
    case 'saved': {
      const { snapshot, document, stored, durationMs } = event.saved
      const { number, outcome, statistics } = document
      return { ...base, number, id: snapshot.id, outcome, statistics, stored, duration_ms: durationMs }
    }
    case 'plan': {
      const uncovered = uncoveredRoots(event.plan.decisions)
      return {
        ...base,
        policy: Object.fromEntries(policySettings(event.plan.policy)),
        entries: event.plan.decisions.map(({ entry, stays, reasons }) => ({
          ...describeEntry(entry),
          stays,
          reasons,
          no_longer_saved: (uncovered.get(entry) ?? []).map(printable),
        })),
        budget: describeBudget(event.plan, dryRun),
      }
    }
    case 'removed':
      return { ...base, entries: event.removal.entries.map(describeBriefly) }
    case 'failed': {
      const { code, message, hint } = event.error
      return { ...base, doing: event.doing, failure: code, message, hint }
    }
    case 'pruned': {
      const { packs, bytes } = event.report.deleted
      return { ...base, deleted: { packs: packs.length, bytes } }
    }
    case 'prune-left':
      return { ...base, failure: event.error.code, message: event.error.message }
  }
}

function describeBriefly({ id, number }: LoggedEntry) {
  return { id, number: number ?? null }
}
