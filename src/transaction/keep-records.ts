// What becomes of older records once there is a newer one: what their deltas stand on.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
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
