import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { cutRaw, cutText } from './cut-text.ts'
import { rawFromBytes, rawFromString, rawToUtf8 } from './raw-text.ts'

test('what fits stays as it is; what does not is cut at a character, and says so', () => {
  assert.equal(cutText('abcd', 4), 'abcd')
  assert.equal(cutText('abcde', 4), 'abc…')
  assert.equal(cutText('ab😀😀', 4), 'ab…')
  assert.equal(cutRaw(rawFromString('abcd'), 4), rawFromString('abcd'))
  assert.equal(cutRaw(rawFromString('aéééé'), 7), rawFromString('aé…'))
  assert.equal(cutRaw(rawFromBytes(Buffer.from([0xff, 0x80, 0x80, 0x80, 0x80])), 4), '\xff\xe2\x80\xa6')
})

test('whatever text it is, what is left is text within the limit, and begins as it began', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.integer({ min: 4, max: 40 }),
      (text, max) => {
        const cut = cutText(text, max)
        assert.ok(cut.length <= max && cut.isWellFormed())
        assert.ok(
          text === cut || (text.length > max && text.startsWith(cut.slice(0, -1)) && cut.endsWith('…')),
        )
        const raw = rawFromString(text)
        const cutBytes = cutRaw(raw, max)
        assert.ok(cutBytes.length <= max)
        const read = rawToUtf8(cutBytes)
        assert.ok(
          read !== undefined && (text === read || (read.endsWith('…') && text.startsWith(read.slice(0, -1)))),
        )
      },
    ),
  )
})
