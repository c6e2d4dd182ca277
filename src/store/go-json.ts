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

/** Nanoseconds since the epoch, or undefined for what is no time in RFC 3339. */
export function parseGoTime(text: string): bigint | undefined {
  if (text === lastTime.text) return lastTime.ns
  const ns = parseTime(text)
  lastTime = { text, ns }
  return ns
}

/** Modification and access time are mostly the same. */
let lastTime: { readonly text: string; readonly ns: bigint | undefined } = { text: '', ns: undefined }

const timeForm = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d)$/
const decimalsMax = 64

function parseTime(text: string): bigint | undefined {
  if (!timeForm.test(text)) return undefined
  const zoneAt = text.endsWith('Z') ? text.length - 1 : text.length - 6
  const decimals = Math.max(zoneAt - 20, 0)
  const [year, month, day] = [digits(text, 0, 4), digits(text, 5, 2), digits(text, 8, 2)]
  const [hour, minute, second] = [digits(text, 11, 2), digits(text, 14, 2), digits(text, 17, 2)]
  const inZone = text.endsWith('Z')
    ? 0
    : digits(text, zoneAt + 1, 2) * 3600 + digits(text, zoneAt + 4, 2) * 60
  const valid =
    month >= 1 &&
    month <= 12 &&
    day >= 1 &&
    day <= daysIn(year, month) &&
    hour < 24 &&
    minute < 60 &&
    second < 60
  if (!valid || inZone > 24 * 3600 || decimals > decimalsMax) return undefined
  const offset = text[zoneAt] === '-' ? -inZone : inZone
  const seconds =
    daysBefore(year, month) * 86_400 + (day - 1) * 86_400 + hour * 3600 + minute * 60 + second - offset
  // Go leaves out what is finer than a nanosecond.
  const nanoseconds = digits(text, 20, Math.min(decimals, 9)) * 10 ** (9 - Math.min(decimals, 9))
  return BigInt(seconds) * nsPerSecond + BigInt(nanoseconds)
}

function digits(text: string, at: number, count: number): number {
  let value = 0
  for (let index = at; index < at + count; index++) value = value * 10 + text.charCodeAt(index) - 0x30
  return value
}

const daysBeforeMonth = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365]

function daysIn(year: number, month: number): number {
  const days = (daysBeforeMonth[month] ?? 0) - (daysBeforeMonth[month - 1] ?? 0)
  return month === 2 && isLeap(year) ? days + 1 : days
}

/** Days from the epoch to the first of a month, in the Gregorian calendar for all years. */
function daysBefore(year: number, month: number): number {
  const past = year - 1
  const leapDays = Math.floor(past / 4) - Math.floor(past / 100) + Math.floor(past / 400)
  const inYear = (daysBeforeMonth[month - 1] ?? 0) + (month > 2 && isLeap(year) ? 1 : 0)
  return past * 365 + leapDays + inYear - 719_162
}

function isLeap(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
}
