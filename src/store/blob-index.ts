// Where each blob lies, for the whole repository in memory: about 55 bytes a blob, in memory that threads share.
import { VmlError } from '../base/failure.ts'
import type { BlobId, PackId, TreeId } from '../model/ids.ts'
import {
  type BlobClaims,
  claimEntry,
  compressedBit,
  entryWords,
  isClaim,
  isPlaced,
  packMask,
  placeWord,
  probeSlot,
  segmentEntries,
  type SharedBlobTable,
  treeBit,
} from './blob-table.ts'
import { type PackedBlob, packHeaderBytes } from './pack-format.ts'
import type { BlobType } from './store.ts'

export interface BlobLocation {
  readonly pack: PackId
  readonly offset: number
  readonly length: number
  /** Undefined where the blob is not compressed. */
  readonly plainLength: number | undefined
}

/** Claims are for a writer: a blob that is claimed has no place yet, and nobody else sees it. */
export interface BlobIndex extends BlobClaims {
  readonly blobs: number
  /** Names a pack and its blobs. A blob that lies elsewhere too keeps its first place, and this one as another. */
  add(pack: PackId, blobs: Iterable<PackedBlob>): void
  has(type: BlobType, id: BlobId | TreeId): boolean
  /** Whether it has a place or is claimed. */
  isKnown(type: BlobType, id: BlobId | TreeId): boolean
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
  /**
   * Memory for other threads to claim so many further blobs in. What this thread adds beyond that is not seen by
   * them. To be called while no other thread claims; ends with `endSharing`.
   */
  share(blobs: number): SharedBlobTable
  /** No other thread claims any more. */
  endSharing(): void
  /** Views of its memory, valid until it is changed, or a copy where it has entries without a place. To be asked for while nobody claims. */
  image(): BlobIndexImage
  /** Forgets what was claimed and never placed: its writer has ended. */
  dropClaims(): void
}

/** Everything that a table holds, for a copy of it elsewhere. */
export interface BlobIndexImage {
  readonly packs: readonly PackId[]
  readonly packBytes: readonly number[]
  /** Further places of blobs, by `TYPE/ID`. */
  readonly others: readonly (readonly [string, readonly OtherPlace[]])[]
  readonly slots: Uint32Array
  /** In order, in one piece or several. */
  readonly entries: readonly Uint32Array[]
}

interface OtherPlace {
  readonly packNumber: number
  readonly location: Omit<BlobLocation, 'pack'>
}

/** 2^30 packs and 4 GiB a pack are beyond what restic writes. */
const numberMax = 0xffff_ffff
const slotsMin = 16 * 1024

