import assert from 'node:assert/strict'
import { test } from 'node:test'
import { verifiedOf } from './package-system.ts'

test('a proof that was asked of no package is not told as one that passed', () => {
  assert.deepEqual(verifiedOf('dpkg --verify', 0, []), [])
  assert.deepEqual(verifiedOf('dpkg --verify', 2, [{ configuration: true }]), [
    { name: 'dpkg --verify', outcome: 'passed', message: '2 packages' },
  ])
})

test('nor one in which a file of a package differs', () => {
  assert.deepEqual(verifiedOf('dpkg --verify', 2, [{ configuration: false }]), [])
})
