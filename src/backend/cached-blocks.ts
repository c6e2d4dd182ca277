// Parts of packs that are kept on this computer: trees and documents of entries, which every look at an entry reads anew.
//
// In blocks at fixed places of a pack, so that one read finds what another has brought, however far each reaches. What they
// hold is proved by whoever opens it, blob by blob; where that fails it is read past the copies, and a block that is found
// to differ from the storage goes. They are as encrypted as the packs.
import type { Backend, CallOptions, FileRange, FileRef } from './backend.ts'
import type { CacheFolder } from './cache-folder.ts'

/** On a line of 100 Mbit/s these take as long as the question. */
const blockBytes = 64 * 1024
/** A larger part is read once in a while, and would push everything else out. */
const rangeBytesMax = 8 * 1024 * 1024
/** Packs of which the size is known; it tells where the last block ends. */
const sizesMax = 10_000

export interface CachedBlocks {
  get(file: FileRef, range: FileRange, options: CallOptions): Promise<Buffer>
}

export function openCachedBlocks(inner: Backend, cache: CacheFolder): CachedBlocks {
  const sizes = new Map<string, number>()
  const sizeOf = async (file: FileRef, options: CallOptions) => {
    const known = sizes.get(file.name) ?? (await inner.size(file, options))
    if (sizes.size >= sizesMax) sizes.clear()
    if (known !== undefined) sizes.set(file.name, known)
    return known
  }
  const numbersOf = ({ offset, length }: FileRange) => {
    const first = Math.floor(offset / blockBytes)
    const count = Math.floor((offset + length - 1) / blockBytes) - first + 1
    return Array.from({ length: count }, (_, at) => first + at)
  }
  const nameOf = (file: FileRef, number: number) => `${file.name}.${number}`
  const read = async (file: FileRef, range: FileRange) =>
    await Promise.all(
      numbersOf(range).map(async (number) => {
        const bytes = await cache.read('blocks', nameOf(file, number))
        const needed = Math.min(range.offset + range.length - number * blockBytes, blockBytes)
        return { number, bytes: bytes && bytes.length >= needed ? bytes : undefined }
      }),
    )
  const join = (blocks: readonly { readonly bytes: Buffer }[], { offset, length }: FileRange) => {
    const start = offset % blockBytes
    return Buffer.concat(blocks.map(({ bytes }) => bytes)).subarray(start, start + length)
  }
  return {
    async get(file, range, options) {
      const { offset, length } = range
      if (length === 0 || length > rangeBytesMax) return await inner.get(file, range, options)
      options.signal?.throwIfAborted()
      const found = await read(file, range)
      const known = found.flatMap(({ number, bytes }) => (bytes ? [{ number, bytes }] : []))
      if (options.fresh) {
        const data = await inner.get(file, range, options)
        if (known.length === found.length && !join(known, range).equals(data))
          for (const { number } of known) await cache.drop('blocks', nameOf(file, number))
        return data
      }
      if (known.length === found.length) return join(known, range)

      const missing = found.filter(({ bytes }) => bytes === undefined).map(({ number }) => number)
      const bytes = await sizeOf(file, options)
      // Not there, or shorter than was thought: the storage says so itself.
      if (bytes === undefined || bytes < offset + length) return await inner.get(file, range, options)
      const start = Math.min(...missing) * blockBytes
      const end = Math.min((Math.max(...missing) + 1) * blockBytes, bytes)
      const data = await inner.get(file, { offset: start, length: end - start }, options)
      for (let at = 0; at < data.length; at += blockBytes) {
        const block = data.subarray(at, at + blockBytes)
        const number = (start + at) / blockBytes
        await cache.add('blocks', nameOf(file, number), block)
        if (!known.some((each) => each.number === number)) known.push({ number, bytes: block })
      }
      known.sort((left, right) => left.number - right.number)
      return join(known, range)
    },
  }
}
