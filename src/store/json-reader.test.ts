import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { rawFromString } from '../base/raw-text.ts'
import { jsonKeys, JsonProblem, JsonReader } from './json-reader.ts'

const reader = (json: string) => new JsonReader(Buffer.from(json))

const escaped = (text: string) =>
  `"${Array.from({ length: text.length }, (_, at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}`).join('')}"`

test('strings read as JSON.parse reads them, however they are escaped', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const raw = rawFromString(text.toWellFormed())
      assert.equal(reader(JSON.stringify(text.toWellFormed())).string(), raw)
      assert.equal(reader(escaped(text)).string(), raw)
    }),
    { numRuns: 500 },
  )
  assert.equal(reader(String.raw`"\/\b\f\n\r\t\"\\"`).string(), '/\b\f\n\r\t"\\')
})

test('half a surrogate pair is the replacement character, as in Go', () => {
  const replacement = rawFromString('\ufffd')
  assert.equal(reader(String.raw`"\ud800"`).string(), replacement)
  assert.equal(reader(String.raw`"\udc00\ud800"`).string(), replacement + replacement)
  assert.equal(reader(String.raw`"\ud800\u0041"`).string(), `${replacement}A`)
})

test('any value is read over, exactly to its end', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 5 }), fc.constantFrom('', ' ', '\n\t'), (json, space) => {
      const over = reader(`${space}${json}${space}`)
      over.skip()
      over.end()
    }),
    { numRuns: 500 },
  )
})

test('whole numbers are exact over all 64 bits', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value) => {
      assert.equal(reader(`${value}`).uint64(), value)
    }),
  )
  for (const value of [0n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 64n - 1n]) {
    assert.equal(reader(` ${value},`).uint64(), value)
  }
  assert.equal(reader('9007199254740991').count(Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER)
})

test('what is no whole number within the limit is refused', () => {
  for (const json of [
    '18446744073709551616',
    '-1',
    '1.5',
    '1e3',
    '1E3',
    '01',
    '',
    '"1"',
    'x',
    '111111111111111111111',
  ]) {
    assert.throws(() => reader(json).uint64(), JsonProblem, json)
  }
  for (const json of ['9007199254740992', '9007199254740993', '18446744073709551615']) {
    assert.throws(() => reader(json).count(Number.MAX_SAFE_INTEGER), JsonProblem, json)
  }
  assert.throws(() => reader('256').count(255), JsonProblem)
})

test('what is no JSON is refused', () => {
  for (const json of [
    '',
    '"',
    '"\\',
    '"\\"',
    '"\\x"',
    '"\\u12g4"',
    '"\n"',
    'nul',
    '[1,]',
    '[1 2]',
    '{1:2}',
    '{"a"}',
    '{"a":}',
    '[',
    '{',
    '+1',
    '.5',
    '1.',
    'tru',
    '00',
  ]) {
    assert.throws(
      () => {
        const over = reader(json)
        over.skip()
        over.end()
      },
      JsonProblem,
      json,
    )
  }
  assert.throws(() => new JsonReader(Buffer.from('"\xff"', 'latin1')), JsonProblem)
  assert.throws(() => reader('['.repeat(100_000)).skip(), JsonProblem)
})

test('keys are found in any order, written in any way', () => {
  const keys = jsonKeys(['a', 'b', 'c'])
  const json = reader(String.raw`{"b":1, "a" : 2,"\u0063":3,"d":4}`)
  const found: number[] = []
  json.expect('{')
  for (let first = true; json.more('}', first); first = false) {
    found.push(json.key(keys, 0), json.count(9))
  }
  json.end()
  assert.deepEqual(found, [1, 1, 0, 2, 2, 3, -1, 4])
})
