// Stock restic and VML save, remove and prune on one logbook at the same time. Two hundred times: test/long/prune-interleavings.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { interleave } from '../prune-interleaving.ts'

test('restic and VML on one logbook at once may meet a lock, never damage', async (context) => {
  const { done, locked, killed } = await interleave({ seed: 3, interleavings: 4, killEvery: 3 })
  context.diagnostic(`${done} done, ${locked} met a lock, ${killed} killed`)
  assert.ok(done > 0)
})
