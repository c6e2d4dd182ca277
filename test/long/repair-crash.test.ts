// A repair that is killed at every call of the backend loses nothing, and the next one ends it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { killRepairs } from '../repair-kill.ts'

test('killed at every call of the backend, a repair loses nothing that could be read, and the next one ends it (G6)', async (context) => {
  const { points, kills } = await killRepairs(1)
  context.diagnostic(`${kills} kills at ${points} points`)
  assert.equal(kills, points)
})
