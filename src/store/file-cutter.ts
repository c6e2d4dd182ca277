// Takes the content of files, one after the other, cuts it into chunks and stores them; long runs of zeros cost next to nothing.
import type { BlobId } from '../model/ids.ts'
import { type Chunker, chunkBytesMax } from './chunker.ts'
import type { StoredFile } from './store.ts'

/** Stores a chunk, or finds it stored. The bytes are free again when it returns. */
export type StoreChunk = (bytes: Buffer) => BlobId

/** Puts bytes of a file into `target` and returns how many; 0 at the end of the file. */
export type ReadInto = (target: Buffer) => number

export interface FileCutter {
  write(bytes: Uint8Array): void
  /** So many zeros. */
  hole(length: number): void
  /** Reads to the end, straight into the memory in which it is cut. */
  readAll(read: ReadInto): void
  /** The file that was written since the last `finish` or `abort`. */
  finish(): StoredFile
  /** Forgets the file; blobs that were already stored stay and are found again. */
  abort(): void
}

/**
 * The chunk that a file of zeros begins with. Where a chunk ends depends on nothing before its start, so a run of
 * zeros is this one again and again, whether it comes as a hole or as bytes.
 */
interface ZeroChunk {
  readonly length: number
  /** Of so many zeros it is the first, whatever follows. */
  readonly sureBytes: number
  /** As many zeros. */
  readonly bytes: Buffer
  /** Known once it was stored. */
  id: BlobId | undefined
}

/** What is asked of a file at once. */
const readBytes = 1024 * 1024
/** Most chunks end within it, so that a search for the end is seldom in vain and little memory is touched. */
const searchBytesMin = 2 * 1024 * 1024
/** Bytes before this place are given up rather than more memory touched behind. */
const startMax = 2 * 1024 * 1024

export function openFileCutter(chunker: Chunker, storeChunk: StoreChunk): FileCutter {
  const { buffer } = chunker
  const zero = findZeroChunk(chunker)
  let content: BlobId[] = []
  let size = 0
  // buffer[start, end) is not cut yet; its last `holeBytes` came from the hole that is being written.
  let start = 0
  let end = 0
  let holeBytes = 0
  /** Before so many bytes are there, it is not worth looking for the end of a chunk. */
  let enough = searchBytesMin

  const storeZero = () => {
    zero.id ??= storeChunk(zero.bytes)
    content.push(zero.id)
  }
  const store = (length: number) => {
    const bytes = buffer.subarray(start, start + length)
    if (isZeros(bytes, zero)) storeZero()
    else content.push(storeChunk(bytes))
    start += length
    holeBytes = Math.min(holeBytes, end - start)
    enough = searchBytesMin
    if (start === end) {
      start = 0
      end = 0
    }
  }
  /** Cuts while it is sure where a chunk ends: before the last byte that is there, or at the greatest length. */
  const cutSure = () => {
    while (end - start >= enough) {
      const length = chunker.cut(start, end - start)
      if (length < end - start || length >= chunkBytesMax) store(length)
      else enough = (end - start) * 2
    }
  }
  /** How many bytes may follow at `end`, at least one. */
  const makeRoom = (): number => {
    while (end - start >= chunkBytesMax) store(chunker.cut(start, end - start))
    if (start > startMax || end === buffer.length) {
      buffer.copyWithin(0, start, end)
      end -= start
      start = 0
    }
    return buffer.length - end
  }
  const reset = () => {
    content = []
    size = 0
    start = 0
    end = 0
    holeBytes = 0
    enough = searchBytesMin
  }
  return {
    write(bytes) {
      size += bytes.length
      holeBytes = 0
      for (let at = 0; at < bytes.length;) {
        const piece = bytes.subarray(at, at + Math.min(makeRoom(), readBytes))
        buffer.set(piece, end)
        end += piece.length
        at += piece.length
        cutSure()
      }
    },
    hole(length) {
      size += length
      for (let left = length; left > 0;) {
        if (end - start === holeBytes) {
          // Nothing but this hole is left to cut: take it back and count in whole chunks.
          left += holeBytes
          end = start
          holeBytes = 0
          for (; left >= zero.sureBytes; left -= zero.length) storeZero()
        }
        // Not all the room there is: memory that is never touched is none. Of a hole alone no more than this is left here.
        const piece = Math.min(left, makeRoom(), zero.sureBytes)
        buffer.fill(0, end, end + piece)
        end += piece
        holeBytes += piece
        left -= piece
        cutSure()
      }
    },
    readAll(read) {
      holeBytes = 0
      for (;;) {
        const room = Math.min(makeRoom(), readBytes)
        const count = read(buffer.subarray(end, end + room))
        if (count === 0) return
        end += count
        size += count
        cutSure()
      }
    },
    finish() {
      while (end > start) store(chunker.cut(start, end - start))
      const stored = { content, size }
      reset()
      return stored
    },
    abort: reset,
  }
}

function findZeroChunk({ buffer, cut }: Chunker): ZeroChunk {
  // Gear ends a run of zeros at its least length; only Rabin has to look further.
  for (let bytes = searchBytesMin; ; bytes = chunkBytesMax) {
    buffer.fill(0, 0, bytes)
    const length = cut(0, bytes)
    if (length < bytes || bytes === chunkBytesMax)
      return { length, sureBytes: bytes, bytes: Buffer.alloc(length), id: undefined }
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
