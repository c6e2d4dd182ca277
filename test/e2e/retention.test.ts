// What rules keep is what stock restic would keep.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareWithRestic } from '../retention-oracle.ts'

test('rules keep what restic forget keeps, for the same reasons, over random histories', async (context) => {
  const compared = await compareWithRestic({ histories: 30, seed: Math.trunc(Math.random() * 2 ** 31) })
  context.diagnostic(JSON.stringify(compared))
  assert.ok(compared.kept > compared.histories)
})
