// Plans the reading of many files' contents pack by pack: each range once, each blob once, to all its places.
import { VmlError } from '../base/failure.ts'
import { type BlobId, type PackId, shortId } from '../model/ids.ts'
import { sealBytes } from './cipher.ts'
import type { LoadedIndex } from './loaded-index.ts'
import type { CallOptions } from './store.ts'

/** Where a blob goes: the chunk of this number of a file, from this byte on. */
export interface BlobTarget {
  readonly file: number
  readonly chunk: number
  readonly at: number
}

export interface PlannedBlob {
  readonly id: BlobId
  /** From the start of the piece. */
  readonly start: number
  readonly length: number
  /** Undefined where it is not compressed. */
  readonly plainLength: number | undefined
  readonly targets: readonly BlobTarget[]
}

/** Blobs that lie together in one pack, with little between them. */
export interface ContentPiece {
  readonly pack: PackId
  readonly offset: number
  readonly length: number
  readonly blobs: readonly PlannedBlob[]
}

export interface ContentPlan {
  /**
   * Files are numbered by their order, from 0; returns how many bytes the content has. `integrity.missing` where no
   * index names one of the blobs.
   */
  add(content: readonly BlobId[]): Promise<number>
  /** Lengths of a file's chunks. */
  chunkLengths(file: number): number[]
  /** Packs in the order in which they are first needed, each from its start to its end. */
  pieces(): Iterable<ContentPiece>
}

/** Read at once: enough that the way to a storage does not count, little enough for one per thread. */
const pieceBytesMax = 4 * 1024 * 1024
/** What is not wanted between two blobs: cheaper to read than to ask again. */
const gapBytesMax = 128 * 1024
/** A blob of many places (zeros, copies) is decoded once for each so many of them. */
const targetsMax = 8192

// Words of a reference: number of the pack, offset, sealed length, plain length, file, chunk, place in the file (two).
const words = 8
const segmentReferences = 8192
const notCompressed = 0xffff_ffff

/** Takes 36 bytes for each chunk of each file. */
export function openContentPlan(
  index: Pick<LoadedIndex, 'blobs' | 'refresh'>,
  options: CallOptions = {},
): ContentPlan {
  const packs: PackId[] = []
  const packNumbers = new Map<PackId, number>()
  const contents: (readonly BlobId[])[] = []
  const firstReferences: number[] = []
  const segments: Uint32Array[] = []
  let used = 0

  const word = (reference: number, at: number): number =>
    segments[Math.floor(reference / segmentReferences)]?.[(reference % segmentReferences) * words + at] ?? 0
  const plainLengthOf = (reference: number): number => {
    const plain = word(reference, 3)
    return plain === notCompressed ? word(reference, 2) - sealBytes : plain
  }
  const packNumberOf = (pack: PackId): number => {
    const known = packNumbers.get(pack)
    if (known !== undefined) return known
    packNumbers.set(pack, packs.length)
    return packs.push(pack) - 1
  }
  const push = (values: readonly number[]) => {
    if (used % segmentReferences === 0) segments.push(new Uint32Array(segmentReferences * words))
    segments.at(-1)?.set(values, (used % segmentReferences) * words)
    used++
  }
  const placeOf = async (id: BlobId) => {
    const [known] = (await index.blobs(options)).findAll('data', id)
    // Another program may have stored it since the index was loaded.
    const [place] = known ? [known] : (await index.refresh(options)).findAll('data', id)
    if (place) return place
    throw new VmlError('integrity.missing', `Cannot read data blob ${shortId(id)}: no index names it`, {
      details: { blob: id, type: 'data' },
      hint: 'vml check tells what is affected. vml check --repair makes a lost index anew from the packs',
    })
  }
  const targetOf = (reference: number): BlobTarget => ({
    file: word(reference, 4),
    chunk: word(reference, 5),
    at: word(reference, 6) * 2 ** 32 + word(reference, 7),
  })
  return {
    async add(content) {
      const blobs = await index.blobs(options)
      const file = contents.push(content) - 1
      firstReferences.push(used)
      let at = 0
      for (const [chunk, id] of content.entries()) {
        const { pack, offset, length, plainLength } = blobs.findAll('data', id)[0] ?? (await placeOf(id))
        const high = Math.floor(at / 2 ** 32)
        push([packNumberOf(pack), offset, length, plainLength ?? notCompressed, file, chunk, high, at >>> 0])
        at += plainLength ?? length - sealBytes
      }
      return at
    },
    chunkLengths(file) {
      const first = firstReferences[file] ?? 0
      return Array.from({ length: contents[file]?.length ?? 0 }, (_, chunk) => plainLengthOf(first + chunk))
    },
    *pieces() {
      const order = Uint32Array.from({ length: used }, (_, reference) => reference)
      order.sort((a, b) => word(a, 0) - word(b, 0) || word(a, 1) - word(b, 1) || a - b)
      for (let next = 0; next < order.length;) {
        const first = order[next] ?? 0
        const pack = word(first, 0)
        const offset = word(first, 1)
        const blobs: (PlannedBlob & { targets: BlobTarget[] })[] = []
        let end = offset
        for (let targets = 0; next < order.length && targets < targetsMax; next++, targets++) {
          const reference = order[next] ?? 0
          const start = word(reference, 1)
          const length = word(reference, 2)
          const last = blobs.at(-1)
          if (word(reference, 0) !== pack) break
          if (last && last.start + offset === start) {
            last.targets.push(targetOf(reference))
            continue
          }
          if (last && (start - end > gapBytesMax || start + length - offset > pieceBytesMax)) break
          const target = targetOf(reference)
          const id = contents[target.file]?.[target.chunk]
          if (id === undefined) throw new RangeError('No such chunk')
          const plain = word(reference, 3)
          blobs.push({
            id,
            start: start - offset,
            length,
            plainLength: plain === notCompressed ? undefined : plain,
            targets: [target],
          })
          end = Math.max(end, start + length)
        }
        const packId = packs[pack]
        if (packId === undefined) throw new RangeError('No such pack')
        yield { pack: packId, offset, length: end - offset, blobs }
      }
    },
  }
}
