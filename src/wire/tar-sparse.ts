// Where the data of a sparse file lies: the four ways of GNU tar (manual, "Storing Sparse Files").
import type { Segment } from '../model/tree.ts'
import type { ByteReader } from './byte-reader.ts'
import { badArchive, blockBytes, decodeNumber } from './tar-header.ts'
import { parsePaxNumber, type PaxRecord } from './tar-pax.ts'

export interface Extent {
  readonly offset: number
  readonly length: number
}
export interface SparseMap {
  /** Data in ascending order; everything else up to `size` is hole. */
  readonly extents: readonly Extent[]
  readonly size: number
  /** Bytes of the stored content that were already taken as the map (format 1.0). */
  readonly mapBytes: number
}

/** A terabyte of alternating 1 MiB pieces; in memory some 64 MiB. */
export const extentsMax = 1024 * 1024

/** The old GNU form, type `S`: four extents in the header, more in blocks that follow. */
export async function readOldSparseMap(header: Buffer, reader: ByteReader): Promise<SparseMap> {
  const size = decodeNumber(header, [483, 12])
  const numbers: number[] = []
  takeSlots(header, { from: 386, count: 4 }, numbers)
  let more = header[482] === 1
  while (more) {
    const block = await reader.take(blockBytes)
    takeSlots(block, { from: 0, count: 21 }, numbers)
    more = block[504] === 1
  }
  return checkMap(numbers, size, 0)
}

function takeSlots(block: Buffer, { from, count }: { from: number; count: number }, to: number[]): void {
  for (let slot = 0; slot < count; slot++) {
    const at = from + 24 * slot
    if (block[at] === 0) return
    to.push(decodeNumber(block, [at, 12]), decodeNumber(block, [at + 12, 12]))
    if (to.length > 2 * extentsMax) throw badArchive('a sparse file has too many pieces')
  }
}

/** Formats 0.0 and 0.1: the map stands in the pax records. */
export function readPaxSparseMap(records: readonly PaxRecord[], size: number): SparseMap {
  const numbers: number[] = []
  for (const { key, value } of records) {
    if (key === 'GNU.sparse.map') {
      numbers.length = 0
      if (value.length > 0)
        for (const part of value.toString('latin1').split(',')) numbers.push(parsePaxNumber(part))
    } else if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') {
      const isOffset = key === 'GNU.sparse.offset'
      if ((numbers.length % 2 === 0) !== isOffset) throw badArchive('a sparse map is malformed')
      numbers.push(parsePaxNumber(value.toString('latin1')))
    }
  }
  return checkMap(numbers, size, 0)
}

/** Format 1.0: the map stands before the data as decimal lines, filled up to a block. */
export async function readContentSparseMap(
  reader: ByteReader,
  { size, storedBytes }: { size: number; storedBytes: number },
): Promise<SparseMap> {
  let text = ''
  let position = 0
  let mapBytes = 0
  const nextNumber = async (): Promise<number> => {
    for (;;) {
      const end = text.indexOf('\n', position)
      if (end !== -1) {
        const number = parsePaxNumber(text.slice(position, end))
        position = end + 1
        return number
      }
      if (text.length - position > 20 || mapBytes + blockBytes > roundUp(storedBytes))
        throw badArchive('a sparse map is malformed')
      text = text.slice(position) + (await reader.take(blockBytes)).toString('latin1')
      position = 0
      mapBytes += blockBytes
    }
  }
  const count = await nextNumber()
  if (count > extentsMax) throw badArchive('a sparse file has too many pieces')
  const numbers: number[] = []
  for (let index = 0; index < 2 * count; index++) numbers.push(await nextNumber())
  return checkMap(numbers, size, mapBytes)
}

export function formatContentSparseMap(extents: readonly Extent[]): Buffer {
  const lines = [String(extents.length)]
  for (const { offset, length } of extents) lines.push(String(offset), String(length))
  const text = `${lines.join('\n')}\n`
  const block = Buffer.alloc(roundUp(text.length))
  block.write(text, 'latin1')
  return block
}

export function roundUp(length: number): number {
  return Math.ceil(length / blockBytes) * blockBytes
}

function checkMap(numbers: readonly number[], size: number, mapBytes: number): SparseMap {
  if (numbers.length % 2 !== 0 || numbers.length > 2 * extentsMax)
    throw badArchive('a sparse map is malformed')
  const extents: Extent[] = []
  let end = 0
  for (let index = 0; index < numbers.length; index += 2) {
    const offset = numbers[index] ?? 0
    const length = numbers[index + 1] ?? 0
    if (offset < end || offset + length > size) throw badArchive('a sparse map leaves the file')
    end = offset + length
    if (length > 0) extents.push({ offset, length })
  }
  return { extents, size, mapBytes }
}

/** Where the data of a content lies, found by reading it once; neighbours are joined. */
export async function findExtents(segments: AsyncIterable<Segment>): Promise<Extent[]> {
  const extents: Extent[] = []
  let offset = 0
  for await (const segment of segments) {
    const length = segment.kind === 'data' ? segment.bytes.length : segment.length
    const last = extents.at(-1)
    if (segment.kind === 'data' && length > 0) {
      if (last && last.offset + last.length === offset)
        extents[extents.length - 1] = { offset: last.offset, length: last.length + length }
      else extents.push({ offset, length })
    }
    offset += length
  }
  return extents
}
