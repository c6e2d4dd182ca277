import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentReporter } from '../base/progress.ts'
import { openMemoryMarks, type PruneMarks } from './prune-marks.ts'
import { pruneRuleDefault, type PruneRule } from './prune-plan.ts'
import type { Repository } from './store.ts'
import { makeRepository, noise, readAll, reopen, save } from '../../test/store-fixture.ts'
import { fakeClock } from '../../test/store-fixture.ts'

interface Asked {
  readonly marks?: PruneMarks
  readonly now?: boolean
  readonly rule?: Partial<PruneRule>
}

async function prune(
  repository: Repository,
  { marks = openMemoryMarks(), now = false, rule = {} }: Asked = {},
) {
  await using run = await repository.beginPrune({
    rule: { ...pruneRuleDefault, ...rule },
    marks,
    now,
    reporter: silentReporter,
  })
  const repacked = await run.mark()
  return { plan: run.plan, repacked, done: (await run.remove()) ?? assert.fail('The index changed') }
}

async function forget(
  repository: Repository,
  ...ids: readonly Parameters<Repository['removeSnapshot']>[0][]
) {
  await using _lock = await repository.lock('exclusive')
  for (const id of ids) await repository.removeSnapshot(id)
}

function storedBytes(files: ReadonlyMap<string, Buffer>): number {
  return [...files].reduce((sum, [name, data]) => sum + (name.startsWith('pack/') ? data.length : 0), 0)
}

const options = { packBytes: 1_000_000, clock: fakeClock() }

test('V62: what no snapshot needs is marked by one run and deleted by the next; all else stays', async () => {
  const { repository, files } = await makeRepository(options)
  const first = await save(repository, [noise(3_000_000, 'gone'), noise(900_000, 'both')])
  await save(repository, [noise(900_000, 'both'), noise(700_000, 'stays')])
  await forget(repository, first.id)
  const expected = await readAll(await reopen(files))
  const before = storedBytes(files)

  const marks = openMemoryMarks()
  const one = await prune(repository, { marks })
  assert.equal(one.done.packs.length, 0)
  assert.ok(one.plan.unused.bytes >= 3_000_000 - 1_000_000)
  assert.ok(storedBytes(files) >= before)
  const two = await prune(await reopen(files, options), { marks })
  assert.ok(two.done.bytes > 2_500_000)
  assert.ok(storedBytes(files) < before - 2_500_000)
  assert.deepEqual(await readAll(await reopen(files)), expected)
  const report = await (await reopen(files)).check({ readData: true, reporter: silentReporter })
  assert.deepEqual(report.findings, [])
  assert.deepEqual(report.unusedPacks, [])
})
