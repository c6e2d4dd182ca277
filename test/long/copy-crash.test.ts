// A copy that is killed at every call of the backend shows whole entries only, and the next one ends it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { killCopies } from '../copy-kill.ts'

test('Y5: killed before or after every call of the backend, a copy shows whole entries only, and the next one ends it', async (context) => {
  const { kills, points, whole } = await killCopies(1)
  context.diagnostic(`${kills} kills at ${points} points, ${whole} entries were whole at them`)
  assert.equal(kills, points)
})
