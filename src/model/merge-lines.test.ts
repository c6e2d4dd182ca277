import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { mergeLines, mergeSingleLines } from './merge-lines.ts'
import { mergeLinesMax } from './merge-regions.ts'

/** Lines that are each there once: then a diff has one answer, and `model` can say what must come out. */
const edit = fc.array(fc.constantFrom(...Array<string>(17).fill('keep'), 'drop', 'change', 'insert'), {
  minLength: 12,
  maxLength: 12,
})

test('hunks that touch nothing of each other are both applied, and all of what came later is there', () => {
  let mergedCount = 0
  fc.assert(
    fc.property(edit, edit, (byK, later) => {
      const theirs = Array.from({ length: 12 }, (_, index) => `line ${index}`)
      const base = applied(theirs, byK, 'k')
      const ours = applied(base, later, 'later')
      const outcome = mergeLines({ base: textOf(base), ours: textOf(ours), theirs: textOf(theirs) })
      const result = (outcome.kind === 'merged' ? outcome.text : (outcome.partial ?? textOf(ours))) ?? ''
      const lines = new Set(result.split('\n'))
      for (const line of ours) if (!base.includes(line)) assert.ok(lines.has(line), line)
      for (const line of base) if (!ours.includes(line)) assert.ok(!lines.has(line), line)
      if (outcome.kind === 'conflict') return assert.ok((outcome.lines ?? []).length > 0)
      mergedCount++
      for (const line of base)
        if (line.endsWith(' k')) assert.ok(!lines.has(line) || !theirs.includes(line), line)
      for (const line of theirs) if (!base.includes(line)) assert.ok(lines.has(line), line)
    }),
    { numRuns: 600 },
  )
  assert.ok(mergedCount > 20, `${mergedCount} of 600 were merged`)
})

test('undoing two edits of different places gives the same text in either order', () => {
  const edits = fc.array(fc.constantFrom('keep', 'change', 'drop'), { minLength: 4, maxLength: 4 })
  fc.assert(
    fc.property(edits, edits, (byK, byJ) => {
      const s0 = Array.from({ length: 12 }, (_, index) => `line ${index}`)
      const s1 = [...applied(s0.slice(0, 4), byK, 'k'), ...s0.slice(4)]
      const onlyJ = [...s0.slice(0, 8), ...applied(s0.slice(8), byJ, 'j')]
      const s2 = [...s1.slice(0, -4), ...applied(s0.slice(8), byJ, 'j')]
      const merged = (base: string[], ours: string[], theirs: string[]) =>
        mergeLines({ base: textOf(base), ours: textOf(ours), theirs: textOf(theirs) })
      assert.deepEqual(merged(s1, s2, s0), { kind: 'merged', text: textOf(onlyJ) })
      assert.deepEqual(merged(s2, onlyJ, s1), { kind: 'merged', text: textOf(s0) })
      assert.deepEqual(merged(s2, s2, s1), { kind: 'merged', text: textOf(s1) })
    }),
    { numRuns: 200 },
  )
})

test('where both changed a line ours stands, the line is named, and the rest is taken back', () => {
  const text = (first: string, last: string) => `${first}\nb\nc\n${last}\n`
  const outcome = mergeLines({ base: text('k', 'k'), ours: text('k', 'mine'), theirs: text('old', 'old') })
  assert.deepEqual(outcome, {
    kind: 'conflict',
    reason: 'both-changed',
    lines: [{ first: 4, last: 4 }],
    partial: text('old', 'mine'),
  })
})

test('carriage returns, a byte order mark, bytes that are no UTF-8 and a missing last newline stay', () => {
  const text = (first: string, last: string) => `\xef\xbb\xbf${first}\r\n\xff\xfe\r\n\r\n${last}`
  const merged = mergeLines({ base: text('k', 'x'), ours: text('k', 'mine'), theirs: text('old', 'x') })
  assert.deepEqual(merged, { kind: 'merged', text: text('old', 'mine') })
})

