// Records of a pax header: `LENGTH KEY=VALUE` (POSIX, "pax Extended Header"). Keys and values are bytes.
import type { RawText } from '../base/raw-text.ts'
import { badArchive } from './tar-header.ts'

export interface PaxRecord {
  readonly key: string
  readonly value: Buffer
}

/** A map of a sparse file may stand here as text, and attributes of 64 KiB each. */
export const paxBytesMax = 16 * 1024 * 1024

export function* parsePax(bytes: Buffer): Iterable<PaxRecord> {
  let start = 0
  while (start < bytes.length) {
    const space = bytes.indexOf(0x20, start)
    const digits = space === -1 || space - start > 8 ? '' : bytes.toString('latin1', start, space)
    const end = /^[1-9]\d*$/.test(digits) ? start + Number(digits) : 0
    if (end <= space || end > bytes.length || bytes[end - 1] !== 0x0a)
      throw badArchive('an extended header has a record of a wrong length')
    const equals = bytes.indexOf(0x3d, space)
    if (equals === -1 || equals >= end) throw badArchive('an extended header has a record without a value')
    yield { key: bytes.toString('latin1', space + 1, equals), value: bytes.subarray(equals + 1, end - 1) }
    start = end
  }
}

export function formatPaxRecord(key: string, value: Uint8Array | string): Buffer {
  const body = typeof value === 'string' ? Buffer.from(value, 'latin1') : value
  const rest = 1 + key.length + 1 + body.length + 1
  // The length counts its own digits.
  let length = rest + String(rest).length
  length = rest + String(length).length
  return Buffer.concat([Buffer.from(`${length} ${key}=`, 'latin1'), body, Buffer.from('\n')])
}

/** A time in seconds with up to nine digits that count, as nanoseconds. */
export function parsePaxTime(text: string): bigint {
  const match = /^(-?)(\d{1,19})(?:\.(\d{0,40}))?$/.exec(text)
  if (!match) throw badArchive('a time is malformed')
  const [, sign, seconds = '', fraction = ''] = match
  const ns = BigInt(seconds) * 1_000_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, '0'))
  return sign === '-' ? -ns : ns
}

export function formatPaxTime(ns: bigint): string {
  const size = ns < 0n ? -ns : ns
  const fraction = (size % 1_000_000_000n).toString().padStart(9, '0').replace(/0+$/, '')
  return `${ns < 0n ? '-' : ''}${size / 1_000_000_000n}${fraction === '' ? '' : `.${fraction}`}`
}

export function parsePaxNumber(text: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw badArchive('a number of an extended header is malformed')
  return value
}

// GNU tar escapes what would end the key (src/xattrs.c and xheader.c of GNU tar since 1.29).
export function xattrKey(name: RawText): string {
  return `SCHILY.xattr.${name.replaceAll('%', '%25').replaceAll('=', '%3D')}`
}
export function xattrNameOf(key: string): RawText {
  const coded = key.slice('SCHILY.xattr.'.length)
  return coded.replace(/%(25|3D)/g, (_, code) => (code === '25' ? '%' : '=')) as RawText
}
