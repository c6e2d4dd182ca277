// A prune that is killed at every call of the backend leaves a logbook that restic finds sound.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { killPrunes } from '../prune-kill.ts'

test('Y6: killed at every call of the backend, a prune leaves a sound logbook, and the next prune works', async (context) => {
  const { points, kills } = await killPrunes(1)
  context.diagnostic(`${kills} kills at ${points} points`)
  assert.equal(kills, points)
})