test('lines named as parts of every object are lines like any other', () => {
  const text = (first: string, last: string) => `${first}\n__proto__\nconstructor\ntoString\n${last}\n`
  const merged = mergeLines({ base: text('k', 'x'), ours: text('k', 'mine'), theirs: text('old', 'x') })
  assert.deepEqual(merged, { kind: 'merged', text: text('old', 'mine') })
})

test('what would take minutes to compare is a conflict at once', () => {
  const many = (end: string) =>
    Array.from({ length: mergeLinesMax }, (_, index) => `${end}${index}\n`).join('')
  const outcome = mergeLines({ base: `a\n${many('a')}`, ours: `b\n${many('b')}`, theirs: `c\n${many('c')}` })
  assert.deepEqual(outcome, { kind: 'conflict', reason: 'too-large' })
  const blank = (first: string) => `${first}\n${'\n'.repeat(15_000)}${first}\n`
  assert.deepEqual(mergeLines({ base: blank('a'), ours: blank('b'), theirs: blank('c') }), {
    kind: 'conflict',
    reason: 'too-large',
  })
})

function applied(lines: readonly string[], edits: readonly string[], mark: string): string[] {
  return lines.flatMap((line, index) => {
    const what = edits[index] ?? 'keep'
    if (what === 'drop') return []
    if (what === 'change') return [`${line} ${mark}`]
    return what === 'insert' ? [line, `after ${line} ${mark}`] : [line]
  })
}

function textOf(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join('')
}

test('in a list of lines that each stand for themselves, those that touch are told apart by what they are about', () => {
  const merged = (base: string, ours: string, theirs: string) => mergeSingleLines({ base, ours, theirs })
  // k appended a line, and so did somebody after it.
  assert.deepEqual(merged('a\nk\n', 'a\nk\nlater\n', 'a\n'), { kind: 'merged', text: 'a\nlater\n' })
  assert.deepEqual(merged('k\na\n', 'later\nk\na\n', 'a\n'), { kind: 'merged', text: 'later\na\n' })
  // k took a line out, and somebody took out the next one.
  assert.deepEqual(merged('a\nc\n', 'a\n', 'a\nb\nc\n'), { kind: 'merged', text: 'a\nb\n' })
  // k changed a line, and somebody put another one after it.
  assert.deepEqual(merged('x 2\n', 'x 2\ny 1\n', 'x 1\n'), { kind: 'merged', text: 'x 1\ny 1\n' })
  // Both changed the same line; what was put in may mean what comes back; both put something at the same place.
  assert.equal(merged('x=2\n', 'x=3\n', 'x=1\n').kind, 'conflict')
  assert.equal(merged('b=1\n', 'a=4\nb=1\n', 'a=1\n').kind, 'conflict')
  assert.equal(merged('a\n', 'a\nlater\n', 'a\nbefore\n').kind, 'conflict')
  // Two lines would become one.
  assert.equal(merged('x 2\n', 'x 2\ny 1\n', 'x 1').kind, 'conflict')
})

test('lines that touch are a conflict elsewhere, with those between which a comparison chose one of two', () => {
  const kind = (base: string, ours: string, theirs: string) => mergeLines({ base, ours, theirs }).kind
  assert.equal(kind('a\nk\n', 'a\nk\nlater\n', 'a\n'), 'conflict')
  assert.equal(kind('x 2\n', 'x 2\ny 1\n', 'x 1\n'), 'conflict')
  assert.equal(kind('a\nk\nb\n', 'a\nk\nmine\n', 'a\nb\n'), 'conflict')
  // k appended the second one, and not the first, which would be far from the line that came later.
  assert.equal(kind('q\nu a\nx 1\nu a\nx 1\n', 'u a\nx 1\nu a\nx 1\ny 2\n', 'q\nu a\nx 1\n'), 'conflict')
  assert.equal(kind('a\nk\nb\nc\n', 'a\nk\nb\nc\nlater\n', 'a\nb\nc\n'), 'merged')
})
