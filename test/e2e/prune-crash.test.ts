// A prune that is killed leaves a logbook that restic finds sound. Every call of the backend: test/long/prune-crash.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { killPrunes } from '../prune-kill.ts'

test('Y6: killed at some call of the backend, a prune leaves a sound logbook, and the next prune works', async (context) => {
  const { points, kills } = await killPrunes(41)
  context.diagnostic(`${kills} kills at ${points} points`)
  assert.ok(kills >= 4)
})
