import assert from 'node:assert/strict'
import { test } from 'node:test'
import { entryNames, type LoggedEntry } from './entries.ts'

const namesOf = (...numbers: readonly number[]) =>
  entryNames(numbers.map((number) => ({ number }) as LoggedEntry))

test('of entries whose numbers follow each other the first and the last are told', () => {
  assert.equal(namesOf(), '')
  assert.equal(namesOf(7), '#7')
  assert.equal(namesOf(7, 8), '#7, #8')
  assert.equal(namesOf(7, 8, 9), '#7–#9')
  assert.equal(namesOf(95, 94, 93, 20), '#95–#93, #20')
  assert.equal(namesOf(3, 4, 3, 2, 1, 9), '#3, #4, #3–#1, #9')
})
