// 200 kills at random moments of each of three transactions of a real machine, half of them in the commit.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { killCase } from '../transaction-kill-cases.ts'

const kills = 200

for (const what of [
  'the end of an upgrade',
  'the undo of an upgrade',
  'the undo of an installation',
] as const)
  test(`${what}, killed at any moment, is recovered by VML or by recover.sh to exactly before or exactly after`, async (context) => {
    const tally = await killCase(what, { seed: 7, times: kills })
    context.diagnostic(JSON.stringify(tally))
    assert.ok(tally.committing > 0 && tally.byScript > 0)
  })
