import assert from 'node:assert/strict'
import { test } from 'node:test'
import { changedHolds } from './dpkg-holds.ts'

const statusOf = (...packages: readonly (readonly [string, string])[]) =>
  packages
    .map(
      ([name, word]) => `Package: ${name}\nStatus: ${word} ok installed\nArchitecture: all\nVersion: 1\n\n`,
    )
    .join('')

test('what was put on hold and what was let go is told; what came or went is no hold', () => {
  const before = statusOf(['joe', 'install'], ['amy', 'hold'], ['bob', 'hold'], ['gone', 'hold'])
  const after = statusOf(['joe', 'hold'], ['amy', 'install'], ['bob', 'hold'], ['new', 'hold'])
  assert.deepEqual(changedHolds(before, after), { held: ['joe'], released: ['amy'] })
  assert.deepEqual(changedHolds(after, after), { held: [], released: [] })
  assert.deepEqual(changedHolds('', after), { held: [], released: [] })
})
