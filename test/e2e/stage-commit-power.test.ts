// The power goes at a commit, at some of the ends that this may have; more of them are in test/long/.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PowerTally } from '../stage-commit-power.ts'
import { runOnDisk } from '../stage-commit-run.ts'

test('whatever of the calls that no sync made durable is lost with the power, a commit ends as before or as after', () => {
  const { ends, recovered, states } = runOnDisk<PowerTally>('tmpfs', 'stage-commit-power.ts', {
    ...{ kind: 'plain', subsets: 1, waysEach: 1, seed: 4 },
  })
  assert.ok(ends > 50 && recovered === ends, `${recovered} of ${ends} ends`)
  for (const state of [
    'none',
    'PREPARED',
    'COMMITTING',
    'COMMITTED',
    'TAKING-BACK',
    'TAKEN-BACK',
    'FORGOTTEN',
  ])
    assert.ok((states[state] ?? 0) > 0, `${state}: ${JSON.stringify(states)}`)
})
