// Reads a cpio stream in the form "newc" with or without sums (cpio(5)), and rpm's own short form, which names files by number.
import { rawFromBytes, type RawText } from '../base/raw-text.ts'
import { pathBytesMax } from '../model/raw-path.ts'
import type { ByteReader } from './byte-reader.ts'
import { badRpm } from './rpm-header.ts'

export type CpioMember =
  | {
      readonly kind: 'named'
      readonly name: RawText
      readonly mode: number
      readonly sizeBytes: number
      /** Of a member with sums: all bytes of its content added up. */
      readonly sum?: number
    }
  /** The number of a file in the header of the package, which knows the rest. */
  | { readonly kind: 'numbered'; readonly index: number }

const namedBytes = 110
const numberedBytes = 16
const magicBytes = 6
const trailer = 'TRAILER!!!'

/** The next member, whose content follows; undefined at the archive's end. */
export async function takeCpioMember(reader: ByteReader): Promise<CpioMember | undefined> {
  const magic = (await reader.take(magicBytes)).toString('latin1')
  if (magic === '07070X') {
    // Eight digits, and two bytes up to a multiple of four.
    const rest = await reader.take(numberedBytes - magicBytes)
    return { kind: 'numbered', index: hex(rest, 0) }
  }
  if (magic !== '070701' && magic !== '070702') throw badRpm('its payload is no cpio archive of a known form')
  const fields = Buffer.from(await reader.take(namedBytes - magicBytes))
  const nameBytes = hex(fields, 11)
  if (nameBytes < 1 || nameBytes > pathBytesMax) throw badRpm('its payload has a name that is too long')
  const padded = await reader.take(nameBytes + padding(namedBytes + nameBytes))
  const name = rawFromBytes(padded.subarray(0, nameBytes - 1))
  if (padded[nameBytes - 1] !== 0 || name.includes('\0')) throw badRpm('its payload has a damaged name')
  if (name === trailer) return undefined
  const sum = hex(fields, 12)
  return {
    kind: 'named',
    name,
    mode: hex(fields, 1),
    sizeBytes: hex(fields, 6),
    ...(magic === '070702' ? { sum } : {}),
  }
}

/** The content of a member, in pieces as they come; must be read to its end before the next member is asked for. */
export async function* takeCpioContent(reader: ByteReader, sizeBytes: number): AsyncGenerator<Buffer, void> {
  for (let left = sizeBytes; left > 0;) {
    const piece = await reader.takeSome(left)
    left -= piece.length
    yield piece
  }
  await reader.skip(padding(sizeBytes))
}

function padding(bytes: number): number {
  return (4 - (bytes % 4)) % 4
}

function hex(fields: Buffer, index: number): number {
  const digits = fields.toString('latin1', index * 8, index * 8 + 8)
  if (!/^[0-9a-fA-F]{8}$/.test(digits)) throw badRpm('its payload has a damaged number')
  return Number.parseInt(digits, 16)
}
