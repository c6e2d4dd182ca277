import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { controlParagraph, controlParagraphs, sourceOf } from './control-paragraph.ts'

test('fields keep their further lines, comments and white space around values go', () => {
  const text =
    '\n# a comment\nPackage: one\nDESCRIPTION:  first \n second\n  indented\n .\n\tlast\t\n# between\nX-Y:\n\n \nPackage: two\n'
  assert.deepEqual(
    [...controlParagraphs(text)].map((fields) => [...fields]),
    [
      [
        ['package', 'one'],
        ['description', 'first\nsecond\n indented\n.\nlast'],
        ['x-y', ''],
      ],
      [['package', 'two']],
    ],
  )
})

test('only the fields that are asked for are kept, and a paragraph without any of them still counts', () => {
  const text = 'A: 1\n 2\nB: 3\n\nB: 4\n 5\n'
  assert.deepEqual(
    [...controlParagraphs(text, { keys: new Set(['a']) })].map((fields) => [...fields]),
    [[['a', '1\n2']], []],
  )
})

test('what is no field, a field that stands there twice and a lost further line are refused', () => {
  for (const text of ['nonsense\n', ': x\n', ' lost\n', 'A: 1\na: 2\n', 'A b: 1\n', '-A: 1\n', 'A\n: 1\n'])
    assert.throws(
      () => [...controlParagraphs(text)],
      (error) => isFailure(error, 'integrity.format'),
      JSON.stringify(text),
    )
  for (const text of ['', 'A: 1\n\nB: 2\n'])
    assert.throws(
      () => controlParagraph(text),
      (error) => isFailure(error, 'integrity.format'),
    )
})

test('any fields that are written are read again', () => {
  const name = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,10}$/)
  const line = fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/)
  const field = fc.tuple(name, fc.array(line, { minLength: 1, maxLength: 4 }))
  const paragraph = fc.uniqueArray(field, {
    minLength: 1,
    maxLength: 5,
    selector: ([key]) => key.toLowerCase(),
  })
  fc.assert(
    fc.property(fc.array(paragraph), (paragraphs) => {
      const text = paragraphs
        .map((fields) => fields.map(([key, lines]) => `${key}: ${lines.join('\n ')}\n`).join(''))
        .join('\n')
      assert.deepEqual(
        [...controlParagraphs(text)].map((fields) => [...fields]),
        paragraphs.map((fields) => fields.map(([key, lines]) => [key.toLowerCase(), lines.join('\n')])),
      )
    }),
  )
})

test('the source is the package itself where nothing else is said', () => {
  const source = (more: string) => sourceOf(controlParagraph(`Package: a\nVersion: 1-2+b1\n${more}`))
  assert.deepEqual(source(''), { name: 'a', version: '1-2+b1' })
  assert.deepEqual(source('Source: b\n'), { name: 'b', version: '1-2+b1' })
  assert.deepEqual(source('Source: b (1-2)\n'), { name: 'b', version: '1-2' })
})
