// Which records lose what they keep where all of them take more than their budget.

/** A record, with what its contents take beyond those that are newer. */
export interface MeasuredRecord {
  readonly bytes: number
  /** With what stays of it: by that it is small or large. */
  readonly wholeBytes: number
  /** Keeps what it has, whatever it takes: the newest. */
  readonly isSpared: boolean
  /** It has something that could go. */
  readonly canGo: boolean
}

/** One large change does not take the whole history with it: what is older has so much of the budget, whatever the newest takes. */
const olderShare = 0.1

/** What takes less than this is small: of one such that goes nobody has any room. */
const smallShare = 0.01

/** Small ones outlive large ones as long as they take no more than this together: else no large one would ever have room. */
const smallOnesShare = 0.5

export function isSmallRecord(bytes: number, limitBytes: number): boolean {
  return bytes < limitBytes * smallShare
}

/** The places of `newestFirst` in the order in which they go: the oldest first, but small ones after all others. */
export function goingOrder(newestFirst: readonly MeasuredRecord[], limitBytes: number): readonly number[] {
  const large: number[] = []
  const small: number[] = []
  let smallBytes = 0
  for (const [at, { wholeBytes, isSpared, canGo }] of newestFirst.entries()) {
    if (isSpared || !canGo) continue
    const isSmall =
      isSmallRecord(wholeBytes, limitBytes) && smallBytes + wholeBytes <= limitBytes * smallOnesShare
    if (isSmall) smallBytes += wholeBytes
    ;(isSmall ? small : large).push(at)
  }
  return [...large.toReversed(), ...small.toReversed()]
}

export interface RecordRoom {
  readonly limitBytes: number
  /** What no going frees. */
  readonly lastingBytes: number
  /** Of those that are spared. */
  readonly sparedBytes: number
}

/** Those that go, by their places in `newestFirst`: no more of that order than is needed. */
export function recordsGoing(
  newestFirst: readonly MeasuredRecord[],
  { limitBytes, lastingBytes, sparedBytes }: RecordRoom,
): ReadonlySet<number> {
  const all = limitBytes - lastingBytes
  const room = Math.max(all - sparedBytes, Math.min(all, limitBytes * olderShare))
  const order = goingOrder(newestFirst, limitBytes)
  const bytesOf = (at: number) => newestFirst[at]?.bytes ?? 0
  let staying = order.reduce((sum, at) => sum + bytesOf(at), 0)
  const going = new Set<number>()
  for (const at of order) {
    if (staying <= room) break
    going.add(at)
    staying -= bytesOf(at)
  }
  return going
}
