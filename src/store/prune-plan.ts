// What a prune will do, as a value: which packs go, which are rewritten first, and what that frees. Pure.
import type { PackId } from '../model/ids.ts'

/** How much may stay though nothing needs it: a share of everything, or bytes. */
export type MaxUnused = { readonly share: number } | { readonly bytes: number }

export interface PruneRule {
  readonly maxUnused: MaxUnused
  /** Bytes of packs that one run reads to rewrite them. */
  readonly maxRepackBytes: number
}

export const pruneRuleDefault: PruneRule = {
  maxUnused: { share: 0.05 },
  maxRepackBytes: Number.POSITIVE_INFINITY,
}

/** What the rule looks at. */
export interface PackFacts {
  readonly id: PackId
  /** Undefined for one that an index names and that is not there. */
  readonly sizeBytes: number | undefined
  readonly blobs: number
  readonly treeBlobs: number
  /** Of the blobs that have to stay and stay here. */
  readonly usedBlobs: number
  readonly usedBytes: number
}

export interface PackSet {
  readonly packs: readonly PackId[]
  readonly bytes: number
}

export interface PrunePlan {
  readonly snapshots: number
  readonly total: {
    readonly packs: number
    readonly bytes: number
    readonly blobs: number
    readonly indexFiles: number
  }
  readonly used: { readonly blobs: number; readonly bytes: number }
  /** Further copies of blobs that are needed. */
  readonly duplicates: { readonly blobs: number; readonly bytes: number }
  /** Marked by an earlier run and needed by nothing still: this run deletes them. */
  readonly due: PackSet
  /** Marked by an earlier run and needed since: they stay. */
  readonly back: PackSet
  /** Nothing needs them: marked. */
  readonly unused: PackSet
  /** No index names them; what a killed save left, or what a running one is writing: marked. */
  readonly unindexed: PackSet
  /** Little of them is needed: that is written anew, and they are marked. */
  readonly repack: PackSet & { readonly rewriteBytes: number }
  /** Bytes that nothing needs, in packs that stay. */
  readonly keptUnusedBytes: number
}

export interface PlanInput {
  readonly snapshots: number
  readonly indexFiles: number
  readonly packs: readonly PackFacts[]
  readonly unindexed: ReadonlyMap<PackId, number>
  /** By an earlier run. */
  readonly marked: ReadonlySet<PackId>
  readonly duplicates: PrunePlan['duplicates']
}

/** restic's smallest pack, of which four fifths are enough (internal/repository/prune.go, calculateTargetPacksize). */
const smallBytes = (4 * 1024 * 1024 * 4) / 5
/** Fewer small packs are not worth the trouble: as restic has it. */
const smallPacksMin = 10

/**
 * The rule is that of restic's prune (internal/repository/prune.go, decidePackAction): packs with trees are rewritten as soon as a part
 * of them is not needed, many small ones always, packs with data from the emptiest on until what stays unneeded is within `maxUnused`.
 */
export function planPrune(input: PlanInput, rule: PruneRule): PrunePlan {
  const { snapshots, indexFiles, packs, marked, duplicates } = input
  const [due, back, unused, unindexed, repack] = [openSet(), openSet(), openSet(), openSet(), openSet()]
  const candidates: PackFacts[] = []
  const small: PackFacts[] = []
  const total = { packs: 0, bytes: 0, blobs: 0, indexFiles }
  const used = { blobs: 0, bytes: 0 }
  let keptUnusedBytes = 0
  for (const pack of packs) {
    const bytes = pack.sizeBytes ?? 0
    if (pack.sizeBytes !== undefined) total.packs++
    total.bytes += bytes
    total.blobs += pack.blobs
    used.blobs += pack.usedBlobs
    used.bytes += pack.usedBytes
    if (pack.usedBlobs === 0) {
      const set = marked.has(pack.id) ? due : unused
      set.add(pack.id, bytes)
      continue
    }
    if (marked.has(pack.id)) back.add(pack.id, bytes)
    const mixed = pack.treeBlobs > 0 && pack.treeBlobs < pack.blobs
    if (pack.usedBlobs < pack.blobs || mixed) candidates.push(pack)
    else if (bytes < smallBytes) small.push(pack)
    keptUnusedBytes += wasteOf(pack)
  }
  for (const [pack, bytes] of input.unindexed) {
    const set = marked.has(pack) ? due : unindexed
    set.add(pack, bytes)
    total.packs++
    total.bytes += bytes
  }
  if (small.length >= smallPacksMin) candidates.push(...small)

  const allowedBytes = allowance(rule.maxUnused, used.bytes)
  let rewriteBytes = 0
  for (const pack of candidates.toSorted(byUrgency)) {
    const bytes = pack.sizeBytes ?? 0
    if (repack.bytes + bytes > rule.maxRepackBytes) continue
    if (!hasTrees(pack) && !isSmall(pack) && keptUnusedBytes <= allowedBytes) continue
    repack.add(pack.id, bytes)
    rewriteBytes += pack.usedBytes
    keptUnusedBytes -= wasteOf(pack)
  }
  return {
    snapshots,
    total,
    used,
    duplicates,
    due: due.value(),
    back: back.value(),
    unused: unused.value(),
    unindexed: unindexed.value(),
    repack: { ...repack.value(), rewriteBytes },
    keptUnusedBytes,
  }
}

/** Packs that may be deleted: those that an earlier run marked, and with `now` those that this one marks. */
export function doomedPacks(plan: PrunePlan, { now }: { readonly now: boolean }): ReadonlySet<PackId> {
  const { due, unused, unindexed, repack } = plan
  return new Set([due, ...(now ? [unused, unindexed, repack] : [])].flatMap(({ packs }) => packs))
}

function openSet() {
  const packs: PackId[] = []
  let sum = 0
  return {
    add(pack: PackId, bytes: number) {
      packs.push(pack)
      sum += bytes
    },
    get bytes() {
      return sum
    },
    value: (): PackSet => ({ packs, bytes: sum }),
  }
}

function wasteOf({ sizeBytes = 0, blobs, usedBlobs, usedBytes }: PackFacts): number {
  // The header of a pack that is needed whole is no waste.
  return usedBlobs === blobs ? 0 : Math.max(0, sizeBytes - usedBytes)
}

/** A share of what there will be then, not of what is needed. */
function allowance(maxUnused: MaxUnused, usedBytes: number): number {
  if ('bytes' in maxUnused) return maxUnused.bytes
  return maxUnused.share >= 1
    ? Number.POSITIVE_INFINITY
    : (usedBytes * maxUnused.share) / (1 - maxUnused.share)
}

function hasTrees(pack: PackFacts): boolean {
  return pack.treeBlobs > 0
}

function isSmall({ sizeBytes = 0 }: PackFacts): boolean {
  return sizeBytes < smallBytes
}

/** Trees, small ones, then those with the largest share that nothing needs. */
function byUrgency(left: PackFacts, right: PackFacts): number {
  const share = (pack: PackFacts) => wasteOf(pack) / Math.max(1, pack.sizeBytes ?? 0)
  return (
    Number(hasTrees(right)) - Number(hasTrees(left)) ||
    Number(isSmall(right)) - Number(isSmall(left)) ||
    share(right) - share(left) ||
    (left.id < right.id ? -1 : 1)
  )
}
