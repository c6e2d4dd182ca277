// Every call of a commit and of a take-back as the point of a kill, on every file system; and the power gone, many times over.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CaseKind } from '../stage-commit-case.ts'
import type { CutTally } from '../stage-commit-cut.ts'
import type { KillTally } from '../stage-commit-kill.ts'
import type { PowerTally } from '../stage-commit-power.ts'
import { type DiskKind, runOnDisk } from '../stage-commit-run.ts'

/** A kill of the process is a kill everywhere; what the other file systems have of their own shows without. */
const places: readonly { disk: DiskKind; kind: CaseKind; stride: number; how: 'killed' | 'stopped' }[] = [
  { disk: 'tmpfs', kind: 'plain', stride: 1, how: 'killed' },
  { disk: 'ext4', kind: 'plain', stride: 1, how: 'stopped' },
  { disk: 'ext4', kind: 'mount', stride: 1, how: 'stopped' },
  { disk: 'xfs', kind: 'plain', stride: 1, how: 'stopped' },
  { disk: 'xfs', kind: 'mount without a place', stride: 1, how: 'stopped' },
  { disk: 'btrfs', kind: 'subvolume', stride: 1, how: 'stopped' },
  { disk: 'btrfs', kind: 'mount', stride: 1, how: 'stopped' },
]

for (const { disk, kind, stride, how } of places)
  test(`killed anywhere, a commit on ${disk} (${kind}) ends as before or as after`, (context) => {
    const tally = runOnDisk<KillTally>(disk, 'stage-commit-kill.ts', { kind, stride, how, nestedStride: 6 })
    context.diagnostic(JSON.stringify(tally))
    const { kills, commitPoints, takeBackPoints } = tally
    assert.ok(kills >= Math.floor((commitPoints + takeBackPoints) / stride) - 2, `${kills} kills`)
  })

for (const { disk, kind } of [
  { disk: 'ext4', kind: 'plain' },
  { disk: 'btrfs', kind: 'subvolume' },
  { disk: 'xfs', kind: 'mount' },
] as const)
  test(`whatever is lost with the power, a commit on ${disk} (${kind}) ends as before or as after`, (context) => {
    const tally = runOnDisk<PowerTally>(disk, 'stage-commit-power.ts', {
      kind,
      subsets: 25,
      waysEach: 2,
      seed: 11,
    })
    context.diagnostic(JSON.stringify(tally))
    assert.ok(tally.ends > 400, `${tally.ends} ends`)
  })

for (const disk of ['ext4', 'xfs', 'btrfs'] as const)
  test(`a copy of the disk at any moment of a commit, as ${disk} recovers it, ends as before or as after`, (context) => {
    const tally = runOnDisk<CutTally>(disk, 'stage-commit-cut.ts', { disk, stride: 6 })
    context.diagnostic(JSON.stringify(tally))
    assert.ok(tally.cuts > 60, `${tally.cuts} cuts`)
  })
