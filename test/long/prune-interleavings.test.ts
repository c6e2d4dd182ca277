// Two hundred rounds in which stock restic and VML save, remove and prune on one logbook at the same time.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { interleave } from '../prune-interleaving.ts'

const seeds = [1, 2, 3, 4]
const interleavings = 50

test('restic and VML on one logbook at once may meet a lock, never damage', async (context) => {
  for (const seed of seeds) {
    const { done, locked, killed } = await interleave({ seed, interleavings, killEvery: 6 })
    context.diagnostic(
      `seed ${seed}: ${interleavings} interleavings, ${done} done, ${locked} met a lock, ${killed} killed`,
    )
    assert.ok(done > interleavings && locked > 0 && killed > 0)
  }
})
