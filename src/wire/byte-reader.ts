// Takes exact lengths from a stream of chunks without copying more than what straddles two of them.
import { VmlError } from '../base/failure.ts'

export interface ByteReader {
  /** Exactly `length` bytes, or undefined when the stream ended before the first of them. Meant for short lengths. */
  takeOrEnd(length: number): Promise<Buffer | undefined>
  /** The same at once when the bytes are here already, else undefined. */
  takeReady(length: number): Buffer | undefined
  take(length: number): Promise<Buffer>
  /** Between 1 and `most` bytes, as they come. */
  takeSome(most: number): Promise<Buffer>
  skip(length: number): Promise<void>
  /** Lets the stream know that no more is wanted. */
  close(): Promise<void>
}

/** A stream that ends within what was asked for fails with `integrity.truncated`. */
export function openByteReader(stream: AsyncIterable<Uint8Array>, what: string): ByteReader {
  const chunks = stream[Symbol.asyncIterator]()
  let current: Buffer = Buffer.alloc(0)
  let offset = 0
  let passed = 0

  async function next(): Promise<boolean> {
    for (;;) {
      const chunk = await chunks.next()
      if (chunk.done === true) return false
      const { value } = chunk
      passed += current.length
      if (value.length === 0) continue
      current = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
      offset = 0
      return true
    }
  }
  function truncated(): VmlError {
    return new VmlError('integrity.truncated', `Cannot read ${what}: it ends early`, {
      details: { bytes: passed + offset },
    })
  }
  function takeReady(length: number): Buffer | undefined {
    if (current.length - offset < length) return undefined
    offset += length
    return current.subarray(offset - length, offset)
  }
  async function takeOrEnd(length: number): Promise<Buffer | undefined> {
    const ready = takeReady(length)
    if (ready) return ready
    const pieces = [current.subarray(offset)]
    let missing = length - (current.length - offset)
    offset = current.length
    while (missing > 0) {
      if (!(await next())) {
        if (missing === length) return undefined
        throw truncated()
      }
      const piece = current.subarray(0, Math.min(missing, current.length))
      offset = piece.length
      missing -= piece.length
      pieces.push(piece)
    }
    return Buffer.concat(pieces, length)
  }
  async function takeSome(most: number): Promise<Buffer> {
    if (offset === current.length && !(await next())) throw truncated()
    const end = Math.min(current.length, offset + most)
    const piece = current.subarray(offset, end)
    offset = end
    return piece
  }
  return {
    takeReady,
    takeOrEnd,
    takeSome,
    async take(length) {
      const bytes = length === 0 ? Buffer.alloc(0) : await takeOrEnd(length)
      if (!bytes) throw truncated()
      return bytes
    },
    async skip(length) {
      for (let left = length; left > 0;) left -= (await takeSome(left)).length
    },
    async close() {
      await chunks.return?.()
    },
  }
}
