import assert from 'node:assert/strict'
import { test } from 'node:test'
import { killCase } from '../transaction-kill-cases.ts'

for (const what of ['the end of an upgrade', 'the undo of an upgrade'] as const)
  test(`${what}, killed at any moment, is recovered to exactly before or exactly after, and the logbook says which`, async (context) => {
    const tally = await killCase(what, { seed: 1, times: 4 })
    context.diagnostic(JSON.stringify(tally))
    assert.equal(tally.kills, 4)
  })
