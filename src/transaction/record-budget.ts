// What all records may take: which lose what they keep for it, and what is in the way where that is not enough.
import { formatBytes } from '../base/format-bytes.ts'
import { entryName } from '../engine/entries.ts'
import { type RawPath, rootPath } from '../model/raw-path.ts'
import { droppedReason } from '../model/transaction-record.ts'
import type { TreeNode } from '../model/tree.ts'
import type { ChainedChange } from './delta-chains.ts'
import { isContent, withDependents } from './going-records.ts'
import { type RecordKeeping, readTransactions, renewDependents, settleDeltas } from './keep-records.ts'
import { listPins, notePins } from './pins.ts'
import { goingOrder, type MeasuredRecord, recordsGoing } from './records-going.ts'
import { type NewPreImage, rewriteTransaction } from './rewrite-transaction.ts'
import type { ReadTransaction } from './transaction-entry.ts'

export interface RecordBudget {
  readonly limitBytes: number
  /** What records take now, on the disk. */
  usedBytes(): Promise<number>
  /** Frees what no record needs any more. */
  prune(): Promise<void>
}

export interface BudgetPlan {
  readonly limitBytes: number
  readonly usedBytes: number
  /** What stays when all pre-images are gone: lists of what was changed, indexes. */
  readonly lastingBytes: number
  /** Oldest first. None where that would not meet the budget. */
  readonly going: readonly ReadTransaction[]
  readonly goingBytes: number
  /** Older ones that stay, with what they have of those that go: it is written into them first. */
  readonly dependents: ReadonlyMap<ReadTransaction, readonly ChainedChange[]>
  /** All there are, oldest first. */
  readonly transactions: readonly ReadTransaction[]
  /** The newest that somebody made: it keeps what it has until a newer one is there. */
  readonly spared: { readonly transaction: ReadTransaction; readonly bytes: number } | undefined
}

/** Contents are dropped only where that helps; they never come back. */
export function canBeMet({
  lastingBytes,
  limitBytes,
}: Pick<BudgetPlan, 'lastingBytes' | 'limitBytes'>): boolean {
  return lastingBytes <= limitBytes
}

/** Undefined where all fit. What no record needs any more is freed before anything is to go, since that may be enough; nothing else is changed. */
export async function planRecordBudget(
  keeping: RecordKeeping,
  { limitBytes, usedBytes, prune }: RecordBudget,
): Promise<BudgetPlan | undefined> {
  if ((await usedBytes()) <= limitBytes) return undefined
  await prune()
  const used = await usedBytes()
  if (used <= limitBytes) return undefined
  const transactions = await readTransactions(keeping)
  const newestFirst = transactions.toReversed()
  const records = await measured(keeping, newestFirst, limitBytes)
  const sum = (some: readonly MeasuredRecord[]) => some.reduce((bytes, each) => bytes + each.bytes, 0)
  const sparedBytes = sum(records.filter(({ isSpared }) => isSpared))
  const lastingBytes = Math.max(0, used - sum(records))
  const lasting = { limitBytes, lastingBytes }
  const places = canBeMet(lasting) ? recordsGoing(records, { ...lasting, sparedBytes }) : new Set<number>()
  const { going, dependents } = withDependents(new Set(newestFirst.filter((_, place) => places.has(place))), {
    transactions,
    pins: listPins(keeping.place),
    measured: new Map(newestFirst.flatMap((each, place) => (records[place] ? [[each, records[place]]] : []))),
    limitBytes,
  })
  const at = records.findIndex(({ isSpared, bytes }) => isSpared && bytes > 0)
  const spared = newestFirst[at]
  return {
    ...lasting,
    usedBytes: used,
    going: transactions.filter((each) => going.has(each)),
    goingBytes: sum(records.filter((_, place) => newestFirst[place] && going.has(newestFirst[place]))),
    dependents,
    transactions,
    spared: spared && { transaction: spared, bytes: records[at]?.bytes ?? 0 },
  }
}

/** A record that was written anew is measured anew: each round takes the rest into account. */
const roundsMax = 10

/**
 * The oldest lose their pre-images, small ones after large ones; the newest, and the newest that somebody made, keeps them whatever it takes, since it is
 * the one that is regretted; so do those before it that take little beside the budget.
 */
export async function fitRecords(keeping: RecordKeeping, budget: RecordBudget): Promise<void> {
  const { place, logbook } = keeping
  const { limitBytes, usedBytes } = budget
  const used = await usedBytes()
  if (used <= limitBytes) return await announce(keeping, { limitBytes, used })
  let plan = await planRecordBudget(keeping, budget)
  for (let round = 0; round < roundsMax && plan && plan.going.length > 0; round++) {
    place.reporter.warn({
      warning: `Records take more than the budget of ${formatBytes(limitBytes)}: the pre-images of ${namesOf(plan)} go`,
    })
    await renewDependents(keeping, plan.transactions, plan.dependents)
    // The oldest first: none stands on an older one, so that cut off here each that stays has what it needs.
    for (const transaction of plan.going)
      await rewriteTransaction(logbook, transaction, dropped(transaction), place.signal)
    await settleDeltas(keeping)
    await notePins(place)
    plan = await planRecordBudget(keeping, budget)
  }
  if (plan) place.reporter.warn({ warning: describeExcess(plan) })
  else await announce(keeping, { limitBytes, used: await usedBytes() })
}

