import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { controlParagraphs } from './control-paragraph.ts'
import { differingParagraphs } from './control-differences.ts'

const paragraph = fc
  .tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.nat(2), fc.boolean())
  .map(([name, version, long]) => `Package: ${name}\nVersion: ${version}\n${long ? 'Text: x\n .\n y\n' : ''}`)
const texts = fc
  .tuple(fc.array(paragraph, { maxLength: 6 }), fc.constantFrom('\n', '\n\n', ' \n'), fc.boolean())
  .map(([all, between, ends]) => `${all.join(between)}${ends ? '\n' : ''}`)

const read = (text: string) => [...controlParagraphs(text)].map((fields) => JSON.stringify([...fields]))

test('what differs is left out by neither side, and what is common by both, but beside lines of white space', () => {
  fc.assert(
    fc.property(texts, texts, (before, after) => {
      const differing = differingParagraphs(before, after)
      const [old, now] = [read(before), read(after)]
      const isOnly = (all: readonly string[]) => (one: string) => !all.includes(one)
      assert.deepEqual(read(differing.before).filter(isOnly(now)), old.filter(isOnly(now)))
      assert.deepEqual(read(differing.after).filter(isOnly(old)), now.filter(isOnly(old)))
      const plain = [before, after].every((text) => !/^ $/m.test(text))
      if (plain)
        assert.deepEqual(
          read(differing.before).filter((one) => now.includes(one)),
          [],
        )
    }),
  )
})
