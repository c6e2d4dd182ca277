import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFailure } from '../base/failure.ts'
import { silentReporter } from '../base/progress.ts'
import {
  assertAllAccounted,
  assertNothingLost,
  damageAtRandom,
  type Files,
  makeLogbook,
  openAny,
  openDamaged,
  readEverything,
  repairIt,
} from '../../test/damage.ts'

const whole = await makeLogbook()
const everything = await readEverything(await openAny(whole))

test('a sound logbook has nothing to repair', async () => {
  const files: Files = new Map(whole)
  const plan = await repairIt(await openDamaged(files))
  assert.equal(plan.changes, false)
  assert.deepEqual([...files.keys()].sort(), [...whole.keys()].sort())
})

test('damage at random is found by a check, repaired without a loss of what could be read, and what is lost is named (G6)', async (context) => {
  let found = 0
  let losses = 0
  for (let seed = 1; seed <= 60; seed++) {
    const { what, files } = damageAtRandom(whole, seed)
    const before = await readEverything(await openAny(files)).catch((error: unknown) => {
      if (!isFailure(error)) throw error
      return new Map<string, string>()
    })
    const { findings } = await (await openAny(files)).check({ readData: true, reporter: silentReporter })
    assert.ok(findings.length > 0, what)
    found++
    await using logbook = await openDamaged(files)
    const plan = await repairIt(logbook)
    assert.ok(plan.changes, what)
    const repaired = await openAny(files)
    const after = await readEverything(repaired)
    assertNothingLost(before, after, what)
    losses += await assertAllAccounted(everything, repaired, after, {
      unknown: plan.unknownSnapshots.length > 0,
      note: what,
    })
    const again = await repaired.check({ readData: true, reporter: silentReporter })
    assert.deepEqual(again.findings, [], what)
    await using second = await openDamaged(files)
    assert.equal((await repairIt(second)).changes, false, what)
  }
  context.diagnostic(`${found} damages found and repaired; ${losses} paths lost and named`)
  assert.ok(losses > 0)
})
