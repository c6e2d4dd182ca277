import assert from 'node:assert/strict'
import { test } from 'node:test'
import { firstFew } from './first-few.ts'

test('as many as there may be are named, and the rest is counted', () => {
  const asked: number[] = []
  const few = (count: number) =>
    firstFew(
      Array.from({ length: count }, (_, at) => at + 1),
      2,
      (each) => {
        asked.push(each)
        return `#${each}`
      },
    )
  assert.deepEqual([0, 1, 2, 3, 5].map(few), ['', '#1', '#1, #2', '#1, #2 and 1 more', '#1, #2 and 3 more'])
  assert.equal(Math.max(...asked), 2)
})
