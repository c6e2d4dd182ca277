// Commits of a staged change that are killed at some of the calls by which they change the disk; all of them are in test/long/.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KillTally } from '../stage-commit-kill.ts'
import type { Refusal } from '../stage-commit-refused.ts'
import { runOnDisk } from '../stage-commit-run.ts'

test('a commit and a take-back that are killed end as before or as after, recovered by VML or by recover.sh, forward or backward, also when that is killed', () => {
  const { kills, recoveryKills, recovered, commitPoints, takeBackPoints } = runOnDisk<KillTally>(
    'tmpfs',
    'stage-commit-kill.ts',
    { kind: 'plain', stride: 75, how: 'killed', nestedStride: 4 },
  )
  assert.ok(commitPoints > 200 && takeBackPoints > 150, `${commitPoints} and ${takeBackPoints} points`)
  assert.ok(kills >= 4 && recoveryKills >= 2, `${kills} and ${recoveryKills} kills`)
  for (const way of ['vml', 'vml backward', 'sh', 'sh backward'])
    assert.ok((recovered[`commit, ${way}`] ?? 0) >= 2, JSON.stringify(recovered))
})

test('a commit that the system refuses says so, has changed nothing and leaves nothing', () => {
  const refused = runOnDisk<Refusal[]>('ext4', 'stage-commit-refused.ts', {})
  const codes = Object.fromEntries(refused.map(({ name, code }) => [name, code]))
  for (const { name, now, left, found, message } of refused) {
    assert.equal(now, 'before', name)
    assert.deepEqual(left, [], name)
    assert.equal(found, 'nothing', name)
    assert.match(message, /nothing was changed$/, name)
  }
  assert.deepEqual(codes, {
    'immutable file': 'failed',
    'immutable folder': 'failed',
    'folder that nothing may come into': 'failed',
    'mount in a folder that goes': 'conflict',
    'mount on a folder that goes': 'failed',
    'mount on a file': 'failed',
    'full disk': 'unavailable.space',
  })
})
