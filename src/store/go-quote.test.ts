import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { asRaw, rawFromBytes, rawFromString } from '../base/raw-text.ts'
import { isGoPrintable } from './go-printable.ts'
import { goQuote, goUnquote } from './go-quote.ts'
import { decodeUtf8, encodeUtf8 } from './utf8-sequence.ts'

test('any bytes come back', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      const raw = rawFromBytes(bytes)
      const quoted = goQuote(raw)
      assert.equal(goUnquote(quoted), raw)
      assert.equal(
        [...quoted].some((byte) => byte < ' ' || byte === '\x7f'),
        false,
      )
      assert.ok(Buffer.from(quoted, 'latin1').toString().includes('\ufffd') === raw.includes('\xef\xbf\xbd'))
    }),
    { numRuns: 1000 },
  )
})

test('any text comes back', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const raw = rawFromString(text)
      assert.equal(goUnquote(goQuote(raw)), raw)
    }),
    { numRuns: 1000 },
  )
})

test('quotes as the Go specification and package strconv write it', () => {
  const cases: readonly [string, string][] = [
    ['', ''],
    ['plain-name.txt', 'plain-name.txt'],
    ['\x07\b\f\n\r\t\v', String.raw`\a\b\f\n\r\t\v`],
    ['"back\\slash"', String.raw`\"back\\slash\"`],
    ['\0\x1f\x7f', String.raw`\x00\x1f\x7f`],
    ["it's <a> & b", "it's <a> & b"],
    ['☺', '☺'],
    ['\ufffd', '\ufffd'],
    ['\u00a0\u00ad\u2028\ufeff', String.raw`\u00a0\u00ad\u2028\ufeff`],
    ['\u{e0001}\u{10ffff}', String.raw`\U000e0001\U0010ffff`],
    ['日本語 𝄞', '日本語 𝄞'],
  ]
  for (const [text, quoted] of cases) assert.equal(goQuote(rawFromString(text)), rawFromString(quoted), text)
})

test('bytes that are not UTF-8 are written one by one', () => {
  assert.equal(goQuote(asRaw('a\xff\xc3(\xe2\x82')), String.raw`a\xff\xc3(\xe2\x82`)
  // An overlong form, half a surrogate pair, and what lies above U+10FFFF.
  assert.equal(
    goQuote(asRaw('\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80')),
    String.raw`\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80`,
  )
})

test('unquotes every escape of Go', () => {
  const cases: readonly [string, string][] = [
    [String.raw`\x41\u00e4\U0001d11e\101\377`, '\x41\xc3\xa4\xf0\x9d\x84\x9e\x41\xff'],
    [String.raw`\\x41\"`, String.raw`\x41"`],
    ["it's", "it's"],
  ]
  for (const [quoted, raw] of cases) assert.equal(goUnquote(asRaw(quoted)), raw)
})

test('what Go would not unquote is refused', () => {
  for (const quoted of [
    '\\',
    'a\\',
    '\\q',
    "\\'",
    '"',
    'a"b',
    '\n',
    '\\x4',
    '\\xg0',
    '\\u123',
    '\\ud800',
    '\\U00110000',
    '\\400',
    '\\18',
    '\\\\\\',
  ]) {
    assert.equal(goUnquote(asRaw(quoted)), undefined, quoted)
  }
})

test('printable is what Unicode 15.0 calls so, as far as this Node knows', () => {
  const graphic = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u
  let later = 0
  for (let codePoint = 0; codePoint <= 0x10ffff; codePoint++) {
    const here = graphic.test(String.fromCodePoint(codePoint))
    if (isGoPrintable(codePoint)) assert.ok(here, codePoint.toString(16))
    else if (here) later++
  }
  // Characters that came after 15.0, among them the ideographs of extensions I and J.
  assert.equal(isGoPrintable(0x2ebf0), false)
  assert.equal(isGoPrintable(0x31350), true)
  assert.ok(later < 20_000)
})

test('UTF-8 is read as Node reads it', () => {
  for (const codePoint of [0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff]) {
    const raw = encodeUtf8(codePoint)
    assert.deepEqual(decodeUtf8(raw, 0), { codePoint, length: raw.length })
  }
  assert.equal(encodeUtf8(0xd800), encodeUtf8(0xfffd))
})
