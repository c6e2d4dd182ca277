// Reads many blobs in the order in which they lie in packs, in few large pieces: for a copy, where every request costs a round trip.
import type { Backend } from '../backend/backend.ts'
import { isFailure } from '../base/failure.ts'
import type { BlobId, PackId } from '../model/ids.ts'
import type { BlobIndex, BlobLocation } from './blob-index.ts'
import { type BlobReader, openBlob } from './blob-reader.ts'
import type { Cipher } from './cipher.ts'
import { isDamage } from './damage.ts'
import type { CallOptions } from './store.ts'

export interface ReadBlob {
  readonly id: BlobId
  /** Proved by MAC and hash. */
  readonly bytes: Buffer
}

export interface PackOrderSource {
  readonly backend: Backend
  readonly cipher: Cipher
  readonly index: BlobIndex
  /** For what is not where the index says first: it knows the other places, and how to name what is lost. */
  readonly reader: BlobReader
}

interface Wanted {
  readonly id: BlobId
  readonly place: BlobLocation
}

/** Blobs next to each other in one pack, with what lies between them. */
interface Piece {
  readonly pack: PackId
  readonly offset: number
  readonly length: number
  readonly wanted: readonly Wanted[]
}

const pieceBytesMax = 8 * 1024 * 1024
/** Twice the largest chunk; more is a matter for the reader, which has its limits. */
const blobBytesMax = 16 * 1024 * 1024
/** What is not wanted and lies between two that are: reading it costs less than another request. */
const gapBytesMax = 256 * 1024
/** Pieces under way or in hand: 32 MiB. */
const piecesAheadMax = 4

/** Every blob once, packs in the order in which they are first asked for. */
export async function* readInPackOrder(
  source: PackOrderSource,
  ids: Iterable<BlobId>,
  options: CallOptions = {},
): AsyncIterable<ReadBlob> {
  const { backend, index, reader } = source
  const byPack = new Map<PackId, Wanted[]>()
  const elsewhere: BlobId[] = []
  for (const id of ids) {
    const [place] = index.findAll('data', id)
    if (!place || Math.max(place.length, place.plainLength ?? 0) > blobBytesMax) elsewhere.push(id)
    else if (!byPack.get(place.pack)?.push({ id, place })) byPack.set(place.pack, [{ id, place }])
  }
  const pieces = [...byPack].flatMap(([pack, wanted]) => cutPieces(pack, wanted))
  const ahead: Promise<Buffer | undefined>[] = []
  const aheadMax = Math.max(1, Math.min(piecesAheadMax, backend.traits.connections))
  try {
    for (let next = 0, given = 0; given < pieces.length; given++) {
      for (; next < pieces.length && next < given + aheadMax; next++) {
        const reading = readPiece(backend, pieces[next], options)
        // Waited for in its turn; until then its failure is nobody's.
        reading.catch(() => {})
        ahead.push(reading)
      }
      const content = await ahead.shift()
      for (const { id, place } of pieces[given]?.wanted ?? []) {
        options.signal?.throwIfAborted()
        const start = place.offset - (pieces[given]?.offset ?? 0)
        const sealed = content?.subarray(start, start + place.length)
        const bytes = sealed && openOrNothing(source.cipher, id, sealed, place.plainLength)
        yield { id, bytes: bytes ?? (await reader.readBlob('data', id, options)) }
      }
    }
  } finally {
    await Promise.allSettled(ahead)
  }
  for (const id of elsewhere) yield { id, bytes: await reader.readBlob('data', id, options) }
}

function cutPieces(pack: PackId, wanted: Wanted[]): Piece[] {
  wanted.sort((left, right) => left.place.offset - right.place.offset)
  const pieces: Piece[] = []
  let current: Wanted[] = []
  let start = 0
  let end = 0
  const close = () => {
    if (current.length > 0) pieces.push({ pack, offset: start, length: end - start, wanted: current })
    current = []
  }
  for (const one of wanted) {
    const { offset, length } = one.place
    if (offset - end > gapBytesMax || offset + length - start > pieceBytesMax) close()
    if (current.length === 0) [start, end] = [offset, offset]
    current.push(one)
    end = Math.max(end, offset + length)
  }
  close()
  return pieces
}

/** Undefined where the pack is gone, cut off or damaged: then each of its blobs is asked for by itself, and that tells. */
async function readPiece(
  backend: Backend,
  piece: Piece | undefined,
  options: CallOptions,
): Promise<Buffer | undefined> {
  if (!piece) return undefined
  const { pack, offset, length } = piece
  const reading = backend.get({ kind: 'pack', name: pack }, { offset, length }, options)
  return await reading.catch((error: unknown) => {
    if (isDamage(error) || isFailure(error, 'not-found')) return undefined
    throw error
  })
}

function openOrNothing(
  cipher: Cipher,
  id: BlobId,
  sealed: Buffer,
  plainLength: number | undefined,
): Buffer | undefined {
  try {
    return openBlob(cipher, { id, sealed, plainLength })
  } catch (error) {
    if (isDamage(error)) return undefined
    throw error
  }
}
