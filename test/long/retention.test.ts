// What rules keep is what stock restic would keep, over many histories.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareWithRestic } from '../retention-oracle.ts'

test('rules keep what restic forget keeps over 400 random histories', async (context) => {
  const compared = await compareWithRestic({ histories: 400, seed: Math.trunc(Math.random() * 2 ** 31) })
  context.diagnostic(JSON.stringify(compared))
  assert.ok(compared.kept > compared.histories)
})
