import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { asRaw, rawFromString } from '../base/raw-text.ts'
import { formatGoTime, goJsonString, goZeroTime, parseGoTime } from './go-json.ts'

test('strings read back as they were', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (any) => {
      const text = any.toWellFormed()
      const json = Buffer.from(goJsonString(rawFromString(text)), 'latin1').toString()
      assert.equal(JSON.parse(json), text)
      assert.doesNotMatch(json, /[<>&\u2028\u2029]/)
    }),
    { numRuns: 1000 },
  )
})

test('strings are escaped as encoding/json does it', () => {
  assert.equal(
    goJsonString(asRaw('a"\\\b\f\n\r\t\x01\x7f<>&/')),
    String.raw`"a\"\\\b\f\n\r\t\u0001${'\x7f'}\u003c\u003e\u0026/"`,
  )
  assert.equal(goJsonString(rawFromString('\u2028\u2029')), String.raw`"\u2028\u2029"`)
  assert.equal(goJsonString(asRaw('\xff\xc3')), String.raw`"\ufffd\ufffd"`)
  assert.equal(goJsonString(rawFromString('ä😀')), `"${rawFromString('ä😀')}"`)
})

const year0 = BigInt(Date.parse('0000-01-01T00:00:00Z')) * 1_000_000n
const year10000 = BigInt(Date.parse('+010000-01-01T00:00:00Z')) * 1_000_000n

test('times come back to the nanosecond, for all years that can be written', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: year0, max: year10000 - 1n }), (ns) => {
      assert.equal(parseGoTime(formatGoTime(ns)), ns)
    }),
    { numRuns: 2000 },
  )
  for (const ns of [year0, year10000 - 1n, 0n, -1n, 1n, 999_999_999n])
    assert.equal(parseGoTime(formatGoTime(ns)), ns)
})

const two = (value: number) => String(Math.trunc(value)).padStart(2, '0')

test('times read as JavaScript reads them', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: -62_167_219_200, max: 253_402_300_799 }),
      fc.integer({ min: -1439, max: 1439 }),
      (seconds, zone) => {
        const local = new Date((seconds + zone * 60) * 1000).toISOString().slice(0, 19)
        fc.pre(/^\d{4}-/.test(local))
        const offset = `${zone < 0 ? '-' : '+'}${two(Math.abs(zone) / 60)}:${two(Math.abs(zone) % 60)}`
        assert.equal(parseGoTime(`${local}${offset}`), BigInt(seconds) * 1_000_000_000n)
      },
    ),
    { numRuns: 2000 },
  )
})

test('times are written as time.Time writes them', () => {
  assert.equal(formatGoTime(0n), '1970-01-01T00:00:00Z')
  assert.equal(formatGoTime(1n), '1970-01-01T00:00:00.000000001Z')
  assert.equal(formatGoTime(-500_000_000n), '1969-12-31T23:59:59.5Z')
  assert.equal(formatGoTime(parseGoTime(goZeroTime) ?? 0n), goZeroTime)
})

test('a year that cannot be written becomes the nearest that can, as in restic', () => {
  assert.equal(formatGoTime(year10000), '9999-01-01T00:00:00Z')
  assert.match(formatGoTime(10n ** 30n), /^9999-/)
  assert.match(formatGoTime(year0 - 1n), /^0000-12-31T23:59:59.999999999Z$/)
  assert.match(formatGoTime(-(10n ** 30n)), /^0000-/)
})

test('decimals finer than a nanosecond are left out', () => {
  assert.equal(parseGoTime('1970-01-01T00:00:00.0000000019Z'), 1n)
})

test('what is no time is undefined', () => {
  for (const text of [
    '',
    '2026-01-01',
    '2026-01-01T00:00:00',
    '2026-01-01 00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-00-01T00:00:00Z',
    '2026-02-29T00:00:00Z',
    '1900-02-29T00:00:00Z',
    '2026-01-00T00:00:00Z',
    '2026-01-01T24:00:00Z',
    '2026-01-01T00:60:00Z',
    '2026-01-01T00:00:60Z',
    '2026-01-01T00:00:00.Z',
    '2026-01-01T00:00:00+25:00',
    '12026-01-01T00:00:00Z',
    `2026-01-01T00:00:00.${'0'.repeat(1000)}Z`,
  ]) {
    assert.equal(parseGoTime(text), undefined, text)
  }
  assert.notEqual(parseGoTime('2000-02-29T00:00:00Z'), undefined)
})
