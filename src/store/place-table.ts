// Every place of every blob of one type, for a prune: 41 bytes a place (49 with offsets) and 5 to 11 for finding it.
import type { BlobId } from '../model/ids.ts'

/** What is known of a place, one bit each. */
export const placeFlags = {
  /** Some snapshot needs the blob. Set on its first place. */
  used: 1,
  /** Of the places of a used blob, the one that stays. */
  chosen: 2,
  /** The same blob was added before, in another pack. */
  later: 4,
  /** Set on the first place of a blob that has others. */
  several: 8,
  /** Stands in an index that is being written. */
  written: 16,
} as const

export interface NewPlace {
  readonly pack: number
  readonly offset: number
  readonly length: number
  readonly plainLength?: number | undefined
}

export interface PlaceTable {
  /** Places are numbered from 0 in the order in which they were added. */
  readonly size: number
  /** False where that pack has the blob already. */
  add(id: string, place: NewPlace): boolean
  /** The first place of a blob, or -1. */
  find(id: string): number
  /** All places of the blob whose first place this is, the first one included. */
  placesOf(first: number): readonly number[]
  /** The place of a blob in that pack, or -1. */
  findIn(id: string, pack: number): number
  id(place: number): BlobId
  pack(place: number): number
  length(place: number): number
  /** 0 in a table without offsets. */
  offset(place: number): number
  /** Undefined where the blob is not compressed, or the table has no offsets. */
  plainLength(place: number): number | undefined
  has(place: number, flag: number): boolean
  set(place: number, flag: number): void
  clear(place: number, flag: number): void
}

/** Growing by whole segments never copies a place. */
const segmentPlaces = 8192
const idWords = 8
/** Two programs that store at once make two places; so many come from a forged index, and would make each look-up slow. */
const placesOfBlobMax = 256

/** `located` keeps offset and plain length too: for trees, which are read. */
export function openPlaceTable({ located }: { readonly located: boolean }): PlaceTable {
  const placeWords = idWords + (located ? 4 : 2)
  const segments: Uint32Array[] = []
  const flagSegments: Uint8Array[] = []
  // Place + 1; 0 is free. Linear probing from the first word of the id: a SHA-256 is evenly spread.
  let slots = new Uint32Array(16 * 1024)
  let used = 0
  const key = new Uint32Array(idWords)
  const keyBytes = Buffer.from(key.buffer)

  const segmentOf = (place: number): Uint32Array => {
    const segment = segments[Math.floor(place / segmentPlaces)]
    if (!segment) throw new RangeError('No such place')
    return segment
  }
  const word = (place: number, at: number) =>
    segmentOf(place)[(place % segmentPlaces) * placeWords + idWords + at] ?? 0
  const hasKey = (place: number): boolean => {
    const segment = segmentOf(place)
    const at = (place % segmentPlaces) * placeWords
    for (let index = 0; index < idWords; index++) if (segment[at + index] !== key[index]) return false
    return true
  }
  const loadKey = (place: number) => {
    const at = (place % segmentPlaces) * placeWords
    key.set(segmentOf(place).subarray(at, at + idWords))
  }
  const flagsOf = (place: number) =>
    flagSegments[Math.floor(place / segmentPlaces)]?.[place % segmentPlaces] ?? 0
  const setFlags = (place: number, flags: number) => {
    const segment = flagSegments[Math.floor(place / segmentPlaces)]
    if (segment) segment[place % segmentPlaces] = flags
  }
  /** Places of the blob in `key` in the order in which they were added; ends at the slot for another one. */
  const probe = (visit: (place: number) => boolean): number => {
    const mask = slots.length - 1
    for (let slot = (key[0] ?? 0) & mask; ; slot = (slot + 1) & mask) {
      const place = (slots[slot] ?? 0) - 1
      if (place < 0) return slot
      if (hasKey(place) && visit(place)) return slot
    }
  }
  const grow = () => {
    slots = new Uint32Array(slots.length * 2)
    for (let place = 0; place < used; place++) {
      loadKey(place)
      slots[probe(() => false)] = place + 1
    }
  }
  return {
    get size() {
      return used
    },
    add(id, { pack, offset, length, plainLength }) {
      keyBytes.write(id, 0, 'hex')
      let first = -1
      let count = 0
      let known = false
      const slot = probe((place) => {
        if (first < 0) first = place
        count++
        known = word(place, 0) === pack || count === placesOfBlobMax
        return known
      })
      if (known) return false
      if (used % segmentPlaces === 0) {
        segments.push(new Uint32Array(segmentPlaces * placeWords))
        flagSegments.push(new Uint8Array(segmentPlaces))
      }
      const segment = segmentOf(used)
      const at = (used % segmentPlaces) * placeWords
      segment.set(key, at)
      segment[at + idWords] = pack
      segment[at + idWords + 1] = length
      if (located) {
        segment[at + idWords + 2] = offset
        segment[at + idWords + 3] = plainLength ?? 0
      }
      if (first >= 0) {
        setFlags(first, flagsOf(first) | placeFlags.several)
        setFlags(used, placeFlags.later)
      }
      slots[slot] = ++used
      if (used * 4 > slots.length * 3) grow()
      return true
    },
    find(id) {
      keyBytes.write(id, 0, 'hex')
      return (slots[probe(() => true)] ?? 0) - 1
    },
    placesOf(first) {
      if ((flagsOf(first) & placeFlags.several) === 0) return [first]
      const places: number[] = []
      loadKey(first)
      probe((place) => {
        places.push(place)
        return false
      })
      return places
    },
    findIn(id, pack) {
      keyBytes.write(id, 0, 'hex')
      return (slots[probe((place) => word(place, 0) === pack)] ?? 0) - 1
    },
    id(place) {
      loadKey(place)
      return keyBytes.toString('hex') as BlobId
    },
    pack: (place) => word(place, 0),
    length: (place) => word(place, 1),
    offset: (place) => (located ? word(place, 2) : 0),
    plainLength: (place) => (located ? word(place, 3) || undefined : undefined),
    has: (place, flag) => (flagsOf(place) & flag) !== 0,
    set: (place, flag) => setFlags(place, flagsOf(place) | flag),
    clear: (place, flag) => setFlags(place, flagsOf(place) & ~flag),
  }
}
