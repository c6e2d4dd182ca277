import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentReporter } from '../base/progress.ts'
import { openMemoryMarks } from '../store/prune-marks.ts'
import { pruneRuleDefault } from '../store/prune-plan.ts'
import type { Repository } from '../store/store.ts'
import { fakeClock, makeRepository, noise, readAll, reopen, save } from '../../test/store-fixture.ts'
import { planPruning, type PruneRequest, runPruning } from './prune.ts'

const options = { packBytes: 300_000, clock: fakeClock() }

function request(): PruneRequest {
  const marks = openMemoryMarks()
  return { rule: pruneRuleDefault, marks, now: true, waitMs: 0, reporter: silentReporter }
}

/** Between the marking and the deletion of each run, so many times, another prune finishes its work. */
function disturbed(repository: Repository, times: number, disturb: () => Promise<void>): Repository {
  let left = times
  return {
    ...repository,
    async beginPrune(options) {
      const run = await repository.beginPrune(options)
      return {
        ...run,
        async remove() {
          await run[Symbol.asyncDispose]()
          if (left-- > 0) await disturb()
          return await run.remove()
        },
      }
    },
  }
}

async function makeHistory() {
  const { repository, files } = await makeRepository(options)
  /** An entry that was removed again. */
  const leaveUnneeded = async () => {
    const other = await reopen(files, options)
    const gone = await save(other, [noise(100_000, `gone ${files.size}`)])
    await using _lock = await other.lock('exclusive')
    await other.removeSnapshot(gone.id)
  }
  await save(repository, [noise(400_000, 'stays')])
  await leaveUnneeded()
  const disturb = async () => {
    await runPruning(await reopen(files, options), request())
    await leaveUnneeded()
  }
  return { repository, files, leaveUnneeded, disturb }
}

test('where another prune came in between, a run begins again; where it always does, it gives up and deletes nothing', async () => {
  const { repository, files, leaveUnneeded, disturb } = await makeHistory()
  const expected = await readAll(await reopen(files, options))
  let plans = 0
  const { deleted } = await runPruning(disturbed(repository, 1, disturb), request(), () => void plans++)
  assert.equal(plans, 2)
  assert.ok(deleted.packs.length > 0)
  assert.equal((await planPruning(repository, request())).unused.packs.length, 0)
  await leaveUnneeded()
  await assert.rejects(runPruning(disturbed(repository, 9, disturb), request()), { code: 'store.locked' })
  assert.deepEqual(await readAll(await reopen(files, options)), expected)
})
