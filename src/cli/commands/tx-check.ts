// `vml tx check`: whether what the records need is there: pins of deltas by their content, then what goes by the budget.
import { budgetOf, recordBudgetOf, recordKeepingOf } from '../../app/record-keeping.ts'
import { openTransactionParts } from '../../app/transactions.ts'
import { checkPins } from '../../transaction/check-pins.ts'
import { keepRecords } from '../../transaction/keep-records.ts'
import {
  type BudgetPlan,
  canBeMet,
  describeExcess,
  fitRecords,
  howToKeep,
  planRecordBudget,
} from '../../transaction/record-budget.ts'
import { machineSettings } from '../../app/machine-settings.ts'
import { printableText } from '../../base/raw-text.ts'
import { entryName, type LoggedEntry } from '../../engine/entries.ts'
import { versionKey } from '../../packages/dpkg-records.ts'
import type { Reference } from '../../packages/package-references.ts'
import { type ReadTransaction, readTransactionsOf } from '../../transaction/transaction-entry.ts'
import type { Shell } from '../../wire/shell.ts'
import { listTransactions } from '../../transaction/transactions.ts'
import { isDropped } from '../../model/transaction-record.ts'
import { type Context, defineCommand, flag } from '../command.ts'
import { formatBytes, plural } from '../format.ts'
import { budgetOption, requireBudget } from '../transaction-budget.ts'

const incompleteStatus = 1
/** As of a policy. */
const unmetStatus = 3
const namesMax = 20

export const check = defineCommand({
  description:
    'Checks whether every transaction that says that it can be taken back can: reads each file that stands for an older one, by its content. What is lost is marked so at once, in every list; the status is 1 where something was found that was not known before. Packages that records refer to are looked for in the pools; where one is gone, it is told each time, with status 1. Where all take more than the budget, it says which lose their pre-images for it with the next transaction; with --budget they do so at once, after a question. The logbook itself is checked by vml check.',
  operands: [],
  options: {
    budget: budgetOption,
    dryRun: flag('-n, --dry-run', 'with --budget: only say which would lose what they keep'),
    snapshots: flag('--snapshots', 'ask snapshot services, too, whether they still have the packages'),
  },
  examples: [
    {
      line: 'sudo vml tx check --budget 500M --dry-run',
      does: 'and say what would go for all to take no more than that',
    },
    { line: 'sudo vml tx check --budget 500M --yes', does: 'let it go, without a question' },
    { line: 'sudo vml tx check', does: 'check all of them' },
    { line: 'sudo vml tx check --json', does: 'for programs' },
    { line: 'sudo vml check --logbook /var/lib/vml/logbook --read-data', does: 'what lies in the logbook' },
  ],
  async run(context, { options }) {
    const { out, signal, reporter } = context
    context.whenCancelled('what was found is marked; nothing else was changed')
    const logbook = await context.openSystemLogbook()
    const typed = requireBudget(options.budget)
    const parts = openTransactionParts(context, logbook)
    const keeping = recordKeepingOf(parts)
    const found = await checkPins(keeping, { all: true })
    await keepRecords(keeping)
    const { settings, isRead } = machineSettings(context)
    const chosen = budgetOf({ budget: typed }, isRead ? settings : undefined)
    const budget = chosen && recordBudgetOf(context, parts, chosen)
    const plan = budget && (await planRecordBudget(keeping, budget))
    if (plan) tellBudget(context, plan, { isTyped: typed !== undefined, isDryRun: options.dryRun })
    if (budget && plan && plan.going.length > 0 && typed !== undefined && !options.dryRun) {
      await context.confirm(
        `Drop the pre-images of ${plural(plan.going.length, 'transaction')}? There is no way back.`,
      )
      context.whenCancelled('some pre-images may be dropped by now, and vml tx list tells which')
      await fitRecords(keeping, budget)
    }
    const listed = await listTransactions(logbook, { signal, reporter })
    const references = await lookForPackages(
      context,
      await readTransactionsOf(
        logbook.repository,
        listed.map(({ entry }) => entry),
        { signal },
      ),
      {
        shell: parts.shell,
        services: options.snapshots,
      },
    )
    const { gone, unasked } = references
    const incomplete = listed.filter(({ document }) => !document.complete && !isDropped(document))
    const dropped = listed.filter(({ document }) => isDropped(document))
    const numbers = (some: typeof listed) => some.map(({ entry }) => entry.number ?? null)
    out.document({
      schema: 1,
      transactions: listed.length,
      found,
      incomplete: numbers(incomplete),
      dropped: numbers(dropped),
      budget: plan ? describeBudget(plan) : null,
      packages_gone: gone.map(({ reference: { package: name, version, architecture, from }, needing }) => ({
        package: name,
        version,
        architecture,
        from,
        transactions: needing.map((entry) => entry.number ?? null),
      })),
      packages_not_asked: unasked,
    })
    out.line(
      [
        plural(listed.length, 'transaction'),
        incomplete.length === 0
          ? 'none lacks anything'
          : `${incomplete.length} incomplete: ${namesOf(incomplete.map(({ entry }) => entry))}`,
        ...(dropped.length === 0 ? [] : [`${dropped.length} without pre-images, for the budget`]),
      ].join('; '),
    )
    for (const { reference, needing } of gone.slice(0, namesMax))
      out.line(
        `No source has ${printableText(reference.package)} ${printableText(reference.version)} any more, which ${namesOf(needing)} ${needing.length === 1 ? 'needs' : 'need'}: it came from ${printableText(reference.from)}`,
      )
    if (gone.length > namesMax) out.line(`and ${gone.length - namesMax} more packages`)
    if (unasked > 0)
      out.note(
        `Not asked: whether snapshot services still have ${plural(unasked, 'package')}; --snapshots asks`,
      )
    if (incomplete.length > 0) out.note('vml tx show tells of each what cannot be had')
    out.note(
      'What lies in the logbook itself was not read: vml check --logbook /var/lib/vml/logbook --read-data does that',
    )
    // What was known before is named each time; the status says whether something came to it, or a package is gone, which may come back.
    if (found > 0 || gone.length > 0) return incompleteStatus
    return plan && !canBeMet(plan) ? unmetStatus : 0
  },
})

