// Removes records of transactions: what others need of them is written into those first, or nothing is removed.
import { isFailure, messageOf, VmlError } from '../base/failure.ts'
import { silentReporter } from '../base/progress.ts'
import { printable } from '../base/raw-text.ts'
import type { EntryId } from '../model/ids.ts'
import type { RawPath } from '../model/raw-path.ts'
import { type ChainedChange, followDeltas, headsOf } from './delta-chains.ts'
import { entryName, entryWord, type LoggedEntry } from '../engine/entries.ts'
import type { RecordKeeping } from './keep-records.ts'
import type { Pin } from './pins.ts'
import { type RemovePlan, runRemove } from '../engine/remove.ts'
import { type NewPreImage, rewriteTransaction } from './rewrite-transaction.ts'
import { readTransactionDocument, readTransactionsOf, type ReadTransaction } from './transaction-entry.ts'
import { inForceSince, transactionEntries, withUndos } from './transactions.ts'

export interface RecordRemover {
  readonly keeping: RecordKeeping
  /** Of the machine's own logbook; a copy elsewhere has none, and stands by itself. */
  pins(): readonly Pin[]
}

export interface RecordRemoval {
  readonly plan: RemovePlan
  /** Records that stay, with what they would lose: deltas against what those that go keep. */
  readonly dependents: ReadonlyMap<ReadTransaction, readonly ChainedChange[]>
  /** Of those that go, what is in force and came after one that stays: nothing leads all the way to before that one any more. Oldest first. */
  readonly inForce: readonly LoggedEntry[]
  /** All there are. */
  readonly transactions: readonly ReadTransaction[]
}

/**
 * Reads only. Fails with `conflict` where an undo would go without what it took back: that would count as not undone. Undefined where no
 * record of a transaction is to go.
 */
export async function planRecordRemoval(
  { keeping, pins: pinsNow }: RecordRemover,
  plan: RemovePlan,
): Promise<RecordRemoval | undefined> {
  if (!plan.entries.some(({ kind }) => kind === 'transaction')) return undefined
  const going = new Set(plan.entries.map(({ id }) => id))
  const transactions = await readGoingAndStaying(keeping, going)
  requireWhatTheyTookBack(transactions, going)
  const pins = pinsNow()
  const broken = new Set(followDeltas(transactions, pins).broken.map(({ change }) => change))
  const staying = transactions.filter(({ entry }) => !going.has(entry.id))
  const lost = followDeltas(staying, pins).broken.filter(({ change }) => !broken.has(change))
  return {
    plan,
    transactions,
    dependents: Map.groupBy(headsOf(lost), ({ transaction }) => transaction),
    inForce: inForceAmong(transactions, going),
  }
}

function inForceAmong(transactions: readonly ReadTransaction[], going: ReadonlySet<EntryId>): LoggedEntry[] {
  const machines = Map.groupBy(withUndos(transactions), ({ entry }) => entry.machine)
  return [...machines.values()].flatMap((listed) => {
    const first = listed.findIndex(({ entry }) => !going.has(entry.id))
    if (first < 0) return []
    return inForceSince(listed, first).changes.flatMap(({ entry }) => (going.has(entry.id) ? [entry] : []))
  })
}

/** Of a record that goes and cannot be read nothing can be saved for others, and it must not stand in the way for ever. */
async function readGoingAndStaying(
  { logbook, place }: RecordKeeping,
  going: ReadonlySet<EntryId>,
): Promise<readonly ReadTransaction[]> {
  const { repository } = logbook
  const entries = await transactionEntries(logbook, place)
  return await readTransactionsOf(repository, entries, place, async (entry, error) => {
    if (!going.has(entry.id) || !isFailure(error, 'integrity.format')) throw error
    place.reporter.warn({
      warning: `What ${entryName(entry)} keeps for others goes with it, since it cannot be read (${messageOf(error)}): vml tx check tells afterwards which are incomplete`,
    })
    return { entry, document: await readTransactionDocument(repository, entry, place), changes: [] }
  })
}

/**
 * Order: the records that stay are written anew, each whole by itself, with the contents that they need; then the others go. Cut off
 * anywhere, every record that says that it is complete is. Pins that nothing needs any more go with the next transaction: one that is just being recorded has
 * pins that no record tells of yet.
 */
export async function runRecordRemoval(remover: RecordRemover, removal: RecordRemoval): Promise<void> {
  const { keeping } = remover
  const { logbook, place } = keeping
  const { plan, dependents, transactions } = removal
  const contents = keeping.contentsOf(transactions)
  // What cannot be read was told when it was planned.
  const quiet = { ...place, reporter: silentReporter }
  for (const [transaction, changes] of dependents) {
    const preImages = new Map<RawPath, NewPreImage>()
    for (const { change } of changes) {
      try {
        const content = await contents.before(transaction, change)
        preImages.set(change.path, { preImage: { kind: 'blob' }, content })
      } catch (error) {
        throw isFailure(error, 'cancelled') ? error : needed(plan.entries, transaction, change.path, error)
      }
    }
    await rewriteTransaction(logbook, transaction, { preImages, gaps: [] }, place.signal)
  }
  await runRemove(logbook, plan, place.signal, async () => {
    const now = await planRecordRemoval({ ...remover, keeping: { ...keeping, place: quiet } }, plan)
    if (now === undefined || now.dependents.size === 0) return
    throw new VmlError('conflict', 'Cannot remove these: the logbook was changed since it was looked at', {
      hint: 'Nothing was removed. Run the command again',
    })
  })
}

function needed(
  going: readonly LoggedEntry[],
  { entry }: ReadTransaction,
  path: RawPath,
  cause: unknown,
): VmlError {
  return new VmlError(
    'conflict',
    `Cannot remove ${going.map(entryName).join(', ')}: ${entryName(entry)} needs it for "${printable(path)}", which cannot be written into it: ${messageOf(cause)}`,
    {
      cause,
      details: { entry: entry.id, path: printable(path) },
      hint: `Nothing was removed. Remove ${entryName(entry)} too, or keep both`,
    },
  )
}

/** What an undo took back counts as undone because of it. */
function requireWhatTheyTookBack(
  transactions: readonly ReadTransaction[],
  going: ReadonlySet<EntryId>,
): void {
  const known = new Map(transactions.map((transaction) => [transaction.entry.id, transaction]))
  const all = new Set<EntryId>()
  const pending = [...going].filter((id) => known.has(id))
  for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
    if (all.has(id)) continue
    all.add(id)
    // In what order they were made says nothing: whatever is there of them has to go along.
    pending.push(...(known.get(id)?.document.takesBack ?? []).filter((each) => known.has(each)))
  }
  const missing = [...all].filter((id) => !going.has(id)).flatMap((id) => known.get(id)?.entry ?? [])
  const [first] = missing
  if (first === undefined) return
  const by = transactions.find(
    ({ entry, document }) => going.has(entry.id) && document.takesBack?.includes(first.id),
  )
  const chosen = transactions.filter(({ entry }) => all.has(entry.id)).map(({ entry }) => entryWord(entry))
  throw new VmlError(
    'conflict',
    `Cannot remove ${by ? entryName(by.entry) : 'these'} alone: it took back ${missing.map(entryName).join(', ')}, and whether ${missing.length === 1 ? 'that counts' : 'those count'} as undone is told by it`,
    {
      details: { missing: missing.map(({ id }) => id) },
      hint: `Nothing was removed. Remove them together: vml rm ${chosen.join(' ')}`,
    },
  )
}
