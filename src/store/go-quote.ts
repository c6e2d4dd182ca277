// Names as restic writes them: quoted as Go's strconv.Quote does, without the quotes, so that any bytes become UTF-8.
import { asRaw, type RawText } from '../base/raw-text.ts'
import { isGoPrintable } from './go-printable.ts'
import { decodeUtf8, encodeUtf8 } from './utf8-sequence.ts'

/** The bytes with everything escaped that Go would not print; always valid UTF-8 without control characters. */
export function goQuote(raw: RawText): RawText {
  if (/^[ !#-[\]-~]*$/.test(raw)) return raw
  let out = ''
  for (let at = 0; at < raw.length;) {
    const { codePoint, length } = decodeUtf8(raw, at)
    const bytes = raw.slice(at, at + length)
    at += length
    if (codePoint === undefined) out += `\\x${hex(bytes.charCodeAt(0), 2)}`
    else if (bytes === '"' || bytes === '\\') out += `\\${bytes}`
    else if (isGoPrintable(codePoint)) out += bytes
    else out += escape(codePoint)
  }
  return asRaw(out)
}

function escape(codePoint: number): string {
  const letter = letterOf.get(codePoint)
  if (letter !== undefined) return `\\${letter}`
  if (codePoint < 0x20 || codePoint === 0x7f) return `\\x${hex(codePoint, 2)}`
  return codePoint < 0x10000 ? `\\u${hex(codePoint, 4)}` : `\\U${hex(codePoint, 8)}`
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}

/** What Go's strconv.Unquote makes of it between double quotes; undefined where Go fails. */
export function goUnquote(quoted: RawText): RawText | undefined {
  if (!/["\\\n]/.test(quoted)) return quoted
  if (/["\n]/.test(quoted.replace(/\\./gs, ''))) return undefined
  let wrong = false
  const raw = quoted.replace(
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|([abfnrtv\\"])|)/g,
    (_escape, byte?: string, short?: string, long?: string, octal?: string, letter?: string) => {
      if (byte !== undefined) return String.fromCharCode(Number.parseInt(byte, 16))
      const rune = short ?? long
      if (rune !== undefined) {
        const codePoint = Number.parseInt(rune, 16)
        if (codePoint <= 0x10ffff && !(codePoint >= 0xd800 && codePoint <= 0xdfff))
          return encodeUtf8(codePoint)
      }
      if (octal !== undefined && octal <= '377') return String.fromCharCode(Number.parseInt(octal, 8))
      const meant = letter === undefined ? undefined : meaningOf.get(letter)
      wrong ||= meant === undefined
      return meant ?? ''
    },
  )
  return wrong ? undefined : asRaw(raw)
}

const letterOf = new Map([
  [0x07, 'a'],
  [0x08, 'b'],
  [0x0c, 'f'],
  [0x0a, 'n'],
  [0x0d, 'r'],
  [0x09, 't'],
  [0x0b, 'v'],
])
const meaningOf = new Map([
  ['\\', '\\'],
  ['"', '"'],
  ...[...letterOf].map(([code, letter]) => [letter, String.fromCharCode(code)] as const),
])
