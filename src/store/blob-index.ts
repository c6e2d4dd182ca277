// Where each blob lies, for the whole repository in memory: about 55 bytes a blob, in typed arrays.
import { VmlError } from '../base/failure.ts'
import type { BlobId, PackId, TreeId } from '../model/ids.ts'
import { type PackedBlob, packHeaderBytes } from './pack-format.ts'
import type { BlobType } from './store.ts'

export interface BlobLocation {
  readonly pack: PackId
  readonly offset: number
  readonly length: number
  /** Undefined where the blob is not compressed. */
  readonly plainLength: number | undefined
}

export interface BlobIndex {
  readonly blobs: number
  /** Names a pack and its blobs. A blob that lies elsewhere too keeps its first place, and this one as another. */
  add(pack: PackId, blobs: Iterable<PackedBlob>): void
  has(type: BlobType, id: BlobId | TreeId): boolean
  /** Every place, best first; more than one where two programs stored the same blob at once. */
  findAll(type: BlobType, id: BlobId | TreeId): BlobLocation[]
  hasPack(pack: PackId): boolean
  /** What the blobs and the header of a pack must have; 0 for one that is not named. */
  packBytes(pack: PackId): number
  /** Packs that are named, each with the bytes that its blobs and its header must have. */
  packs(): Iterable<{ readonly pack: PackId; readonly bytes: number }>
  /** The same with their blobs in the order in which they lie there. Takes another four bytes a blob meanwhile. */
  packContents(): Iterable<{
    readonly pack: PackId
    readonly bytes: number
    readonly blobs: readonly PackedBlob[]
  }>
}

// Growing by whole segments never copies an entry and wastes at most one of them.
const segmentEntries = 8192
// Words of an entry after the eight of its id: pack and type, offset, length, plain length.
const entryWords = 12
/** 2^31 packs and 4 GiB a pack are beyond what restic writes. */
const numberMax = 0xffff_ffff
// Bits of the pack word.
const treeBit = 0x8000_0000
const compressedBit = 0x4000_0000
const packMask = 0x3fff_ffff

