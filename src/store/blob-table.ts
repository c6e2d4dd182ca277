// Which blobs are known: a hash table in memory that threads share, so that of many that meet the same content one stores it.
// Open addressing over entries that never move; an id is a SHA-256, whose first word is spread evenly enough to be the hash.

/** Words of an entry: eight of the id, then pack and type, offset, length, plain length (blob-index.ts). */
export const entryWords = 12
export const placeWord = 8
/** Growing by whole segments never copies an entry and wastes at most one of them. */
export const segmentEntries = 8192
/** Bits of the place word. */
export const treeBit = 0x8000_0000
export const compressedBit = 0x4000_0000
export const packMask = 0x3fff_ffff
/** In place of a pack's number, which counts from 1: a thread is about to store the blob. 0 is an entry that nobody has written. */
const claimedPack = packMask
/** In the last word of an entry that lost the race for its slot. */
const voidMark = 0xffff_ffff

/** What another thread needs to look blobs up and to claim them: memory, no copy of it. */
export interface SharedBlobTable {
  readonly slots: SharedArrayBuffer
  readonly segments: readonly SharedArrayBuffer[]
  /** One word: the number of entries given out. */
  readonly control: SharedArrayBuffer
}

export interface BlobClaims {
  /**
   * True for exactly one of those who ask, unless the blob was known before: that one stores it. Where the table is
   * full everybody is told to, which costs space and nothing else.
   */
  claim(type: 'data' | 'tree', id: string): boolean
}

/** `slots` holds entry number + 1, 0 where free. */
interface Probe {
  readonly slots: Uint32Array
  readonly segments: readonly Uint32Array[]
  readonly key: Uint32Array
}

/** Slot of the blob in `key`, or the free one where it belongs. */
export function probeSlot({ slots, segments, key }: Probe, tree: boolean): number {
  const mask = slots.length - 1
  for (let slot = (key[0] ?? 0) & mask; ; slot = (slot + 1) & mask) {
    const entry = Atomics.load(slots, slot) - 1
    if (entry < 0 || isBlob(segments, entry, key, tree)) return slot
  }
}

export function isBlob(
  segments: readonly Uint32Array[],
  entry: number,
  key: Uint32Array,
  tree: boolean,
): boolean {
  const segment = segments[Math.floor(entry / segmentEntries)]
  // Another thread's entry in memory that came after this view: to be found there, not here.
  if (!segment) return false
  const at = (entry % segmentEntries) * entryWords
  for (let word = 0; word < placeWord; word++) if (segment[at + word] !== key[word]) return false
  return (((segment[at + placeWord] ?? 0) & treeBit) !== 0) === tree
}

/** The entry of the blob in `key`, and whether it was made for this call; undefined where no memory is left for one. */
export function claimEntry(
  probe: Probe & { readonly control: Uint32Array },
  tree: boolean,
): { readonly entry: number; readonly isNew: boolean } | undefined {
  const { slots, segments, key, control } = probe
  const mask = slots.length - 1
  let mine = -1
  for (let slot = (key[0] ?? 0) & mask, seen = 0; seen <= mask; slot = (slot + 1) & mask, seen++) {
    let found = Atomics.load(slots, slot)
    if (found === 0) {
      if (mine < 0) mine = Atomics.add(control, 0, 1)
      const segment = segments[Math.floor(mine / segmentEntries)]
      if (!segment) return undefined
      const at = (mine % segmentEntries) * entryWords
      segment.set(key, at)
      segment.fill(0, at + placeWord, at + entryWords)
      segment[at + placeWord] = claimedPack + (tree ? treeBit : 0)
      // Whoever sees the slot taken sees the entry whole: atomic accesses order all others.
      found = Atomics.compareExchange(slots, slot, 0, mine + 1)
      if (found === 0) return { entry: mine, isNew: true }
    }
    if (!isBlob(segments, found - 1, key, tree)) continue
    if (mine >= 0) {
      const segment = segments[Math.floor(mine / segmentEntries)]
      if (segment) segment[(mine % segmentEntries) * entryWords + entryWords - 1] = voidMark
    }
    return { entry: found - 1, isNew: false }
  }
  return undefined
}

export function isPlaced(segment: Uint32Array, at: number): boolean {
  const pack = (segment[at + placeWord] ?? 0) & packMask
  return pack !== 0 && pack !== claimedPack
}

/** Claimed and not stored: neither an entry that nobody wrote, nor one that lost a race. */
export function isClaim(segment: Uint32Array, at: number): boolean {
  const pack = (segment[at + placeWord] ?? 0) & packMask
  return pack === claimedPack && segment[at + entryWords - 1] !== voidMark
}

/** For a thread that has nothing but the shared memory. */
export function openBlobClaims(shared: SharedBlobTable): BlobClaims {
  const key = new Uint32Array(placeWord)
  const keyBytes = Buffer.from(key.buffer)
  const probe = {
    slots: new Uint32Array(shared.slots),
    segments: shared.segments.map((segment) => new Uint32Array(segment)),
    control: new Uint32Array(shared.control),
    key,
  }
  return {
    claim(type, id) {
      keyBytes.write(id, 0, 'hex')
      return claimEntry(probe, type === 'tree')?.isNew ?? true
    },
  }
}