/** Of a plan that is met by nothing, or not yet. */
export function describeExcess(plan: BudgetPlan): string {
  const { usedBytes, limitBytes, lastingBytes, spared } = plan
  const start = `Records take ${formatBytes(usedBytes)}, more than the budget of ${formatBytes(limitBytes)}`
  if (!canBeMet(plan))
    return `${start}, and ${formatBytes(lastingBytes)} of it, the lists of what was changed and what finds them, stays whatever pre-images go: none was dropped for it. ${howToRaise}; vml rm NUMBER --logbook /var/lib/vml/logbook removes a transaction whole`
  const why = spared
    ? `: ${entryName(spared.transaction.entry)} keeps its ${formatBytes(spared.bytes)} until a newer one is there, and what is older a tenth of the budget`
    : ''
  return `${start}${why}. ${howToKeep}`
}

function namesOf({ going }: Pick<BudgetPlan, 'going'>): string {
  return going.map(({ entry }) => entryName(entry)).join(', ')
}

const howToRaise = 'budget in /etc/vml/config.toml raises it'
export const howToKeep = `vml copy keeps them elsewhere; ${howToRaise}`

/** From here on it is said what goes first, while it can still be copied elsewhere or the budget be raised. */
const announcedShare = 0.9

async function announce(
  keeping: RecordKeeping,
  { limitBytes, used }: { readonly limitBytes: number; readonly used: number },
): Promise<void> {
  if (used <= limitBytes * announcedShare) return
  const newestFirst = (await readTransactions(keeping)).toReversed()
  const [next] = goingOrder(await measured(keeping, newestFirst, limitBytes), limitBytes)
  const record = next === undefined ? undefined : newestFirst[next]
  if (record)
    keeping.place.reporter.warn({
      warning: `Records take nearly all of their budget of ${formatBytes(limitBytes)}: the pre-images of ${entryName(record.entry)} go next. ${howToKeep}`,
    })
}

async function measured(
  { logbook: { repository }, place: { signal } }: RecordKeeping,
  newestFirst: readonly ReadTransaction[],
  limitBytes: number,
): Promise<readonly MeasuredRecord[]> {
  const { openGrowth } = await import('../store/entry-sizes.ts')
  const growth = await openGrowth(repository, { signal })
  const made = newestFirst.findIndex(({ document }) => document.source !== 'hand')
  const records: MeasuredRecord[] = []
  let newerBytes = 0
  for (const [at, transaction] of newestFirst.entries()) {
    // A line that somebody edits since takes nothing from the last upgrade.
    const isSpared = at === 0 || (at === made && newerBytes <= limitBytes)
    const bytes = await growth.addNodes(await contentNodes(repository, transaction, signal))
    newerBytes += bytes
    const wholeBytes = bytes + ((await growth.add(transaction.entry.snapshot.tree)) ?? 0)
    const canGo = hasContents(transaction)
    records.push({ bytes: canGo ? bytes : 0, wholeBytes, isSpared, canGo })
  }
  return records
}

/** Of its tree, what goes with its pre-images. */
async function contentNodes(
  repository: RecordKeeping['logbook']['repository'],
  { entry }: ReadTransaction,
  signal: AbortSignal | undefined,
): Promise<readonly TreeNode[]> {
  const root = await repository.readTree(entry.snapshot.tree, { signal })
  const own = root.find(({ name }) => name === '.vml')?.subtree
  const documents = own ? await repository.readTree(own, { signal }) : []
  return [
    ...root.filter(({ name }) => name !== '.vml'),
    ...documents.filter(({ name }) => name === 'after' || name === 'deltas'),
  ]
}

function hasContents({ changes }: ReadTransaction): boolean {
  return changes.some(({ preImage, afterKept }) => afterKept || isContent(preImage))
}

function dropped({ changes }: ReadTransaction) {
  const gone = changes.filter(({ preImage }) => isContent(preImage))
  return {
    preImages: new Map(
      gone.map(({ path }): [RawPath, NewPreImage] => [
        path,
        { preImage: { kind: 'lost', reason: droppedReason } },
      ]),
    ),
    // One for all: the paths say it themselves, and a list of records reads this for each.
    gaps: [{ path: rootPath, reason: droppedReason }],
    dropAfter: true,
  }
}