/** `image` fills it, whose memory becomes that of the table: it is copied to where threads see it when they are to. */
export function openBlobIndex(image?: BlobIndexImage): BlobIndex {
  const segments: Uint32Array[] = image ? segmentsOf(image.entries) : []
  const packs: PackId[] = [...(image?.packs ?? [])]
  const packBytes: number[] = [...(image?.packBytes ?? [])]
  const packNumbers = new Map<PackId, number>(packs.map((pack, number) => [pack, number]))
  const others = new Map<string, readonly OtherPlace[]>(image?.others)
  // At most 3/4 full.
  let slots = image?.slots ?? sharedWords(slotsMin)
  /** What other threads see of the slots, while they differ. */
  let sharedSlots: Uint32Array | undefined
  const control = sharedWords(1)
  control[0] = image ? image.entries.reduce((sum, { length }) => sum + length, 0) / entryWords : 0
  let placed = control[0]
  /** No entry before this one is a claim. */
  let claimsFrom = placed
  const key = new Uint32Array(placeWord)
  const keyBytes = Buffer.from(key.buffer)

  const used = () => Atomics.load(control, 0)
  const segmentOf = (entry: number) => {
    const segment = segments[Math.floor(entry / segmentEntries)]
    if (!segment) throw new RangeError('No such entry')
    return segment
  }
  const wordOf = (entry: number, word: number) =>
    segmentOf(entry)[(entry % segmentEntries) * entryWords + word] ?? 0
  const isTree = (entry: number) => (wordOf(entry, placeWord) & treeBit) !== 0
  const setKey = (entry: number) => {
    const at = (entry % segmentEntries) * entryWords
    key.set(segmentOf(entry).subarray(at, at + placeWord))
  }

  /** The entry of the blob in `key`, placed or claimed, or -1. */
  const findEntry = (tree: boolean): number => {
    const entry = (slots[probeSlot({ slots, segments, key }, tree)] ?? 0) - 1
    if (entry >= 0 || sharedSlots === undefined || sharedSlots === slots) return entry
    return (sharedSlots[probeSlot({ slots: sharedSlots, segments, key }, tree)] ?? 0) - 1
  }
  const findPlaced = (type: BlobType, id: string): number => {
    keyBytes.write(id, 0, 'hex')
    const entry = findEntry(type === 'tree')
    return entry >= 0 && isPlaced(segmentOf(entry), (entry % segmentEntries) * entryWords) ? entry : -1
  }
  const allocate = (entries: number) => {
    while (segments.length * segmentEntries < entries) segments.push(sharedWords(segmentEntries * entryWords))
  }
  /** Slots for so many entries, filled with those that count. */
  const rebuild = (entries: number, keepClaims: boolean) => {
    let size = slotsMin
    while (size * 3 < entries * 4) size *= 2
    slots = sharedWords(size)
    for (let entry = 0; entry < used(); entry++) {
      const segment = segmentOf(entry)
      const at = (entry % segmentEntries) * entryWords
      if (!isPlaced(segment, at) && !(keepClaims && isClaim(segment, at))) continue
      setKey(entry)
      slots[probeSlot({ slots, segments, key }, isTree(entry))] = entry + 1
    }
  }
  /** Without what was claimed and never placed, and what lost a race. */
  const placedOnly = () => {
    const left: Uint32Array[] = []
    const leftSlots = new Uint32Array(slots.length)
    let count = 0
    for (let entry = 0; entry < used(); entry++) {
      const segment = segmentOf(entry)
      const at = (entry % segmentEntries) * entryWords
      if (!isPlaced(segment, at)) continue
      const to = (count % segmentEntries) * entryWords
      if (to === 0) left.push(new Uint32Array(segmentEntries * entryWords))
      left.at(-1)?.set(segment.subarray(at, at + entryWords), to)
      setKey(entry)
      leftSlots[probeSlot({ slots: leftSlots, segments: left, key }, isTree(entry))] = ++count
    }
    return { slots: leftSlots, segments: left }
  }
  /** The entry of the blob in `key`, made where there was none. */
  const enter = (tree: boolean): { readonly entry: number; readonly isNew: boolean } => {
    if (sharedSlots !== undefined && sharedSlots !== slots) {
      const entry = findEntry(tree)
      if (entry >= 0) return { entry, isNew: false }
    }
    const next = used() + 1
    allocate(next)
    if (next * 4 > slots.length * 3) {
      const wanted = key.slice()
      rebuild(slots.length, true)
      key.set(wanted)
    }
    const entered = claimEntry({ slots, segments, control, key }, tree)
    if (!entered) throw new RangeError('The table of blobs is full')
    return entered
  }
  const packOf = (packNumber: number): PackId => {
    const pack = packs[packNumber]
    if (pack === undefined) throw new RangeError('No such pack')
    return pack
  }
  const locationOf = (entry: number): BlobLocation => {
    const word = wordOf(entry, placeWord)
    return {
      pack: packOf((word & packMask) - 1),
      offset: wordOf(entry, 9),
      length: wordOf(entry, 10),
      plainLength: (word & compressedBit) === 0 ? undefined : wordOf(entry, 11),
    }
  }
  const blobOf = (entry: number): PackedBlob => {
    const { offset, length, plainLength } = locationOf(entry)
    setKey(entry)
    const id = keyBytes.toString('hex') as BlobId
    const type = isTree(entry) ? 'tree' : 'data'
    return { type, id, offset, length, ...(plainLength === undefined ? {} : { plainLength }) }
  }
  const place = (entry: number, packNumber: number, blob: PackedBlob) => {
    const segment = segmentOf(entry)
    const at = (entry % segmentEntries) * entryWords
    segment[at + 9] = blob.offset
    segment[at + 10] = blob.length
    segment[at + 11] = blob.plainLength ?? 0
    segment[at + placeWord] =
      packNumber +
      1 +
      (blob.type === 'tree' ? treeBit : 0) +
      (blob.plainLength === undefined ? 0 : compressedBit)
    placed++
  }
  /** False for a place that is known already. */
  const addBlob = (packNumber: number, blob: PackedBlob): boolean => {
    keyBytes.write(blob.id, 0, 'hex')
    const { entry } = enter(blob.type === 'tree')
    if (!isPlaced(segmentOf(entry), (entry % segmentEntries) * entryWords)) {
      place(entry, packNumber, blob)
      return true
    }
    const known = locationOf(entry)
    const inPack = (wordOf(entry, placeWord) & packMask) - 1
    if (inPack === packNumber && known.offset === blob.offset) return false
    const name = `${blob.type}/${blob.id}`
    const { offset, length, plainLength } = blob
    const elsewhere = others.get(name) ?? []
    if (elsewhere.some((other) => other.packNumber === packNumber && other.location.offset === offset))
      return false
    others.set(name, [...elsewhere, { packNumber, location: { offset, length, plainLength } }])
    return true
  }
  const findAll = (type: BlobType, id: string) => {
    const entry = findPlaced(type, id)
    if (entry < 0) return []
    const elsewhere = others.get(`${type}/${id}`) ?? []
    return [
      locationOf(entry),
      ...elsewhere.map(({ packNumber, location }) => ({ pack: packOf(packNumber), ...location })),
    ]
  }
  return {
    get blobs() {
      return placed
    },
    add(pack, blobs) {
      let packNumber = packNumbers.get(pack)
      if (packNumber === undefined) {
        packNumber = packs.length
        if (packNumber >= packMask - 1)
          throw new VmlError('unsupported', 'Cannot load the index: too many packs')
        packs.push(pack)
        packBytes.push(packHeaderBytes([]))
        packNumbers.set(pack, packNumber)
      }
      // Two indexes may each name a part of a pack (an old restic did), or all of it.
      let bytes = packBytes[packNumber] ?? 0
      for (const blob of blobs) {
        if (blob.offset + blob.length > numberMax) {
          throw new VmlError('integrity.format', `Pack ${pack} cannot hold a blob at ${blob.offset}`)
        }
        if (addBlob(packNumber, blob)) bytes += blob.length + packHeaderBytes([blob]) - packHeaderBytes([])
      }
      packBytes[packNumber] = bytes
    },
    has: (type, id) => findPlaced(type, id) >= 0,
    isKnown(type, id) {
      keyBytes.write(id, 0, 'hex')
      return findEntry(type === 'tree') >= 0
    },
    claim(type, id) {
      keyBytes.write(id, 0, 'hex')
      return enter(type === 'tree').isNew
    },
    findAll,
    hasPack: (pack) => packNumbers.has(pack),
    packBytes: (pack) => packBytes[packNumbers.get(pack) ?? -1] ?? 0,
    *packs() {
      for (const [pack, packNumber] of packNumbers) yield { pack, bytes: packBytes[packNumber] ?? 0 }
    },
    *packContents() {
      const byPack = new Uint32Array(placed)
      for (let entry = 0, at = 0; entry < used(); entry++)
        if (isPlaced(segmentOf(entry), (entry % segmentEntries) * entryWords)) byPack[at++] = entry
      byPack.sort(
        (left, right) => (wordOf(left, placeWord) & packMask) - (wordOf(right, placeWord) & packMask),
      )
      const elsewhere = Map.groupBy(
        [...others].flatMap(([name, places]) => places.map((place) => ({ name, ...place }))),
        ({ packNumber }) => packNumber,
      )
      let next = 0
      for (const [packNumber, pack] of packs.entries()) {
        const blobs: PackedBlob[] = []
        for (
          ;
          next < byPack.length && (wordOf(byPack[next] ?? 0, placeWord) & packMask) === packNumber + 1;
          next++
        ) {
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
    share(blobs) {
      if (sharedSlots !== undefined) throw new Error('The table of blobs is shared already')
      const entries = used() + blobs
      if (entries * 4 > slots.length * 3) rebuild(entries, true)
      slots = inSharedMemory(slots)
      for (const [at, segment] of segments.entries()) segments[at] = inSharedMemory(segment)
      allocate(entries)
      sharedSlots = slots
      return {
        slots: sharedMemory(slots),
        segments: segments.map(sharedMemory),
        control: sharedMemory(control),
      }
    },
    endSharing() {
      if (sharedSlots !== undefined && sharedSlots !== slots) rebuild(used(), true)
      sharedSlots = undefined
    },
    image() {
      const own = placed === used() ? { slots, segments } : placedOnly()
      const full = Math.floor(placed / segmentEntries)
      const rest = own.segments[full]?.subarray(0, (placed % segmentEntries) * entryWords)
      return {
        packs,
        packBytes,
        others: [...others],
        slots: own.slots,
        entries: [...own.segments.slice(0, full), ...(rest ? [rest] : [])],
      }
    },
    dropClaims() {
      const end = used()
      let dropped = false
      for (let entry = claimsFrom; entry < end && !dropped; entry++)
        dropped = isClaim(segmentOf(entry), (entry % segmentEntries) * entryWords)
      if (dropped) rebuild(end, false)
      claimsFrom = end
    },
  }
}

/** Views of the pieces where these end with a segment; what is shorter gets room to grow. */
function segmentsOf(entries: readonly Uint32Array[]): Uint32Array[] {
  const segments: Uint32Array[] = []
  const words = segmentEntries * entryWords
  let filled = words
  for (const piece of entries) {
    for (let at = 0; at < piece.length;) {
      if (filled === words && piece.length - at >= words) {
        segments.push(piece.subarray(at, at + words))
        at += words
        continue
      }
      if (filled === words) {
        segments.push(sharedWords(words))
        filled = 0
      }
      const part = piece.subarray(at, at + words - filled)
      segments.at(-1)?.set(part, filled)
      filled += part.length
      at += part.length
    }
  }
  return segments
}

function sharedWords(words: number): Uint32Array {
  return new Uint32Array(new SharedArrayBuffer(words * Uint32Array.BYTES_PER_ELEMENT))
}

function inSharedMemory(words: Uint32Array): Uint32Array {
  if (words.buffer instanceof SharedArrayBuffer) return words
  const shared = sharedWords(words.length)
  shared.set(words)
  return shared
}

function sharedMemory({ buffer }: Uint32Array): SharedArrayBuffer {
  if (buffer instanceof SharedArrayBuffer) return buffer
  throw new TypeError('This memory is not shared')
}
