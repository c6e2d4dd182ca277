// Reads JSON from bytes value by value: strings stay bytes, and numbers above 2^53 stay exact, unlike with JSON.parse.
import { isUtf8 } from 'node:buffer'
import type { RawText } from '../base/raw-text.ts'
import { encodeUtf8 } from './utf8-sequence.ts'

/** Why the bytes are not what was asked for. The caller knows which field it was reading. */
export class JsonProblem extends Error {}

/** How deep a value that nobody knows may be nested. */
const depthMax = 64
const digitsMax = 20

const quote = 0x22
const backslash = 0x5c
const comma = 0x2c

export class JsonReader {
  readonly #data: Buffer
  #at = 0

  constructor(data: Uint8Array) {
    if (!isUtf8(data)) throw new JsonProblem('is not UTF-8')
    this.#data = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  }

  get offset(): number {
    return this.#at
  }

  /** Reads `{`, `[` and the like. */
  expect(character: '{' | '[' | ':'): void {
    if (!this.#take(character.charCodeAt(0))) throw new JsonProblem(`should have "${character}" here`)
  }

  end(): void {
    this.#skipSpace()
    if (this.#at !== this.#data.length) throw new JsonProblem('goes on after its end')
  }

  /** Whether another element follows in the list or object whose last bracket this is; reads the comma or the bracket. */
  more(closing: ']' | '}', first: boolean): boolean {
    if (this.#take(closing.charCodeAt(0))) return false
    if (!first && !this.#take(comma)) throw new JsonProblem(`should have "," or "${closing}" here`)
    return true
  }

  /**
   * The next key with its colon: its place among `keys` (as `jsonKeys` made them), or -1 for a key that is not among
   * them. `from` is where to look first: keys mostly come in the same order.
   */
  key(keys: JsonKeys, from: number): number {
    this.#skipSpace()
    for (let place = from; place < keys.written.length; place++) {
      const written = keys.written[place]
      if (written !== undefined && this.#startsWith(written)) {
        this.#at += written.length
        return place
      }
    }
    const name = this.string()
    this.expect(':')
    return keys.places.get(name) ?? -1
  }

  null(): boolean {
    this.#skipSpace()
    if (!this.#startsWith(nullLiteral)) return false
    this.#at += nullLiteral.length
    return true
  }

  /** The UTF-8 bytes of a string, one character each. */
  string(): RawText {
    this.#skipSpace()
    const data = this.#data
    if (data[this.#at] !== quote) throw new JsonProblem('should be a string')
    const start = this.#at + 1
    for (let at = start; at < data.length; at++) {
      const byte = data[at] ?? 0
      if (byte === quote) {
        this.#at = at + 1
        return data.toString('latin1', start, at) as RawText
      }
      if (byte === backslash) return this.#stringWithEscapes(start, at)
      if (byte < 0x20) throw new JsonProblem('has a control character in a string')
    }
    throw new JsonProblem('has a string without end')
  }

  #stringWithEscapes(start: number, firstEscape: number): RawText {
    const data = this.#data
    let at = firstEscape
    for (; data[at] !== quote; at++) {
      const byte = data[at]
      if (byte === undefined) throw new JsonProblem('has a string without end')
      if (byte < 0x20) throw new JsonProblem('has a control character in a string')
      if (byte === backslash) at++
    }
    this.#at = at + 1
    const written = data.toString('latin1', start, at)
    return written.replace(escapes, (all, pair?: string, unit?: string, letter?: string) => {
      if (pair !== undefined) return encodeUtf8(surrogatePair(pair))
      if (unit !== undefined) return encodeUtf8(loneUnit(Number.parseInt(unit, 16)))
      const meant = letter === undefined ? undefined : meaningOf.get(letter)
      if (meant === undefined) throw new JsonProblem(`has an unknown escape "${all}" in a string`)
      return meant
    }) as RawText
  }

  /** A whole number from 0 to `max`, which is at most 2^53 - 1. */
  count(max: number): number {
    const value = this.#digits()
    if (value > max) throw new JsonProblem(`is more than ${max}`)
    return value
  }

  uint64(): bigint {
    const rounded = this.#digits()
    if (rounded <= Number.MAX_SAFE_INTEGER) return BigInt(rounded)
    let start = this.#at
    while (isDigit(this.#data[start - 1])) start--
    const value = BigInt(this.#data.toString('latin1', start, this.#at))
    if (value > 0xffff_ffff_ffff_ffffn) throw new JsonProblem('is more than 64 bits hold')
    return value
  }

  /** Exact up to 2^53 - 1, and above it there. */
  #digits(): number {
    this.#skipSpace()
    const data = this.#data
    const start = this.#at
    let at = start
    let value = 0
    for (let byte = data[at] ?? 0; isDigit(byte); byte = data[++at] ?? 0) value = value * 10 + (byte - 0x30)
    const next = data[at]
    // What continues a number: ".", "e", "E"; a minus sign in front leaves no digit at all.
    const whole = next !== 0x2e && next !== 0x65 && next !== 0x45
    if (at === start || !whole) throw new JsonProblem('should be a whole number, 0 or more')
    if (at - start > 1 && data[start] === 0x30) throw new JsonProblem('has a number that starts with 0')
    if (at - start > digitsMax) throw new JsonProblem('is more than 64 bits hold')
    this.#at = at
    return value
  }

  /** Reads over a value of any kind. */
  skip(depth = 0): void {
    if (depth > depthMax) throw new JsonProblem(`is nested deeper than ${depthMax}`)
    this.#skipSpace()
    const byte = this.#data[this.#at]
    if (byte === quote) {
      this.string()
    } else if (this.#take(0x7b)) {
      for (let first = true; this.more('}', first); first = false) {
        this.string()
        this.expect(':')
        this.skip(depth + 1)
      }
    } else if (this.#take(0x5b)) {
      for (let first = true; this.more(']', first); first = false) this.skip(depth + 1)
    } else {
      const start = this.#at
      while (isLiteral(this.#data[this.#at])) this.#at++
      const written = this.#data.toString('latin1', start, this.#at)
      if (!literal.test(written)) throw new JsonProblem('should have a value here')
    }
  }

  #take(byte: number): boolean {
    this.#skipSpace()
    if (this.#data[this.#at] !== byte) return false
    this.#at++
    return true
  }

  #startsWith(written: Uint8Array): boolean {
    const data = this.#data
    const at = this.#at
    for (let index = 0; index < written.length; index++) {
      if (data[at + index] !== written[index]) return false
    }
    return true
  }

  #skipSpace(): void {
    for (;;) {
      const byte = this.#data[this.#at]
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return
      this.#at++
    }
  }
}

export interface JsonKeys {
  /** As they stand in JSON without spaces, with quotes and colon. */
  readonly written: readonly Uint8Array[]
  readonly places: ReadonlyMap<string, number>
}

export function jsonKeys(names: readonly string[]): JsonKeys {
  return {
    written: names.map((name) => Buffer.from(`"${name}":`)),
    places: new Map(names.map((name, place) => [name, place])),
  }
}

const nullLiteral = Buffer.from('null')
const literal = /^(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)$/
const escapes =
  /\\(?:u([dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(["\\/bfnrt])|)/g
const meaningOf = new Map([
  ['"', '"'],
  ['\\', '\\'],
  ['/', '/'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
])

function surrogatePair(pair: string): number {
  const high = Number.parseInt(pair.slice(0, 4), 16)
  const low = Number.parseInt(pair.slice(-4), 16)
  return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
}

/** Half a pair is read as U+FFFD, as Go does. */
function loneUnit(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? 0xfffd : unit
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39
}

/** Of `true`, `false`, `null` and numbers. */
function isLiteral(byte: number | undefined): boolean {
  return (
    byte !== undefined &&
    (isDigit(byte) ||
      (byte >= 0x61 && byte <= 0x7a) ||
      byte === 0x45 ||
      byte === 0x2b ||
      byte === 0x2d ||
      byte === 0x2e)
  )
}
