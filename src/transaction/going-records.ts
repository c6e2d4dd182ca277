// What older records that stay have of those that go for the budget: it is written into them first, or they go, too.
import { droppedReason } from '../model/transaction-record.ts'
import type { PreImage, RecordedChange } from '../model/transaction.ts'
import { type ChainedChange, followDeltas, headsOf } from './delta-chains.ts'
import type { Pin } from './pins.ts'
import { isSmallRecord, type MeasuredRecord } from './records-going.ts'
import type { ReadTransaction } from './transaction-entry.ts'

export interface GoingRecords {
  readonly going: ReadonlySet<ReadTransaction>
  /** Records that stay, with their deltas that stand on what goes. */
  readonly dependents: ReadonlyMap<ReadTransaction, readonly ChainedChange[]>
}

export interface StandingRecords {
  /** All there are, oldest first. */
  readonly transactions: readonly ReadTransaction[]
  readonly pins: readonly Pin[]
  readonly measured: ReadonlyMap<ReadTransaction, MeasuredRecord>
  readonly limitBytes: number
}

/** Where more than this of what is freed would be written anew for those that stay, little would be gained. */
const renewedShare = 0.5

/**
 * All stand on newer ones. One that is written anew takes as much as its contents: where it is small no more by that, or too much would be
 * written for all of them, it goes, too, as it would have gone for its age before them.
 */
export function withDependents(
  first: ReadonlySet<ReadTransaction>,
  { transactions, pins, measured, limitBytes }: StandingRecords,
): GoingRecords {
  const bytesOf = (transaction: ReadTransaction) => measured.get(transaction)?.bytes ?? 0
  const roomBytes = renewedShare * [...first].reduce((sum, each) => sum + bytesOf(each), 0)
  const broken = new Set(followDeltas(transactions, pins).broken.map(({ change }) => change))
  const going = new Set(first)
  const dependents = new Map<ReadTransaction, readonly ChainedChange[]>()
  const originals = new Map(transactions.map((each) => [each.entry.id, each]))
  for (;;) {
    const left = transactions.map((each) =>
      going.has(each) ? withoutContents(each) : withBlobs(each, dependents.get(each) ?? []),
    )
    const lost = followDeltas(left, pins).broken.filter(({ change }) => !broken.has(change))
    if (lost.length === 0) return { going, dependents }
    for (const [{ entry }, changes] of Map.groupBy(headsOf(lost), ({ transaction }) => transaction)) {
      const transaction = originals.get(entry.id)
      if (transaction === undefined) continue
      const all = [
        ...(dependents.get(transaction) ?? []),
        ...changes.map(({ change }) => ({ transaction, change })),
      ]
      dependents.delete(transaction)
      const bytes = contentBytes(all)
      const others = [...dependents.values()].reduce((sum, some) => sum + contentBytes(some), 0)
      const isWorth = isSmallRecord(bytesOf(transaction) + bytes, limitBytes) && others + bytes <= roomBytes
      if (isWorth || measured.get(transaction)?.isSpared) dependents.set(transaction, all)
      else going.add(transaction)
    }
  }
}

/** As a blob. Where that was too little, the record is measured anew in the next round, and may go then. */
function contentBytes(changes: readonly ChainedChange[]): number {
  return compressedShare * changes.reduce((sum, { change }) => sum + (change.before?.size ?? 0), 0)
}

/** Of programs half is left. */
const compressedShare = 0.5

export function isContent({ kind }: PreImage): boolean {
  return kind === 'blob' || kind === 'delta'
}

function withoutContents(transaction: ReadTransaction): ReadTransaction {
  return {
    ...transaction,
    changes: transaction.changes.map((change): RecordedChange => ({
      ...change,
      preImage: isContent(change.preImage) ? { kind: 'lost', reason: droppedReason } : change.preImage,
      afterKept: false,
    })),
  }
}

function withBlobs(transaction: ReadTransaction, renewed: readonly ChainedChange[]): ReadTransaction {
  if (renewed.length === 0) return transaction
  const anew = new Set(renewed.map(({ change }) => change))
  return {
    ...transaction,
    changes: transaction.changes.map((change) =>
      anew.has(change) ? { ...change, preImage: { kind: 'blob' } } : change,
    ),
  }
}
