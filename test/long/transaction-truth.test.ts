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

for (const mode of ['staged', 'live'] as const)
  for (const action of actions)
    for (const seed of [1, 2])
      test(`${action} of every kind, ${mode}, taken back in a random order (seed ${seed}), leaves a machine on which none ran`, async (context) => {
        assert.equal(await differenceToTruth({ kinds: tinyKinds, action, mode, order: shuffled(seed) }), '')
        context.diagnostic(`${action}, ${mode}: ${tinyKinds.length} transactions taken back, seed ${seed}`)
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

function shuffled(seed: number): (numbers: readonly number[]) => readonly number[] {
  const draw = drawsOf(seed)
  return (numbers) =>
    numbers
      .map((number) => [draw(1_000_000), number] as const)
      .toSorted(([one], [other]) => one - other)
      .map(([, number]) => number)
}
