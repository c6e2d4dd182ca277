// The tag store of rpm: the header of a package file, its signatures, and what rpm's database keeps of what is installed.
// Big-endian throughout (rpm, docs/manual/format_header.md).
import { VmlError } from '../base/failure.ts'
import { asRaw, type RawText } from '../base/raw-text.ts'
import type { ByteReader } from './byte-reader.ts'

/** One tag store; what it holds is taken out tag by tag, and checked then. An absent tag gives undefined or nothing. */
export interface RpmHeader {
  /** As in a file: magic, counts, index, data. */
  readonly bytes: Buffer
  has(tag: number): boolean
  /** Of STRING, I18NSTRING and STRING_ARRAY: the first. */
  text(tag: number): RawText | undefined
  texts(tag: number): readonly RawText[]
  /** Of CHAR, INT8, INT16 and INT32, unsigned; of INT64 up to 2^53. */
  number(tag: number): number | undefined
  numbers(tag: number): readonly number[]
  binary(tag: number): Buffer | undefined
}

/** Which of the three it is, for messages. */
export type RpmHeaderName = 'the header' | 'the signatures' | 'a header of the database'

/** rpm itself takes no more (lib/header.c, HEADER_TAGS_MAX). */
const tagsMax = 65_535
/** Of a header; rpm itself takes 256 MiB, but names of a million files need half of this. */
const headerBytesMax = 128 * 1024 * 1024
/** Of all tags together that one reads of a header: names may overlap in its data, so that a small one could stand for gigabytes. */
const readBytesMax = 2 * headerBytesMax

export const headerPreambleBytes = 16
const entryBytes = 16
const magic = Buffer.from([0x8e, 0xad, 0xe8, 0x01])

const typeBytes: Readonly<Record<number, number>> = { 1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1 }
const textTypes = new Set([6, 8, 9])

interface TagEntry {
  readonly tag: number
  readonly type: number
  readonly offset: number
  readonly count: number
}

/** The next tag store of a stream, with the bytes after it up to a multiple of `alignBytes`. */
export async function takeRpmHeader(
  reader: ByteReader,
  { name, alignBytes = 1 }: { readonly name: RpmHeaderName; readonly alignBytes?: number },
): Promise<RpmHeader> {
  const preamble = Buffer.from(await reader.take(headerPreambleBytes))
  const bytes = storeBytes(preamble, name)
  const rest = await reader.take(bytes - headerPreambleBytes)
  await reader.skip((alignBytes - (bytes % alignBytes)) % alignBytes)
  return openRpmHeader(Buffer.concat([preamble, rest]), name)
}

/** How long the tag store is that begins so. */
export function storeBytes(preamble: Buffer, name: RpmHeaderName): number {
  if (preamble.length < headerPreambleBytes || !preamble.subarray(0, 4).equals(magic))
    throw badRpm(`${name} does not begin with its mark`)
  const tags = preamble.readUInt32BE(8)
  const dataBytes = preamble.readUInt32BE(12)
  if (tags > tagsMax) throw badRpm(`${name} names ${tags} tags, more than ${tagsMax}`)
  if (dataBytes > headerBytesMax) throw badRpm(`${name} has ${dataBytes} bytes, more than ${headerBytesMax}`)
  return headerPreambleBytes + tags * entryBytes + dataBytes
}

/** `bytes` is exactly one tag store. */
export function openRpmHeader(bytes: Buffer, name: RpmHeaderName): RpmHeader {
  if (bytes.length !== storeBytes(bytes, name)) throw badRpm(`${name} has another length than it says`)
  const tags = bytes.readUInt32BE(8)
  const data = bytes.subarray(headerPreambleBytes + tags * entryBytes)
  // Tags behind the immutable region replace those within it: what comes last holds (lib/header.c, "dribbles").
  const entries = new Map<number, TagEntry>()
  for (let index = 0; index < tags; index++) {
    const at = headerPreambleBytes + index * entryBytes
    const tag = bytes.readUInt32BE(at)
    entries.set(tag, {
      tag,
      type: bytes.readUInt32BE(at + 4),
      offset: bytes.readUInt32BE(at + 8),
      count: bytes.readUInt32BE(at + 12),
    })
  }
  let readBytes = 0
  function spend(count: number): void {
    readBytes += count
    if (readBytes > readBytesMax) throw badRpm(`${name} says more than ${readBytesMax} bytes`)
  }
  function plain({ tag, type, offset, count }: TagEntry): Buffer {
    const width = typeBytes[type]
    if (width === undefined) throw badRpm(`tag ${tag} of ${name} has type ${type} where numbers must stand`)
    if (offset + count * width > data.length) throw badRpm(`tag ${tag} of ${name} lies outside of it`)
    spend(count * width)
    return data.subarray(offset, offset + count * width)
  }
  function texts(tag: number, most = Number.POSITIVE_INFINITY): RawText[] {
    const entry = entries.get(tag)
    if (entry === undefined) return []
    if (!textTypes.has(entry.type)) throw badRpm(`tag ${tag} of ${name} is no text`)
    const count = entry.type === 6 ? 1 : entry.count
    const found: RawText[] = []
    for (let left = Math.min(count, most), at = entry.offset; left > 0; left--) {
      const end = at >= data.length ? -1 : data.indexOf(0, at)
      if (end === -1) throw badRpm(`tag ${tag} of ${name} lies outside of it`)
      spend(end - at + 1)
      found.push(asRaw(data.toString('latin1', at, end)))
      at = end + 1
    }
    return found
  }
  function numbers(tag: number): number[] {
    const entry = entries.get(tag)
    if (entry === undefined) return []
    const width = entry.type === 7 ? undefined : typeBytes[entry.type]
    const found = plain(entry)
    if (width === undefined) throw badRpm(`tag ${tag} of ${name} is no number`)
    return Array.from({ length: entry.count }, (_, index) => readNumber(found, index * width, width))
  }
  return {
    bytes,
    has: (tag) => entries.has(tag),
    text: (tag) => texts(tag, 1)[0],
    texts: (tag) => texts(tag),
    number: (tag) => numbers(tag)[0],
    numbers,
    binary(tag) {
      const entry = entries.get(tag)
      if (entry === undefined) return undefined
      if (entry.type !== 7) throw badRpm(`tag ${tag} of ${name} is no run of bytes`)
      return plain(entry)
    },
  }
}

function readNumber(bytes: Buffer, at: number, width: number): number {
  if (width !== 8) return bytes.readUIntBE(at, width)
  const value = bytes.readBigUInt64BE(at)
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw badRpm('a number is above 2^53')
  return Number(value)
}

export function badRpm(what: string): VmlError {
  return new VmlError('integrity.format', `Cannot read an rpm package: ${what}`)
}
