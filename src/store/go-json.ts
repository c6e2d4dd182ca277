// Strings and times in JSON byte for byte as Go's encoding/json and time packages write them.
import type { RawText } from '../base/raw-text.ts'
import { decodeUtf8 } from './utf8-sequence.ts'

/** A JSON string with its quotes, as bytes; a byte that is not UTF-8 becomes the replacement character, so it is lost. */
export function goJsonString(raw: RawText): string {
  // eslint-disable-next-line no-control-regex
  if (/^[ !#-%'-;=?-[\]-\x7f]*$/.test(raw)) return `"${raw}"`
  let out = ''
  for (let at = 0; at < raw.length;) {
    const { codePoint, length } = decodeUtf8(raw, at)
    out += codePoint === undefined ? '\\ufffd' : (escapeOf(codePoint) ?? raw.slice(at, at + length))
    at += length
  }
  return `"${out}"`
}

/** Since Go 1.22 also `\b` and `\f`; before, these were written as `\u0008` and `\u000c`. */
const letterOf = new Map([
  [0x22, '\\"'],
  [0x5c, '\\\\'],
  [0x08, '\\b'],
  [0x0c, '\\f'],
  [0x0a, '\\n'],
  [0x0d, '\\r'],
  [0x09, '\\t'],
])
/** `<`, `>`, `&` so that JSON can stand in HTML; the two line separators so that it can stand in JavaScript. */
const escapedAlways = new Set([0x3c, 0x3e, 0x26, 0x2028, 0x2029])

function escapeOf(codePoint: number): string | undefined {
  const letter = letterOf.get(codePoint)
  if (letter !== undefined) return letter
  if (codePoint >= 0x20 && !escapedAlways.has(codePoint)) return undefined
  return `\\u${codePoint.toString(16).padStart(4, '0')}`
}

/** Go's zero time, which stands for "not known". */
export const goZeroTime = '0001-01-01T00:00:00Z'
const nsPerSecond = 1_000_000_000n
const secondsMax = 8_640_000_000_000n // the bounds of Date

/** RFC 3339 in UTC with as many decimals as are needed. A year before 0 or after 9999 is set to 0 or 9999, as in restic. */
export function formatGoTime(ns: bigint): string {
  let rest = ns % nsPerSecond
  if (rest < 0n) rest += nsPerSecond
  const seconds = (ns - rest) / nsPerSecond
  const bounded = seconds > secondsMax ? secondsMax : seconds < -secondsMax ? -secondsMax : seconds
  const date = new Date(Number(bounded) * 1000)
  const year = date.getUTCFullYear()
  if (year < 0) date.setUTCFullYear(0)
  if (year > 9999) date.setUTCFullYear(9999)
  const whole = date.toISOString().slice(0, 19)
  if (rest === 0n) return `${whole}Z`
  return `${whole}.${String(rest).padStart(9, '0').replace(/0+$/, '')}Z`
}

const timeForm =
  /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d{0,32})?(?:Z|([+-])(\d\d):(\d\d))$/

/** Nanoseconds since the epoch, or undefined for what is no time. */
export function parseGoTime(text: string): bigint | undefined {
  const parts = timeForm.exec(text)
  if (parts === null) return undefined
  const part = (group: number) => Number(parts[group] ?? 0)
  const [year, month, day, hour, minute, second] = [part(1), part(2), part(3), part(4), part(5), part(6)]
  const [zoneHour, zoneMinute] = [part(9), part(10)]
  if (hour > 23 || minute > 59 || second > 59 || zoneHour > 24 || zoneMinute > 59) return undefined
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined
  const offset = (zoneHour * 60 + zoneMinute) * (parts[8] === '-' ? -60 : 60)
  const seconds = date.getTime() / 1000 + hour * 3600 + minute * 60 + second - offset
  return BigInt(seconds) * nsPerSecond + BigInt((parts[7] ?? '').padEnd(9, '0'))
}
