import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EntryId } from '../model/ids.ts'
import { ranges } from './entry-ranges.ts'

test('entries of a machine are a range, and those that have single paths are named one by one', () => {
  const entries = (kind: 'environment' | 'transaction', ...numbers: readonly number[]) =>
    numbers.map((number) => ({ id: String(number).repeat(64) as EntryId, number, kind }))
  assert.equal(ranges([]), '')
  assert.equal(ranges(entries('environment', 3)), '#3')
  assert.equal(ranges(entries('environment', 3, 4, 5)), '#3–#5')
  assert.equal(ranges(entries('transaction', 21)), '#21')
  assert.equal(ranges(entries('transaction', 21, 29)), '#21, #29')
  assert.equal(ranges(entries('transaction', 1, 2, 3, 4, 5, 9)), '#1, #2, #3, #4, #5, #9')
  assert.equal(ranges(entries('transaction', 1, 2, 3, 4, 5, 6, 7, 9)), '#1, #2, #3, #4, #5, …, #9')
})
