// Every kind of package in every way, taken back in any order, on every file system, beside a machine on which it never ran.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tinyKinds } from '../tiny-kinds.ts'
import { drawsOf } from '../transaction-bed.ts'
import { differenceToTruth, type TruthAction } from '../transaction-truth.ts'

const actions: readonly TruthAction[] = ['install', 'upgrade', 'downgrade', 'remove', 'purge']

for (const action of actions)
  for (const kind of tinyKinds)
    test(`${action} of ${kind.name}, taken back, leaves a machine on which it never ran`, async () => {
      assert.equal(await differenceToTruth({ kinds: [kind], action }), '')
    })

for (const action of actions)
  for (const seed of [1, 2])
    test(`${action} of every kind, taken back in a random order (seed ${seed}), leaves a machine on which none ran`, async () => {
      assert.equal(await differenceToTruth({ kinds: tinyKinds, action, order: shuffled(seed) }), '')
    })

test('upgrades are taken back where the archive has dropped the old versions', async () => {
  const truth = {
    kinds: tinyKinds,
    action: 'upgrade',
    order: shuffled(3),
    archive: { forgets: true },
  } as const
  assert.equal(await differenceToTruth(truth), '')
})

for (const fileSystem of ['ext4', 'xfs', 'btrfs', 'tmpfs'] as const)
  for (const action of ['upgrade', 'purge'] as const)
    test(`${action} of every kind is taken back on ${fileSystem} with /var and /home on mounts of their own`, async () => {
      const chroot = { fileSystem, apart: ['/var', '/home'] }
      assert.equal(await differenceToTruth({ kinds: tinyKinds, action, order: shuffled(4), chroot }), '')
    })

function shuffled(seed: number): (numbers: readonly number[]) => readonly number[] {
  const draw = drawsOf(seed)
  return (numbers) =>
    numbers
      .map((number) => [draw(1_000_000), number] as const)
      .toSorted(([one], [other]) => one - other)
      .map(([, number]) => number)
}
