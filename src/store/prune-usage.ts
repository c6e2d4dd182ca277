// Decides for each blob that is needed at which of its places it stays, and adds up what each pack is worth then.
import { VmlError } from '../base/failure.ts'
import { type PackId, shortId } from '../model/ids.ts'
import { placeFlags, type PlaceTable } from './place-table.ts'
import type { PruneIndex } from './prune-index.ts'
import type { BlobType } from './store.ts'

export interface Usage {
  readonly usedBlobs: number
  /** As stored. */
  readonly usedBytes: number
  /** Places of needed blobs beyond the one that stays. */
  readonly duplicateBlobs: number
  readonly duplicateBytes: number
}

/**
 * Fills `usedBlobs` and `usedBytes` of the packs. `marked` are packs that an earlier run wants to go: their blobs stay elsewhere where
 * they can. A needed blob that no sound pack has is `integrity.missing`.
 */
export function choosePlaces(index: PruneIndex, marked: ReadonlySet<PackId>): Usage {
  const usage = { usedBlobs: 0, usedBytes: 0, duplicateBlobs: 0, duplicateBytes: 0 }
  for (const pack of index.packs) Object.assign(pack, { usedBlobs: 0, usedBytes: 0 })
  /** Bytes of each pack that some snapshot needs, here or elsewhere. */
  const neededBytes = new Float64Array(index.packs.length)
  for (const type of ['data', 'tree'] as const) {
    const table = index.table(type)
    for (const place of usedPlaces(table)) {
      for (const each of table.placesOf(place)) {
        table.clear(each, placeFlags.chosen)
        const pack = table.pack(each)
        neededBytes[pack] = (neededBytes[pack] ?? 0) + table.length(each)
      }
    }
  }
  const choose = (table: PlaceTable, place: number) => {
    table.set(place, placeFlags.chosen)
    const pack = index.packs[table.pack(place)]
    if (!pack) throw new RangeError('No such pack')
    pack.usedBlobs++
    pack.usedBytes += table.length(place)
    usage.usedBlobs++
    usage.usedBytes += table.length(place)
  }
  // Those that lie in one place only come first: they say which packs stay anyway.
  for (const several of [false, true]) {
    for (const type of ['data', 'tree'] as const) {
      const table = index.table(type)
      for (const first of usedPlaces(table)) {
        if (table.has(first, placeFlags.several) !== several) continue
        const places = table.placesOf(first)
        const sound = places.filter((place) => index.isSound(table.pack(place)))
        const best = sound.reduce<number | undefined>(
          (left, right) =>
            left === undefined ||
            isBetter({ index, marked, neededBytes }, table.pack(right), table.pack(left))
              ? right
              : left,
          undefined,
        )
        if (best === undefined) throw missing(index, type, first)
        choose(table, best)
        usage.duplicateBlobs += places.length - 1
        for (const place of places) if (place !== best) usage.duplicateBytes += table.length(place)
      }
    }
  }
  return usage
}

/** Those of needed blobs, each blob once. */
export function* usedPlaces(table: PlaceTable): Iterable<number> {
  for (let place = 0; place < table.size; place++) if (table.has(place, placeFlags.used)) yield place
}

export function missing(index: PruneIndex, type: BlobType, first: number): VmlError {
  const table = index.table(type)
  const id = table.id(first)
  const packs = table.placesOf(first).map((place) => index.packs[table.pack(place)]?.id ?? '')
  return new VmlError(
    'integrity.missing',
    `Cannot prune: ${type} blob ${shortId(id)} is needed, and pack ${packs.map(shortId).join(', ')} is gone or cut off`,
    {
      details: { blob: id, type, packs },
      hint: 'Nothing was deleted. vml check says which entries are affected',
    },
  )
}

interface Choice {
  readonly index: PruneIndex
  readonly marked: ReadonlySet<PackId>
  readonly neededBytes: Float64Array
}

/** A pack that is not about to go, then one with less waste in it, then the larger one. */
function isBetter({ index, marked, neededBytes }: Choice, left: number, right: number): boolean {
  const facts = (number: number) => {
    const pack = index.packs[number]
    if (!pack) throw new RangeError('No such pack')
    return {
      goes: marked.has(pack.id) && pack.usedBlobs === 0,
      neededShare: (neededBytes[number] ?? 0) / pack.blobBytes,
      bytes: pack.blobBytes,
    }
  }
  const [one, other] = [facts(left), facts(right)]
  if (one.goes !== other.goes) return other.goes
  if (one.neededShare !== other.neededShare) return one.neededShare > other.neededShare
  return one.bytes > other.bytes
}
