// Recovery data under what storage does: cut at every call, one fault at every call, damage at random.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openMemory } from '../../src/backend/memory.ts'
import { isFailure } from '../../src/base/failure.ts'
import { silentReporter } from '../../src/base/progress.ts'
import { damageAtRandom, makeLogbook, openAny, proveRepair, readEverything } from '../damage.ts'
import { faults, openFaulty } from '../faulty-backend.ts'
import { cutHealing } from '../parity-cut.ts'
import { fakeClock, makeRepository, noise, readAll, reopen, save } from '../store-fixture.ts'

const quiet = { reporter: silentReporter }

test('cut at every call of the backend, healing by recovery data loses nothing, and the next one ends it (G6)', async (context) => {
  const cuts = await cutHealing(1)
  context.diagnostic(`${cuts} cuts`)
  assert.ok(cuts > 100)
})

test('one fault at any call of an update leaves every pack as it is, and the next update protects them all', async (context) => {
  const { repository, files } = await makeRepository({ clock: fakeClock() })
  const parity = await repository.openParity()
  await parity.set(0.05, quiet)
  await save(repository, [noise(200_000, 'a')])
  await parity.update(quiet)
  await save(repository, [noise(200_000, 'b')])
  const whole = await readAll(repository)
  let points = 0
  for (const fault of faults)
    for (let at = 1, calls = 1; at <= calls; at++) {
      const copy = new Map(files)
      const faulty = openFaulty(openMemory({ files: copy }), ({ number }) =>
        number === at ? fault : undefined,
      )
      const note = `${fault} at call ${at}`
      try {
        const opened = await reopen(faulty, { clock: fakeClock() })
        await (await opened.openParity()).update({ ...quiet, verify: true })
      } catch (error) {
        assert.ok(isFailure(error) || error instanceof SuppressedError, note)
      }
      calls = faulty.calls.length
      points++
      for (const [name, data] of files)
        if (name.startsWith('pack/')) assert.deepEqual(copy.get(name), data, note)
      for (const name of copy.keys()) if (name.startsWith('lock/')) copy.delete(name)
      const next = await reopen(copy, { clock: fakeClock() })
      const keeper = await next.openParity()
      await keeper.update({ ...quiet, verify: true })
      const state = await keeper.state({ ...quiet, readData: true })
      assert.deepEqual([state.unprotected, state.damaged], [[], []], note)
      assert.deepEqual(await readAll(next), whole, note)
    }
  context.diagnostic(`${points} faults`)
  assert.ok(points > 200)
})

test('damage at random to packs, index files and keys: within the share nothing is lost', async (context) => {
  const plain = await makeLogbook()
  const everything = await readEverything(await openAny(plain))
  const guarded = new Map(plain)
  const parity = await (await openAny(guarded)).openParity()
  await parity.set(0.1, quiet)
  await parity.update(quiet)
  const tally = { damages: 0, byRestic: 0, losses: 0 }
  for (let seed = 1; seed <= 80; seed++) {
    // No recovery data covers snapshots.
    if (/ snapshot\//.test(damageAtRandom(guarded, seed).what)) continue
    await proveRepair({ whole: guarded, everything }, seed, tally)
  }
  context.diagnostic(`${tally.damages} damages`)
  assert.ok(tally.damages > 40)
  assert.equal(tally.losses, 0)
})