function tellBudget(
  { out }: Context,
  plan: BudgetPlan,
  { isTyped, isDryRun }: { readonly isTyped: boolean; readonly isDryRun: boolean },
): void {
  const { going, goingBytes, limitBytes } = plan
  if (going.length === 0) return out.line(describeExcess(plan))
  const what = `the pre-images of ${namesOf(going.map(({ entry }) => entry))}, ${formatBytes(goingBytes)}`
  const beyond = `Beyond the budget of ${formatBytes(limitBytes)}`
  if (isTyped && !isDryRun) return out.line(`${beyond}: ${what}`)
  out.line(`${beyond}: ${what}, would go${isTyped ? '' : ' with the next transaction'}`)
  out.note(isTyped ? 'Nothing was dropped' : howToKeep)
}

function describeBudget(plan: BudgetPlan) {
  const { limitBytes, usedBytes, lastingBytes, going, goingBytes } = plan
  return {
    limit_bytes: limitBytes,
    used_bytes: usedBytes,
    lasting_bytes: lastingBytes,
    can_be_met: canBeMet(plan),
    going: going.map(({ entry }) => entry.number ?? null),
    going_bytes: goingBytes,
  }
}

function namesOf(entries: readonly LoggedEntry[]): string {
  const names = entries.slice(0, namesMax).map(entryName)
  const left = entries.length - names.length
  return `${names.join(', ')}${left > 0 ? ` and ${left} more` : ''}`
}

interface NeededPackage {
  readonly reference: Reference
  readonly needing: readonly LoggedEntry[]
}

/** Nothing is marked for it: a pool whose disk is not mounted comes back, and with it what the records refer to. */
async function lookForPackages(
  context: Context,
  transactions: readonly ReadTransaction[],
  { shell, services }: { readonly shell: Shell; readonly services: boolean },
): Promise<{ readonly gone: readonly NeededPackage[]; readonly unasked: number }> {
  const needed = new Map<string, { readonly reference: Reference; readonly needing: Set<LoggedEntry> }>()
  for (const { entry, changes } of transactions)
    for (const { preImage } of changes) {
      if (preImage.kind !== 'reference') continue
      const { package: name, architecture, version } = preImage
      const key = versionKey(name, architecture, version)
      const known = needed.get(key) ?? { reference: preImage, needing: new Set() }
      known.needing.add(entry)
      needed.set(key, known)
    }
  if (needed.size === 0) return { gone: [], unasked: 0 }
  const { packageLook } = await import('../../app/package-archives.ts')
  const { settings } = machineSettings(context)
  const whereIs = packageLook({ context, settings, shell }, { services })
  const gone: NeededPackage[] = []
  let unasked = 0
  for (const { reference, needing } of needed.values()) {
    context.reporter.progress({ phase: 'looking for packages', item: printableText(reference.package) })
    const where = await whereIs(reference)
    if (where === 'not asked') unasked += 1
    if (where === 'gone') gone.push({ reference, needing: [...needing] })
  }
  return { gone, unasked }
}
