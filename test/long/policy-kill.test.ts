// A thinning that is killed leaves whole entries, and is repeated with the same end.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { killThinnings } from '../forget-kill.ts'

test('a thinning that is killed at any call of the storage leaves whole entries, and ends right when it is repeated', async (context) => {
  const { points, kills } = await killThinnings(1)
  context.diagnostic(`${kills} kills at ${points} points`)
  assert.equal(kills, points)
})
