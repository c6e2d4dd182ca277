// What is said of a restore whose proof found differences.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VmlError } from '../base/failure.ts'
import type { RestoreReport } from './restore.ts'
import { requireProof } from './restore-entry.ts'

test('a path that differs in two ways is one path of those that were proved', () => {
  const differences = [
    { path: '/a', what: 'has another mode' },
    { path: '/a', what: 'has another time' },
    { path: '/b', what: 'is missing' },
  ]
  const proof = { checked: 2, absent: 0, contents: 0, bytes: 0, differences }
  const report = { proof, failures: [], damaged: [] } as unknown as RestoreReport
  assert.throws(
    () => requireProof(report, 'Nothing was there before', 'lab'),
    (error) => error instanceof VmlError && / 2 of 2 paths /.test(error.message) && error.code === 'proof',
  )
})
