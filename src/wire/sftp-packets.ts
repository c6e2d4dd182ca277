// Packets of the SFTP protocol, version 3 (draft-ietf-secsh-filexfer-02; extensions: OpenSSH, PROTOCOL, section 4).
import { type FailureCode, VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'

/** Draft, section 3. */
export const packetType = {
  init: 1,
  version: 2,
  open: 3,
  close: 4,
  read: 5,
  write: 6,
  lstat: 7,
  fstat: 8,
  opendir: 11,
  readdir: 12,
  remove: 13,
  mkdir: 14,
  stat: 17,
  rename: 18,
  status: 101,
  handle: 102,
  data: 103,
  name: 104,
  attributes: 105,
  extended: 200,
  extendedReply: 201,
} as const

/** Draft, section 6.3. */
export const openFlag = { read: 1, write: 2, create: 8, exclusive: 32 } as const

/** Section 7; OpenSSH answers `failure` to all that has no number of its own. */
export const status = {
  ok: 0,
  eof: 1,
  noSuchFile: 2,
  permissionDenied: 3,
  failure: 4,
  badMessage: 5,
  noConnection: 6,
  connectionLost: 7,
  unsupported: 8,
} as const

/** What is asked for at once is far smaller, and OpenSSH itself never sends more than 256 KiB. */
export const packetBytesMax = 1024 * 1024
const messageBytesMax = 200

/** A number is a uint32, a bigint a uint64, text and bytes a string with its length. */
export type Field = number | bigint | string | Uint8Array

/** A packet with its length in front; the last field may be left to follow as it is, which spares a copy. */
export function encodePacket(type: number, fields: readonly Field[], following = 0): Buffer {
  const parts = fields.map(encodeField)
  const length = parts.reduce((sum, part) => sum + part.length, 1)
  const head = Buffer.alloc(5)
  head.writeUInt32BE(length + following, 0)
  head.writeUInt8(type, 4)
  return Buffer.concat([head, ...parts], 4 + length)
}

function encodeField(field: Field): Buffer {
  if (typeof field === 'number') {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(field)
    return bytes
  }
  if (typeof field === 'bigint') {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64BE(field)
    return bytes
  }
  const text = typeof field === 'string' ? Buffer.from(field) : field
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length)
  return Buffer.concat([length, text])
}

export interface PacketReader {
  /** Bytes that were not taken yet. */
  readonly left: number
  u32(): number
  /** A uint64 as a number; `remote.protocol` beyond what a number holds exactly. */
  u64(): number
  /** A string of the protocol, as a view. */
  text(): Buffer
}

/** Fails with `remote.protocol` where the packet ends early. */
export function openPacketReader(packet: Buffer, start: number): PacketReader {
  let at = start
  const take = (length: number): number => {
    if (length > packet.length - at) throw malformed('a packet ends early')
    at += length
    return at - length
  }
  return {
    get left() {
      return packet.length - at
    },
    u32: () => packet.readUInt32BE(take(4)),
    u64: () => {
      const value = packet.readBigUInt64BE(take(8))
      if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed('a size is beyond all reason')
      return Number(value)
    },
    text: () => {
      const length = packet.readUInt32BE(take(4))
      const begin = take(length)
      return packet.subarray(begin, begin + length)
    },
  }
}

export interface Attributes {
  readonly size?: number
  /** With the type of the file in its upper bits, where the server says it. */
  readonly mode?: number
  /** Whole seconds since 1970, by the server's clock. */
  readonly mtimeS?: number
}

const extendedPairsMax = 64

/** Section 5. */
export function readAttributes(reader: PacketReader): Attributes {
  const flags = reader.u32()
  const size = flags & 1 ? reader.u64() : undefined
  if (flags & 2) {
    reader.u32()
    reader.u32()
  }
  const mode = flags & 4 ? reader.u32() : undefined
  let mtimeS: number | undefined
  if (flags & 8) {
    reader.u32()
    mtimeS = reader.u32()
  }
  if (flags & 0x8000_0000) {
    const pairs = reader.u32()
    if (pairs > extendedPairsMax) throw malformed('a file has too many attributes')
    for (let pair = 0; pair < pairs; pair++) {
      reader.text()
      reader.text()
    }
  }
  return {
    ...(size === undefined ? {} : { size }),
    ...(mode === undefined ? {} : { mode }),
    ...(mtimeS === undefined ? {} : { mtimeS }),
  }
}

const typeMask = 0o170000

/** True as well where the server does not tell types. */
export function mayBeFile({ mode }: Attributes): boolean {
  return mode === undefined || (mode & typeMask) === 0o100000
}

const statusCodes: Readonly<Record<number, FailureCode>> = {
  [status.noSuchFile]: 'not-found',
  [status.permissionDenied]: 'remote.denied',
  [status.badMessage]: 'remote.protocol',
  [status.noConnection]: 'unavailable.network',
  [status.connectionLost]: 'unavailable.network',
  [status.unsupported]: 'unsupported',
}

/** The failure that a status tells, with its number in `details.status`; undefined for success. */
export function readStatus(reader: PacketReader): VmlError | undefined {
  const number = reader.u32()
  if (number === status.ok) return undefined
  const said = reader.left >= 4 ? reader.text().toString('utf8', 0, messageBytesMax) : ''
  const words = printableText(said).trim().replace(/\.$/, '')
  return new VmlError(
    statusCodes[number] ?? 'failed',
    words === '' ? `the server says status ${number}` : words,
    { details: { status: number } },
  )
}

export function hasStatus(error: unknown, number: number): error is VmlError {
  return error instanceof VmlError && error.details['status'] === number
}

export function malformed(what: string): VmlError {
  return new VmlError('remote.protocol', `Cannot understand the sftp server: ${what}`)
}
