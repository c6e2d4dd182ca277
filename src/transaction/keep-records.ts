// What becomes of older records once there is a newer one: what their deltas stand on, and the budget that all of them have.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { type RawPath, rootPath } from '../model/raw-path.ts'
import { droppedReason } from '../model/transaction-record.ts'
import { type ChainedChange, followDeltas } from './delta-chains.ts'
import { entryName, type OpenLogbook } from '../engine/entries.ts'
import { transactionEntries } from './transactions.ts'
import { dropPins, listPins, notePins } from './pins.ts'
import { goingOrder, type MeasuredRecord, recordsGoing } from './records-going.ts'
import { type NewPreImage, rewriteTransaction } from './rewrite-transaction.ts'
import type { TransactionContents } from './transaction-contents.ts'
import { type ReadTransaction, readTransactionsOf } from './transaction-entry.ts'
import type { Workplace } from './workplace.ts'

export interface RecordKeeping {
  readonly place: Pick<Workplace, 'root' | 'state' | 'reporter' | 'signal'>
  readonly logbook: OpenLogbook
  contentsOf(transactions: readonly ReadTransaction[]): TransactionContents
}

export interface RecordBudget {
  readonly limitBytes: number
  /** What records take now, on the disk. */
  usedBytes(): Promise<number>
  /** Frees what no record needs any more. */
  prune(): Promise<void>
}

/** All of the machine, oldest first. */
export async function readTransactions({ logbook, place }: RecordKeeping): Promise<ReadTransaction[]> {
  const { signal } = place
  const entries = await transactionEntries(logbook, { signal })
  return await readTransactionsOf(logbook.repository, entries, { signal })
}

/** After a record was made. Deltas that would keep a replaced file alive become blobs; pins that nothing needs go. */
export async function keepRecords(keeping: RecordKeeping, budget: RecordBudget | undefined): Promise<void> {
  const { place } = keeping
  if (listPins(place).some(({ isAlone }) => isAlone)) await settleDeltas(keeping)
  await notePins(place)
  if (budget) await fitRecords(keeping, budget)
}

/** Order: the new records first, then what they need no more. Gives the number of records that became incomplete. */
export async function settleDeltas(
  keeping: RecordKeeping,
  altered: ReadonlySet<string> = new Set(),
): Promise<number> {
  const { place, logbook } = keeping
  const transactions = await readTransactions(keeping)
  const { broken, costly, unneeded } = followDeltas(
    transactions,
    listPins(place).filter(({ sha256 }) => !altered.has(sha256)),
  )
  const contents = keeping.contentsOf(transactions)
  const stillNeeded = new Set<string>()
  let incomplete = 0
  for (const [transaction, changes] of Map.groupBy([...broken, ...costly], ({ transaction: each }) => each)) {
    const preImages = new Map<RawPath, NewPreImage>()
    const gaps: { path: RawPath; reason: string }[] = []
    for (const chained of changes) {
      const fresh = await renewed(contents, chained, broken.includes(chained))
      const { path, preImage } = chained.change
      if (fresh === undefined) {
        if (preImage.kind === 'delta') stillNeeded.add(preImage.base)
        continue
      }
      preImages.set(path, fresh)
      if (fresh.preImage.kind === 'lost') gaps.push({ path, reason: fresh.preImage.reason })
    }
    if (preImages.size === 0) continue
    await rewriteTransaction(logbook, transaction, { preImages, gaps }, place.signal)
    const [first] = gaps
    if (first === undefined) continue
    incomplete += 1
    place.reporter.warn({
      warning: `${entryName(transaction.entry)} is incomplete now: "${printable(first.path)}"${gaps.length > 1 ? ` and ${gaps.length - 1} more` : ''} cannot be had as before it, since ${first.reason}`,
    })
  }
  dropPins(
    place,
    unneeded.filter((sha256) => !stillNeeded.has(sha256)),
  )
  return incomplete
}

const alteredReason = 'the file that its delta was made against was written into, or is gone'

/** Undefined where it cannot be rebuilt now: a delta that nothing is wrong with stays. */
async function renewed(
  contents: TransactionContents,
  { transaction, change }: ChainedChange,
  isBroken: boolean,
): Promise<NewPreImage | undefined> {
  try {
    // What lies at the path itself may be the base, though nothing holds it there.
    return { preImage: { kind: 'blob' }, content: await contents.before(transaction, change) }
  } catch (error) {
    if (!(error instanceof VmlError) || error.code === 'cancelled') throw error
    if (!isBroken) return undefined
    if (!error.code.startsWith('integrity.')) throw error
    return { preImage: { kind: 'lost', reason: alteredReason } }
  }
}

