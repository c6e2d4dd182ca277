// A healing that is cut at every call of the backend loses nothing, and the next one ends it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cutHealing } from '../parity-cut.ts'

test('cut at every call of the backend, healing by recovery data loses nothing, and the next one ends it (G6)', async (context) => {
  const cuts = await cutHealing(1)
  context.diagnostic(`${cuts} cuts`)
  assert.ok(cuts > 100)
})
