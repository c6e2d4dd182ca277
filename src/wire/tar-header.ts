// The 512-byte header of a tar member (POSIX, "pax", "ustar Interchange Format"; GNU tar manual, "Basic Tar Format").
import { VmlError } from '../base/failure.ts'
import type { RawText } from '../base/raw-text.ts'

export const blockBytes = 512

export interface TarHeader {
  readonly name: RawText
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  /** Whole seconds. */
  readonly mtime: bigint
  /** One character: `0`, `5`, `x`, …; NUL is given as `0`. */
  readonly type: string
  readonly linkName: RawText
  readonly user: RawText
  readonly group: RawText
  readonly major: number
  readonly minor: number
}

// Offset and length of each field.
const field = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  linkName: [157, 100],
  magic: [257, 8],
  user: [265, 32],
  group: [297, 32],
  major: [329, 8],
  minor: [337, 8],
  prefix: [345, 155],
} as const
export type Place = readonly [offset: number, length: number]

export function badArchive(why: string): VmlError {
  return new VmlError('integrity.format', `Cannot read an archive: ${why}`)
}

export function isZeroBlock(block: Buffer): boolean {
  return block[0] === 0 && block.equals(zeroBlock)
}
const zeroBlock = Buffer.alloc(blockBytes)

/** Fails with `integrity.format` where the checksum is wrong or a number cannot be read. */
export function decodeHeader(block: Buffer): TarHeader {
  const stated = decodeNumber(block, field.checksum)
  const { unsigned, signed } = sums(block)
  if (stated !== unsigned && stated !== signed) throw badArchive('a header has a wrong checksum')
  const magic = block.toString('latin1', 257, 263)
  const posix = magic === 'ustar\0'
  const ownerNames = posix || magic === 'ustar '
  const prefix = posix ? decodeText(block, field.prefix) : ''
  const name = decodeText(block, field.name)
  const type = block.toString('latin1', 156, 157)
  const isDevice = type === '3' || type === '4'
  return {
    name: prefix === '' ? name : (`${prefix}/${name}` as RawText),
    mode: decodeNumber(block, field.mode),
    uid: decodeNumber(block, field.uid),
    gid: decodeNumber(block, field.gid),
    size: decodeNumber(block, field.size),
    mtime: decodeSigned(block, field.mtime),
    type: type === '\0' ? '0' : type,
    linkName: decodeText(block, field.linkName),
    user: ownerNames ? decodeText(block, field.user) : ('' as RawText),
    group: ownerNames ? decodeText(block, field.group) : ('' as RawText),
    major: isDevice ? decodeNumber(block, field.major) : 0,
    minor: isDevice ? decodeNumber(block, field.minor) : 0,
  }
}

export function decodeText(block: Buffer, [offset, length]: Place): RawText {
  const end = block.indexOf(0, offset)
  const stop = end === -1 || end > offset + length ? offset + length : end
  return block.toString('latin1', offset, stop) as RawText
}

/** A number that is not negative and exact in a double. */
export function decodeNumber(block: Buffer, [offset, length]: Place): number {
  if ((block[offset] ?? 0) & 0x80) {
    const big = decodeSigned(block, [offset, length])
    if (big < 0n || big > BigInt(Number.MAX_SAFE_INTEGER)) throw badArchive('a number is out of range')
    return Number(big)
  }
  let value = 0
  let index = offset
  const end = offset + length
  while (index < end && block[index] === 0x20) index++
  for (; index < end; index++) {
    const byte = block[index] ?? 0
    if (byte === 0 || byte === 0x20) break
    if (byte < 0x30 || byte > 0x37) throw badArchive('a number is malformed')
    value = value * 8 + (byte - 0x30)
  }
  return value
}

/** Octal digits or, with the first bit set, a two's complement number ("base-256", GNU tar manual, "Extensions"). */
function decodeSigned(block: Buffer, [offset, length]: Place): bigint {
  const first = block[offset] ?? 0
  if (!(first & 0x80)) return BigInt(decodeNumber(block, [offset, length]))
  const negative = (first & 0x40) !== 0
  let value = BigInt(first & 0x7f)
  for (let index = offset + 1; index < offset + length; index++)
    value = (value << 8n) | BigInt(block[index] ?? 0)
  return negative ? value - (1n << BigInt(8 * length - 1)) : value
}

function sums(block: Buffer): { unsigned: number; signed: number } {
  let unsigned = 8 * 0x20
  let high = 0
  for (let index = 0; index < blockBytes; index++) {
    if (index === 148) index = 156
    const byte = block[index] ?? 0
    unsigned += byte
    high += byte >> 7
  }
  return { unsigned, signed: unsigned - 256 * high }
}

/** The largest number that `length` bytes hold in octal with an end mark. */
export function octalMax(length: number): number {
  return 8 ** (length - 1) - 1
}
export const idOctalMax = octalMax(8)
export const sizeOctalMax = octalMax(12)

/**
 * A header. Names longer than their field are cut: the caller sends the whole name ahead. Numbers that octal
 * cannot hold are written in base-256 when `dialect` is `gnu` and as 0 when `posix`, where pax records have them.
 */
export function encodeHeader(header: TarHeader, dialect: 'posix' | 'gnu'): Buffer {
  const block = Buffer.alloc(blockBytes)
  encodeText(block, field.name, header.name)
  encodeNumber(block, field.mode, BigInt(header.mode), dialect)
  encodeNumber(block, field.uid, BigInt(header.uid), dialect)
  encodeNumber(block, field.gid, BigInt(header.gid), dialect)
  encodeNumber(block, field.size, BigInt(header.size), dialect)
  encodeNumber(block, field.mtime, header.mtime, dialect)
  block.write(header.type, 156, 'latin1')
  encodeText(block, field.linkName, header.linkName)
  block.write(dialect === 'posix' ? 'ustar\x0000' : 'ustar  \0', 257, 'latin1')
  encodeText(block, [265, 31], header.user)
  encodeText(block, [297, 31], header.group)
  if (header.type === '3' || header.type === '4') {
    encodeNumber(block, field.major, BigInt(header.major), dialect)
    encodeNumber(block, field.minor, BigInt(header.minor), dialect)
  }
  block.write(`${sums(block).unsigned.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

function encodeText(block: Buffer, [offset, length]: Place, text: RawText): void {
  block.write(text, offset, length, 'latin1')
}

function encodeNumber(block: Buffer, [offset, length]: Place, value: bigint, dialect: 'posix' | 'gnu'): void {
  const fits = value >= 0n && value <= BigInt(octalMax(length))
  if (fits || dialect === 'posix') {
    block.write((fits ? value : 0n).toString(8).padStart(length - 1, '0'), offset, 'latin1')
    return
  }
  let rest = BigInt.asUintN(8 * length, value)
  for (let index = offset + length - 1; index >= offset; index--) {
    block[index] = Number(rest & 0xffn)
    rest >>= 8n
  }
  if (value >= 0n) block[offset] = (block[offset] ?? 0) | 0x80
}