/** A record that was written anew is measured anew: each round takes the rest into account. */
const roundsMax = 10

/**
 * The oldest lose their pre-images, small ones after large ones; the newest, and the newest that somebody made, keeps them whatever it takes, since it is
 * the one that is regretted; so do those before it that take little beside the budget.
 */
async function fitRecords(
  keeping: RecordKeeping,
  { limitBytes, usedBytes, prune }: RecordBudget,
): Promise<void> {
  const { place, logbook } = keeping
  const used = await usedBytes()
  if (used <= limitBytes) {
    if (used > limitBytes * announcedShare)
      await announce(keeping, await readTransactions(keeping), limitBytes)
    return
  }
  for (let round = 0; round < roundsMax; round++) {
    const transactions = await readTransactions(keeping)
    const going = await tooMuch(logbook, transactions, limitBytes, place.signal)
    if (going.length === 0) break
    place.reporter.warn({
      warning: `Records take more than the budget of ${bytesText(limitBytes)}: the pre-images of ${going.map(({ entry }) => entryName(entry)).join(', ')} go`,
    })
    for (const transaction of going)
      await rewriteTransaction(logbook, transaction, dropped(transaction), place.signal)
    const { unneeded } = followDeltas(await readTransactions(keeping), listPins(place))
    dropPins(place, unneeded)
  }
  await notePins(place)
  await prune()
  const left = await usedBytes()
  const newest = (await readTransactions(keeping)).findLast(({ document }) => document.source !== 'hand')
  if (left > limitBytes)
    place.reporter.warn({
      warning: `Records take ${bytesText(left)}, more than the budget of ${bytesText(limitBytes)}: ${newest ? entryName(newest.entry) : 'the newest transaction'} keeps what it has until a newer one is there, and what is older a tenth of the budget. ${howToKeep}`,
    })
}

const howToKeep = 'vml copy keeps them elsewhere; budget in /etc/vml/config.toml raises it'

/** From here on it is said what goes first, while it can still be copied elsewhere or the budget be raised. */
const announcedShare = 0.9

async function announce(
  { place, logbook }: RecordKeeping,
  transactions: readonly ReadTransaction[],
  limitBytes: number,
): Promise<void> {
  const newestFirst = transactions.toReversed()
  const [next] = goingOrder(await measured(logbook, newestFirst, limitBytes, place.signal), limitBytes)
  const record = next === undefined ? undefined : newestFirst[next]
  if (record)
    place.reporter.warn({
      warning: `Records take nearly all of their budget of ${bytesText(limitBytes)}: the pre-images of ${entryName(record.entry)} go next. ${howToKeep}`,
    })
}

function bytesText(bytes: number): string {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`
}

async function tooMuch(
  logbook: OpenLogbook,
  transactions: readonly ReadTransaction[],
  limitBytes: number,
  signal: AbortSignal | undefined,
): Promise<ReadTransaction[]> {
  const newestFirst = transactions.toReversed()
  const going = recordsGoing(await measured(logbook, newestFirst, limitBytes, signal), limitBytes)
  return newestFirst.filter((_, at) => going.has(at)).toReversed()
}

async function measured(
  { repository }: OpenLogbook,
  newestFirst: readonly ReadTransaction[],
  limitBytes: number,
  signal: AbortSignal | undefined,
): Promise<readonly MeasuredRecord[]> {
  const { openGrowth } = await import('../store/entry-sizes.ts')
  const growth = await openGrowth(repository, { signal })
  const made = newestFirst.findIndex(({ document }) => document.source !== 'hand')
  const records: MeasuredRecord[] = []
  let newerBytes = 0
  for (const [at, transaction] of newestFirst.entries()) {
    // A line that somebody edits since takes nothing from the last upgrade.
    const isSpared = at === 0 || (at === made && newerBytes <= limitBytes)
    const bytes = (await growth.add(transaction.entry.snapshot.tree)) ?? 0
    newerBytes += bytes
    records.push({ bytes, isSpared, canGo: hasContents(transaction) })
  }
  return records
}

function hasContents({ changes }: ReadTransaction): boolean {
  return changes.some(({ preImage, afterKept }) => afterKept || isContent(preImage.kind))
}

function isContent(kind: ReadTransaction['changes'][number]['preImage']['kind']): boolean {
  return kind === 'blob' || kind === 'delta'
}

function dropped({ changes }: ReadTransaction) {
  const gone = changes.filter(({ preImage }) => isContent(preImage.kind))
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
