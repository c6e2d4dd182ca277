// Takes the content of a file, cuts it into chunks and stores them; long runs of zeros cost next to nothing.
import type { BlobId } from '../model/ids.ts'
import type { Segment } from '../model/tree.ts'
import { type Chunker, chunkBytesMax } from './chunker.ts'
import type { FileSink } from './store.ts'

export interface ChunkStore {
  /** Stores a chunk, or finds it stored. The bytes are free again when the promise resolves. */
  storeChunk(bytes: Buffer): Promise<BlobId>
}

/**
 * The chunk that a file of zeros begins with. Where a chunk ends depends on nothing before its start, so a run of
 * zeros is this one again and again, whether it comes as a hole or as bytes.
 */
export interface ZeroChunk {
  readonly length: number
  /** As many zeros. */
  readonly bytes: Buffer
  /** Known once it was stored. */
  id: BlobId | undefined
}

export function findZeroChunk({ buffer, cut }: Chunker): ZeroChunk {
  buffer.fill(0, 0, chunkBytesMax)
  const length = cut(0, chunkBytesMax)
  return { length, bytes: Buffer.alloc(length), id: undefined }
}

export function openFileSink({
  chunker,
  zero,
  store,
  onEnd,
}: {
  readonly chunker: Chunker
  readonly zero: ZeroChunk
  readonly store: ChunkStore
  readonly onEnd: () => void
}): FileSink {
  const { buffer } = chunker
  const content: BlobId[] = []
  let size = 0
  // buffer[start, end) is not cut yet; its last `holeBytes` came from the hole that is being written.
  let start = 0
  let end = 0
  let holeBytes = 0
  let ended = false

  const storeZero = async () => {
    zero.id ??= await store.storeChunk(zero.bytes)
    content.push(zero.id)
  }
  const cutOne = async () => {
    const length = chunker.cut(start, end - start)
    const bytes = buffer.subarray(start, start + length)
    if (isZeros(bytes, zero)) await storeZero()
    else content.push(await store.storeChunk(bytes))
    start += length
    holeBytes = Math.min(holeBytes, end - start)
  }
  /** Called with bytes in hand: makes room for some of them and returns for how many. */
  const makeRoom = async (): Promise<number> => {
    while (end - start >= chunkBytesMax) await cutOne()
    if (end === buffer.length || end === start) {
      buffer.copyWithin(0, start, end)
      end -= start
      start = 0
    }
    return buffer.length - end
  }
  const writeBytes = async (bytes: Uint8Array) => {
    holeBytes = 0
    // Most files come as one piece that fits.
    if (end - start < chunkBytesMax && bytes.length <= buffer.length - end) {
      buffer.set(bytes, end)
      end += bytes.length
      return
    }
    for (let at = 0; at < bytes.length;) {
      const piece = bytes.subarray(at, at + (await makeRoom()))
      buffer.set(piece, end)
      end += piece.length
      at += piece.length
    }
  }
  const writeHole = async (length: number) => {
    for (let left = length; left > 0;) {
      if (end - start === holeBytes) {
        // Nothing but this hole is left to cut: take it back and count in whole chunks.
        left += holeBytes
        end = start
        holeBytes = 0
        for (; left >= chunkBytesMax; left -= zero.length) await storeZero()
      }
      const piece = Math.min(left, await makeRoom())
      buffer.fill(0, end, end + piece)
      end += piece
      holeBytes += piece
      left -= piece
    }
  }
  return {
    async write(segment: Segment) {
      if (ended) throw new Error('This file is finished')
      size += segment.kind === 'data' ? segment.bytes.length : segment.length
      if (segment.kind === 'data') await writeBytes(segment.bytes)
      else await writeHole(segment.length)
    },
    async finish() {
      if (ended) throw new Error('This file is finished')
      while (end > start) await cutOne()
      ended = true
      onEnd()
      return { content, size }
    },
    abort() {
      if (!ended) onEnd()
      ended = true
    },
  }
}

function isZeros(bytes: Buffer, zero: ZeroChunk): boolean {
  return (
    bytes.length === zero.length &&
    bytes[0] === 0 &&
    bytes[bytes.length - 1] === 0 &&
    bytes.equals(zero.bytes)
  )
}
