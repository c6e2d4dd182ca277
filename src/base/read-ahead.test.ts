import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readAhead } from './read-ahead.ts'

test('everything comes in order, and no more is read ahead than was said', async () => {
  let running = 0
  let most = 0
  const read = async (item: number) => {
    most = Math.max(most, ++running)
    await new Promise((resolve) => setTimeout(resolve, item % 3))
    return item * 2
  }
  const found: number[] = []
  for await (const [item, twice] of readAhead([1, 2, 3, 4, 5, 6, 7], 2, read)) {
    running--
    assert.equal(twice, item * 2)
    found.push(item)
  }
  assert.deepEqual(found, [1, 2, 3, 4, 5, 6, 7])
  assert.ok(most <= 3)
})

test('a failure comes in its turn, and ends nothing before', async () => {
  const found: number[] = []
  const read = async (item: number) => {
    if (item === 3) throw new Error('third')
    return item
  }
  await assert.rejects(async () => {
    for await (const [item] of readAhead([1, 2, 3, 4], 3, read)) found.push(item)
  }, /third/)
  assert.deepEqual(found, [1, 2])
})