export function openBlobIndex(): BlobIndex {
  const segments: Uint32Array[] = []
  const packs: PackId[] = []
  const packBytes: number[] = []
  const packNumbers = new Map<PackId, number>()
  const others = new Map<string, { packNumber: number; location: Omit<BlobLocation, 'pack'> }[]>()
  // Entry number + 1; 0 is free. Linear probing, at most 3/4 full, from the first word of the id: a SHA-256 is evenly spread.
  let slots = new Uint32Array(16 * 1024)
  let used = 0
  const key = new Uint32Array(8)
  const keyBytes = Buffer.from(key.buffer)

  const segmentOf = (entry: number) => {
    const segment = segments[Math.floor(entry / segmentEntries)]
    if (!segment) throw new RangeError('No such entry')
    return segment
  }
  const wordOf = (entry: number, word: number) =>
    segmentOf(entry)[(entry % segmentEntries) * entryWords + word] ?? 0
  const isTree = (entry: number) => (wordOf(entry, 8) & treeBit) !== 0

  /** Slot of the blob in `key`, or the free one where it belongs. */
  const probe = (tree: boolean): number => {
    const mask = slots.length - 1
    for (let slot = (key[0] ?? 0) & mask; ; slot = (slot + 1) & mask) {
      const entry = (slots[slot] ?? 0) - 1
      if (entry < 0) return slot
      if (sameKey(segmentOf(entry), (entry % segmentEntries) * entryWords, key) && isTree(entry) === tree)
        return slot
    }
  }
  const lookUp = (type: BlobType, id: string): number => {
    keyBytes.write(id, 0, 'hex')
    return (slots[probe(type === 'tree')] ?? 0) - 1
  }
  const grow = () => {
    slots = new Uint32Array(slots.length * 2)
    for (let entry = 0; entry < used; entry++) {
      const segment = segmentOf(entry)
      const at = (entry % segmentEntries) * entryWords
      key.set(segment.subarray(at, at + 8))
      slots[probe(isTree(entry))] = entry + 1
    }
  }
  const packOf = (packNumber: number): PackId => {
    const pack = packs[packNumber]
    if (pack === undefined) throw new RangeError('No such pack')
    return pack
  }
  const locationOf = (entry: number): BlobLocation => {
    const word = wordOf(entry, 8)
    return {
      pack: packOf(word & packMask),
      offset: wordOf(entry, 9),
      length: wordOf(entry, 10),
      plainLength: (word & compressedBit) === 0 ? undefined : wordOf(entry, 11),
    }
  }
  const blobOf = (entry: number): PackedBlob => {
    const { offset, length, plainLength } = locationOf(entry)
    const at = (entry % segmentEntries) * entryWords
    key.set(segmentOf(entry).subarray(at, at + 8))
    const id = keyBytes.toString('hex') as BlobId
    const type = isTree(entry) ? 'tree' : 'data'
    return { type, id, offset, length, ...(plainLength === undefined ? {} : { plainLength }) }
  }
  const writeEntry = (entry: number, packNumber: number, blob: PackedBlob) => {
    const segment = segmentOf(entry)
    const at = (entry % segmentEntries) * entryWords
    segment.set(key, at)
    segment[at + 8] =
      packNumber + (blob.type === 'tree' ? treeBit : 0) + (blob.plainLength === undefined ? 0 : compressedBit)
    segment[at + 9] = blob.offset
    segment[at + 10] = blob.length
    segment[at + 11] = blob.plainLength ?? 0
  }
  const addBlob = (packNumber: number, blob: PackedBlob) => {
    keyBytes.write(blob.id, 0, 'hex')
    const slot = probe(blob.type === 'tree')
    const present = (slots[slot] ?? 0) - 1
    if (present < 0) {
      if (used % segmentEntries === 0) segments.push(new Uint32Array(segmentEntries * entryWords))
      writeEntry(used, packNumber, blob)
      slots[slot] = ++used
      if (used * 4 > slots.length * 3) grow()
      return
    }
    const place = locationOf(present)
    if ((wordOf(present, 8) & packMask) !== packNumber || place.offset !== blob.offset) {
      const name = `${blob.type}/${blob.id}`
      const { offset, length, plainLength } = blob
      const known = others.get(name) ?? []
      if (known.some((other) => other.packNumber === packNumber && other.location.offset === offset)) return
      others.set(name, [...known, { packNumber, location: { offset, length, plainLength } }])
    }
  }
  const findAll = (type: BlobType, id: string) => {
    const entry = lookUp(type, id)
    if (entry < 0) return []
    const elsewhere = others.get(`${type}/${id}`) ?? []
    return [
      locationOf(entry),
      ...elsewhere.map(({ packNumber, location }) => ({ pack: packOf(packNumber), ...location })),
    ]
  }
  return {
    get blobs() {
      return used
    },
    add(pack, blobs) {
      let packNumber = packNumbers.get(pack)
      if (packNumber === undefined) {
        packNumber = packs.length
        if (packNumber > packMask) throw new VmlError('unsupported', 'Cannot load the index: too many packs')
        packs.push(pack)
        packBytes.push(0)
        packNumbers.set(pack, packNumber)
      }
      let bytes = packHeaderBytes([])
      for (const blob of blobs) {
        if (blob.offset + blob.length > numberMax) {
          throw new VmlError('integrity.format', `Pack ${pack} cannot hold a blob at ${blob.offset}`)
        }
        addBlob(packNumber, blob)
        bytes += blob.length + packHeaderBytes([blob]) - packHeaderBytes([])
      }
      // Two indexes may each name a part of a pack (an old restic did); the larger sum is the lower bound.
      packBytes[packNumber] = Math.max(packBytes[packNumber] ?? 0, bytes)
    },
    has: (type, id) => lookUp(type, id) >= 0,
    findAll,
    hasPack: (pack) => packNumbers.has(pack),
    packBytes: (pack) => packBytes[packNumbers.get(pack) ?? -1] ?? 0,
    *packs() {
      for (const [pack, packNumber] of packNumbers) yield { pack, bytes: packBytes[packNumber] ?? 0 }
    },
    *packContents() {
      const byPack = Uint32Array.from({ length: used }, (_, entry) => entry)
      byPack.sort((left, right) => (wordOf(left, 8) & packMask) - (wordOf(right, 8) & packMask))
      const elsewhere = Map.groupBy(
        [...others].flatMap(([name, places]) => places.map((place) => ({ name, ...place }))),
        ({ packNumber }) => packNumber,
      )
      let next = 0
      for (const [packNumber, pack] of packs.entries()) {
        const blobs: PackedBlob[] = []
        for (; next < used && (wordOf(byPack[next] ?? 0, 8) & packMask) === packNumber; next++) {
          blobs.push(blobOf(byPack[next] ?? 0))
        }
        for (const { name, location } of elsewhere.get(packNumber) ?? []) {
          const [type, id] = name.split('/')
          const { plainLength } = location
          blobs.push({
            type: type === 'tree' ? 'tree' : 'data',
            id: id as BlobId,
            offset: location.offset,
            length: location.length,
            ...(plainLength === undefined ? {} : { plainLength }),
          })
        }
        blobs.sort((left, right) => left.offset - right.offset)
        yield { pack, bytes: packBytes[packNumber] ?? 0, blobs }
      }
    },
  }
}

function sameKey(segment: Uint32Array, at: number, key: Uint32Array): boolean {
  for (let word = 0; word < 8; word++) if (segment[at + word] !== key[word]) return false
  return true
}
