// What each delta of the records stands on: a pin, its own entry, or a later record. Older records lose their contents first, so none
// may stand on an older one; where a newer large one goes before small ones, what they have of it is seen to (going-records.ts).
import type { RecordedChange } from '../model/transaction.ts'
import type { ReadTransaction } from './transaction-entry.ts'
import type { Pin } from './pins.ts'

export interface ChainedChange {
  readonly transaction: ReadTransaction
  readonly change: RecordedChange
}

export interface DeltaChains {
  /** Nothing gives its base any more. */
  readonly broken: readonly ChainedChange[]
  /** They keep a whole file alive that nothing else needs, or stand on too many others: to be kept as blobs. */
  readonly costly: readonly ChainedChange[]
  /** Pins that no delta needs; once the costly ones are blobs. */
  readonly unneeded: readonly string[]
}

/** Each link is a file read and a delta applied; contents of one path that many are between would take minutes. */
const linksMax = 100

export function followDeltas(transactions: readonly ReadTransaction[], pins: readonly Pin[]): DeltaChains {
  const pinned = new Map(pins.map((pin) => [pin.sha256, pin]))
  const needed = new Set<string>()
  const broken: ChainedChange[] = []
  const costly: ChainedChange[] = []
  /** Contents that later records give, by how many links they are away. */
  const later = new Map<string, number>()
  for (const transaction of transactions.toReversed()) {
    const own = new Set(
      transaction.changes.flatMap(({ after, afterKept }) =>
        afterKept && after?.sha256 ? [after.sha256] : [],
      ),
    )
    const given = new Map<string, number>([...own].map((sha256) => [sha256, 0]))
    for (const change of transaction.changes) {
      const { preImage, before } = change
      let links = 0
      if (preImage.kind === 'delta') {
        const { base } = preImage
        const pin = pinned.get(base)
        const away = later.get(base)
        if (own.has(base)) links = 1
        else if (pin && !pin.isAlone) {
          needed.add(base)
          links = 1
        } else if (away !== undefined && away < linksMax) links = away + 1
        else if (pin || away !== undefined) costly.push({ transaction, change })
        else {
          broken.push({ transaction, change })
          continue
        }
      } else if (preImage.kind !== 'blob' && preImage.kind !== 'reference') continue
      if (before?.sha256 !== undefined)
        given.set(before.sha256, Math.min(links, given.get(before.sha256) ?? links))
    }
    for (const [sha256, links] of given) later.set(sha256, Math.min(links, later.get(sha256) ?? links))
  }
  return {
    broken,
    costly,
    unneeded: pins.map(({ sha256 }) => sha256).filter((sha256) => !needed.has(sha256)),
  }
}

/** Of those that are broken, newest first, the ones that stand on no other of them: with their contents the rest stand again. */
export function headsOf(broken: readonly ChainedChange[]): readonly ChainedChange[] {
  const newer = new Map<string, ReadTransaction>()
  return broken.filter(({ transaction, change: { before, preImage } }) => {
    const above = preImage.kind === 'delta' ? newer.get(preImage.base) : undefined
    const sha256 = before?.sha256
    if (sha256 !== undefined && !newer.has(sha256)) newer.set(sha256, transaction)
    return above === undefined || above === transaction
  })
}
