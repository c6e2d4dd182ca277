import assert from 'node:assert/strict'
import { test } from 'node:test'
import { array, assert as hold, boolean, nat, property, record } from 'fast-check'
import type { PackId } from '../model/ids.ts'
import { doomedPacks, type PackFacts, planPrune, pruneRuleDefault, type PruneRule } from './prune-plan.ts'

const mebibyte = 1024 * 1024

function packOf(at: number, facts: Partial<PackFacts> = {}): PackFacts {
  const id = at.toString(16).padStart(64, '0') as PackId
  const whole = { id, sizeBytes: 16 * mebibyte, blobs: 16, treeBlobs: 0 }
  return { ...whole, usedBlobs: 16, usedBytes: 16 * mebibyte, ...facts }
}

function plan(packs: readonly PackFacts[], rule: Partial<PruneRule> = {}, marked: readonly PackId[] = []) {
  const input = {
    snapshots: 1,
    indexFiles: 1,
    unindexed: new Map<PackId, number>(),
    duplicates: { blobs: 0, bytes: 0 },
  }
  return planPrune({ ...input, packs, marked: new Set(marked) }, { ...pruneRuleDefault, ...rule })
}

const half = { usedBlobs: 8, usedBytes: 8 * mebibyte }
const nearly = { usedBlobs: 15, usedBytes: 15 * mebibyte }
const none = { usedBlobs: 0, usedBytes: 0 }

test('packs are rewritten from the emptiest on until what stays unneeded is within the limit', () => {
  const packs = [packOf(1), packOf(2, nearly), packOf(3, half), packOf(4, nearly)]
  const wanted = (bytes: number) => plan(packs, { maxUnused: { bytes } }).repack.packs
  assert.deepEqual(wanted(10 * mebibyte), [])
  assert.deepEqual(wanted(9 * mebibyte), [packs[2]?.id])
  assert.deepEqual(wanted(mebibyte), [packs[2]?.id, packs[1]?.id])
  assert.deepEqual(wanted(0), [packs[2]?.id, packs[1]?.id, packs[3]?.id])
  // 54 MiB are needed: 5 % of what there is then are 2.8 MiB.
  assert.equal(plan(packs).keptUnusedBytes, 2 * mebibyte)
  assert.deepEqual(plan(packs, { maxUnused: { share: 1 } }).repack.packs, [])
})

test('packs with trees are rewritten at once, small ones when they are many', () => {
  const trees = packOf(1, { ...nearly, treeBlobs: 16 })
  assert.deepEqual(plan([trees, packOf(2)]).repack.packs, [trees.id])
  const mixed = packOf(1, { treeBlobs: 3 })
  assert.deepEqual(plan([mixed]).repack.packs, [mixed.id])
  const small = { sizeBytes: mebibyte, usedBytes: mebibyte }
  const few = Array.from({ length: 9 }, (_, at) => packOf(at, small))
  assert.deepEqual(plan(few).repack.packs, [])
  assert.equal(plan([...few, packOf(9, small)]).repack.packs.length, 10)
})

test('one run rewrites no more than it may', () => {
  const packs = [packOf(1, half), packOf(2, half), packOf(3, half)]
  const rule = { maxUnused: { share: 0 }, maxRepackBytes: 40 * mebibyte }
  assert.equal(plan(packs, rule).repack.packs.length, 2)
})

test('only what an earlier run marked is deleted, and what is needed again is not', () => {
  const packs = [packOf(1, none), packOf(2, none), packOf(3), packOf(4, { ...none, sizeBytes: undefined })]
  const [due, unused, back, lost] = packs.map(({ id }) => id)
  const found = plan(
    packs,
    {},
    [due, back].flatMap((id) => id ?? []),
  )
  assert.deepEqual(found.due.packs, [due])
  assert.deepEqual(found.back.packs, [back])
  assert.deepEqual(found.unused.packs, [unused, lost])
  assert.deepEqual([...doomedPacks(found, { now: false })], [due])
  assert.deepEqual([...doomedPacks(found, { now: true })], [due, unused, lost])
  assert.equal(found.total.packs, 3)
})

test('whatever there is: nothing that is needed goes unless it is rewritten, and the sums are right', () => {
  const facts = record({
    blobs: nat(20),
    used: nat(20),
    trees: boolean(),
    mebibytes: nat(20),
    marked: boolean(),
  })
  const share = nat(100)
  hold(
    property(array(facts, { maxLength: 40 }), share, (found, percent) => {
      const packs = found.map(({ blobs, used, trees, mebibytes }, at) =>
        packOf(at, {
          sizeBytes: (mebibytes + 1) * mebibyte,
          blobs: blobs + 1,
          treeBlobs: trees ? blobs + 1 : 0,
          usedBlobs: Math.min(used, blobs + 1),
          usedBytes: Math.floor(((mebibytes + 1) * mebibyte * Math.min(used, blobs + 1)) / (blobs + 1)),
        }),
      )
      const marked = packs.filter((_, at) => found[at]?.marked).map(({ id }) => id)
      const made = plan(packs, { maxUnused: { share: percent / 100 } }, marked)
      const rewritten = new Set(made.repack.packs)
      const gone = doomedPacks(made, { now: true })
      const stay = packs.filter(({ id }) => !gone.has(id))
      for (const { id, usedBlobs } of packs) {
        assert.equal(gone.has(id), usedBlobs === 0 || rewritten.has(id))
        if (usedBlobs > 0) assert.ok(!doomedPacks(made, { now: false }).has(id))
      }
      const waste = stay.reduce(
        (sum, { sizeBytes = 0, usedBytes, usedBlobs, blobs }) =>
          sum + (usedBlobs === blobs ? 0 : sizeBytes - usedBytes),
        0,
      )
      assert.equal(made.keptUnusedBytes, waste)
      if (percent < 100) assert.ok(waste <= (made.used.bytes * percent) / (100 - percent))
    }),
  )
})
