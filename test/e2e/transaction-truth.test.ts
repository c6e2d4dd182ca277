import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tinyKinds } from '../tiny-kinds.ts'
import { differenceToTruth } from '../transaction-truth.ts'

const kinds = (...names: readonly string[]) => tinyKinds.filter(({ name }) => names.includes(name))

test('three upgrades taken back, the oldest first, leave a machine on which they never ran', async () => {
  const chosen = kinds('tiny-conffile', 'tiny-foreign', 'tiny-swap')
  assert.equal(await differenceToTruth({ kinds: chosen, action: 'upgrade', archive: { forgets: true } }), '')
})

test('three installations taken back leave a machine on which they never ran', async () => {
  const chosen = kinds('tiny-diversion', 'tiny-alternative', 'tiny-user')
  assert.equal(await differenceToTruth({ kinds: chosen, action: 'install' }), '')
})

test('a link that became a folder, with names that the folder it led to has, is a link again', async () => {
  assert.equal(await differenceToTruth({ kinds: kinds('tiny-swap'), action: 'downgrade' }), '')
})
