import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import * as fc from 'fast-check'
import { textDiff } from './text-diff.ts'

let folder = ''
before(() => void (folder = mkdtempSync(join(tmpdir(), 'vml-text-diff-'))))
after(() => rmSync(folder, { recursive: true, force: true }))

test('patch turns the one text into the other with what the diff says', () => {
  const line = fc.constantFrom('a', 'b', '', '\tx \\ y', 'é')
  const body = fc
    .tuple(fc.array(line, { maxLength: 30 }), fc.boolean())
    .map(([lines, end]) => lines.join('\n') + (end && lines.length > 0 ? '\n' : ''))
  fc.assert(
    fc.property(body, body, fc.nat(4), (left, right, context) => {
      const diff = textDiff(Buffer.from(left), Buffer.from(right), { context })
      if (left === right) assert.deepEqual(diff, { kind: 'same' })
      else assert.equal(patched(left, diff), right)
    }),
    { numRuns: 150 },
  )
})

test('texts without much in common come as one replacement, which patch takes too', () => {
  const diff = textDiff(Buffer.from(manyLines('a')), Buffer.from(manyLines('b')))
  assert.equal(diff.kind === 'text' && diff.lines.filter((line) => line.startsWith('@@')).length, 1)
  assert.equal(patched(manyLines('a'), diff), manyLines('b'))
})

test('no line carries a control character to the terminal', () => {
  const diff = textDiff(Buffer.from('\x1b]0;x\x07\n'), Buffer.from('ok\t\\n\xff\u202e\r\n', 'utf8'))
  assert.ok(diff.kind === 'text')
  for (const line of diff.lines) assert.doesNotMatch(line, /[^\P{C}\t]/u)
  assert.ok(diff.lines.includes('-\\x1b]0;x\\x07'))
})

test('bytes that are no text, and files that are too large, are said to be so', () => {
  assert.deepEqual(textDiff(Buffer.from('a\0'), Buffer.from('b')), { kind: 'binary' })
  const large = Buffer.alloc(1024 * 1024 + 1, 'x')
  assert.equal(textDiff(large, Buffer.from('b')).kind, 'too-large')
  assert.equal(textDiff(large, Buffer.from(large)).kind, 'same')
})

function patched(text: string, diff: ReturnType<typeof textDiff>): string {
  assert.ok(diff.kind === 'text')
  const file = join(folder, 'file')
  writeFileSync(file, text)
  const input = `--- file\n+++ file\n${diff.lines.join('\n')}\n`
  const { status, stdout, error } = spawnSync('patch', ['-s', '-u', file], { input, encoding: 'utf8' })
  assert.equal(error, undefined)
  assert.equal(status, 0, `${stdout}\n${input}`)
  return readFileSync(file, 'utf8')
}

function manyLines(prefix: string): string {
  return `head\n${Array.from({ length: 9000 }, (_, index) => `${prefix}${index}\n`).join('')}tail`
}
