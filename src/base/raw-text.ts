// Text whose bytes matter, such as file names of a guest: one character per byte, so that any byte survives,
// `<` orders as memcmp does, and the value can key a Map. Never print it as it is: use `printable`.

declare const raw: unique symbol

/** A string in which every character stands for one byte (0 to 255). UTF-8 text is held as its bytes. */
export type RawText = string & { readonly [raw]: true }

export function rawFromBytes(bytes: Uint8Array): RawText {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1') as RawText
}

export function rawFromString(text: string): RawText {
  return (isAscii(text) ? text : Buffer.from(text, 'utf8').toString('latin1')) as RawText
}

/** For text that was already taken apart or put together from RawText. Throws where a character is no byte. */
export function asRaw(text: string): RawText {
  for (let index = 0; index < text.length; index++) {
    if (text.charCodeAt(index) > 0xff)
      throw new TypeError('Cannot take text as bytes: a character is above 255')
  }
  return text as RawText
}

export function rawToBytes(text: RawText): Buffer {
  return Buffer.from(text, 'latin1')
}

/** The UTF-8 reading of the bytes, or undefined when they are not valid UTF-8. */
export function rawToUtf8(text: RawText): string | undefined {
  if (isAscii(text)) return text
  try {
    return strictUtf8.decode(rawToBytes(text))
  } catch {
    return undefined
  }
}

/**
 * What may be shown on a terminal, in a log or in a page: UTF-8 as it reads; control characters, bidirectional
 * marks and invalid bytes escaped as `\n`, `\x1b`, `\u{202e}`, `\xff`; a backslash doubled.
 */
export function printable(text: RawText): string {
  const utf8 = rawToUtf8(text)
  if (utf8 !== undefined) return printableText(utf8)
  let out = ''
  for (const { segment, valid } of utf8Runs(rawToBytes(text))) {
    out += valid ? printableText(segment.toString('utf8')) : hexEscapes(segment)
  }
  return out
}

/** The same for text that is already a JavaScript string, for example a message of another program. */
export function printableText(text: string): string {
  if (!/[\p{C}\p{Zl}\p{Zp}\\]/u.test(text)) return text
  return text.replace(/[\p{C}\p{Zl}\p{Zp}\\]/gu, (character) => {
    const named = namedEscapes[character]
    if (named !== undefined) return named
    const code = character.codePointAt(0) ?? 0
    return code < 0x80 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`
  })
}

const namedEscapes: Readonly<Record<string, string>> = { '\n': '\\n', '\t': '\\t', '\r': '\\r', '\\': '\\\\' }
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x7f) return false
  return true
}

function hexEscapes(bytes: Uint8Array): string {
  let out = ''
  for (const byte of bytes) out += `\\x${byte.toString(16).padStart(2, '0')}`
  return out
}

/** Cuts bytes into runs that are valid UTF-8 and runs that are not. */
function* utf8Runs(bytes: Buffer): Iterable<{ segment: Buffer; valid: boolean }> {
  let start = 0
  let valid = true
  let index = 0
  while (index < bytes.length) {
    const length = sequenceLength(bytes, index)
    if (length > 0 !== valid) {
      if (index > start) yield { segment: bytes.subarray(start, index), valid }
      start = index
      valid = length > 0
    }
    index += Math.max(length, 1)
  }
  if (index > start) yield { segment: bytes.subarray(start), valid }
}

/** Length of the well-formed UTF-8 sequence at `index`, or 0 (Unicode, table 3-7). */
function sequenceLength(bytes: Buffer, index: number): number {
  for (let length = 1; length <= 4 && index + length <= bytes.length; length++) {
    try {
      strictUtf8.decode(bytes.subarray(index, index + length))
      return length
    } catch {
      // A longer sequence may still be well-formed.
    }
  }
  return 0
}
