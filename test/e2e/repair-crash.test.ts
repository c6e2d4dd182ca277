// A repair that is killed at calls of the backend loses nothing, and the next one ends it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { killRepairs } from '../repair-kill.ts'

const stride = 37

test('killed at calls of the backend, a repair loses nothing that could be read, and the next one ends it (G6)', async (context) => {
  const { points, kills } = await killRepairs(stride)
  context.diagnostic(`${kills} kills at ${points} points`)
  assert.ok(kills >= Math.floor(points / stride))
})
