// What becomes of older records once there is a newer one: what their deltas stand on.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { isDropped } from '../model/transaction-record.ts'
import type { RecordedChange } from '../model/transaction.ts'
import { type ChainedChange, followDeltas } from './delta-chains.ts'
import { entryName, type OpenLogbook } from '../engine/entries.ts'
import { transactionEntries } from './transactions.ts'
import { dropPins, listPins, notePins } from './pins.ts'
import { type NewPreImage, rewriteTransaction } from './rewrite-transaction.ts'
import type { TransactionContents } from './transaction-contents.ts'
import { type ReadTransaction, readTransactionsOf } from './transaction-entry.ts'
import type { Workplace } from './workplace.ts'

export interface RecordKeeping {
  readonly place: Pick<Workplace, 'root' | 'state' | 'reporter' | 'signal'>
  readonly logbook: OpenLogbook
  contentsOf(transactions: readonly ReadTransaction[]): TransactionContents
}

/** All of the machine, oldest first. */
export async function readTransactions({ logbook, place }: RecordKeeping): Promise<ReadTransaction[]> {
  const { signal } = place
  const entries = await transactionEntries(logbook, { signal })
  return await readTransactionsOf(logbook.repository, entries, { signal })
}

/** After a record was made. Deltas that would keep a replaced file alive become blobs; pins that nothing needs go. */
export async function keepRecords(keeping: RecordKeeping): Promise<void> {
  const { place } = keeping
  if (listPins(place).some(({ isAlone }) => isAlone)) await settleDeltas(keeping)
  await notePins(place)
}

/** Order: the new records first, then what they need no more. Gives the number of records that became incomplete. */
export async function settleDeltas(
  keeping: RecordKeeping,
  altered: ReadonlySet<string> = new Set(),
): Promise<number> {
  const { place } = keeping
  const transactions = await readTransactions(keeping)
  const { broken, costly, unneeded } = followDeltas(
    transactions,
    listPins(place).filter(({ sha256 }) => !altered.has(sha256)),
  )
  const contents = keeping.contentsOf(transactions)
  const dropped = droppedContents(transactions)
  const whyLost = ({ change: { before, preImage } }: ChainedChange) => {
    if (preImage.kind !== 'delta' || altered.has(preImage.base) || !dropped.has(preImage.base))
      return alteredReason
    // What stands on it, older, is lost for the same.
    if (before?.sha256 !== undefined) dropped.add(before.sha256)
    return baseDroppedReason
  }
  const stillNeeded = new Set<string>()
  let incomplete = 0
  for (const [transaction, changes] of Map.groupBy([...broken, ...costly], ({ transaction: each }) => each)) {
    const { isIncomplete, left } = await renewDeltas(keeping, transaction, changes, async (chained) => {
      const isBroken = broken.includes(chained)
      return await renewed(contents, chained, isBroken ? whyLost(chained) : undefined)
    })
    for (const { preImage } of left) if (preImage.kind === 'delta') stillNeeded.add(preImage.base)
    if (isIncomplete) incomplete += 1
  }
  dropPins(
    place,
    unneeded.filter((sha256) => !stillNeeded.has(sha256)),
  )
  return incomplete
}

/**
 * For records that stay, before what they stand on goes for the budget. Order: each is written anew, whole by itself; only then the others
 * may go. What cannot be rebuilt is said to be lost at once.
 */
export async function renewDependents(
  keeping: RecordKeeping,
  transactions: readonly ReadTransaction[],
  dependents: ReadonlyMap<ReadTransaction, readonly ChainedChange[]>,
): Promise<void> {
  const contents = keeping.contentsOf(transactions)
  for (const [transaction, changes] of dependents)
    await renewDeltas(keeping, transaction, changes, async (chained) => {
      const fresh = await renewed(contents, chained, baseDroppedReason)
      // A package between it and its base is not fetched for this.
      return fresh ?? { preImage: { kind: 'lost', reason: baseDroppedReason } }
    })
}

/** Undefined for a delta that is to stay: `left`. */
async function renewDeltas(
  { place, logbook }: RecordKeeping,
  transaction: ReadTransaction,
  changes: readonly ChainedChange[],
  renew: (chained: ChainedChange) => Promise<NewPreImage | undefined>,
): Promise<{ readonly isIncomplete: boolean; readonly left: readonly RecordedChange[] }> {
  const preImages = new Map<RawPath, NewPreImage>()
  const gaps: { path: RawPath; reason: string }[] = []
  const left: RecordedChange[] = []
  for (const chained of changes) {
    const fresh = await renew(chained)
    const { path } = chained.change
    if (fresh === undefined) {
      left.push(chained.change)
      continue
    }
    preImages.set(path, fresh)
    if (fresh.preImage.kind === 'lost') gaps.push({ path, reason: fresh.preImage.reason })
  }
  if (preImages.size > 0) await rewriteTransaction(logbook, transaction, { preImages, gaps }, place.signal)
  const [first] = gaps
  if (first)
    place.reporter.warn({
      warning: `${entryName(transaction.entry)} is incomplete now: "${printable(first.path)}"${gaps.length > 1 ? ` and ${gaps.length - 1} more` : ''} cannot be had as before it, since ${first.reason}`,
    })
  return { isIncomplete: first !== undefined, left }
}

const alteredReason = 'the file that its delta was made against was written into, or is gone'
const baseDroppedReason = 'the content that its delta was made against was dropped for the budget'

function droppedContents(transactions: readonly ReadTransaction[]): Set<string> {
  return new Set(
    transactions
      .filter(({ document }) => isDropped(document))
      .flatMap(({ changes }) => changes)
      .flatMap(({ before, after }) => [before?.sha256, after?.sha256])
      .filter((sha256) => sha256 !== undefined),
  )
}

/** Undefined where it cannot be rebuilt now: a delta that nothing is wrong with, which has no `whyLost`, stays; so does one whose package is to be fetched. */
async function renewed(
  contents: TransactionContents,
  { transaction, change }: ChainedChange,
  whyLost: string | undefined,
): Promise<NewPreImage | undefined> {
  try {
    // What lies at the path itself may be the base, though nothing holds it there.
    return { preImage: { kind: 'blob' }, content: await contents.before(transaction, change) }
  } catch (error) {
    if (!(error instanceof VmlError) || error.code === 'cancelled') throw error
    if (whyLost === undefined || error.code === 'unavailable.network') return undefined
    if (!error.code.startsWith('integrity.')) throw error
    return { preImage: { kind: 'lost', reason: whyLost } }
  }
}
