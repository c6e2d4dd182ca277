// Cuts a repair that heals by recovery data, and the update after it, at calls of the backend; afterwards the next ones bring everything back.
import assert from 'node:assert/strict'
import { openMemory } from '../src/backend/memory.ts'
import type { Backend } from '../src/backend/backend.ts'
import { silentReporter } from '../src/base/progress.ts'
import { openCatalog } from '../src/catalog/catalog.ts'
import { repairIt } from './damage.ts'
import { Died, openDying } from './dying-backend.ts'
import { fakeClock, makeRepository, noise, readAll, reopen, save } from './store-fixture.ts'

type Files = Map<string, Buffer>
const quiet = { reporter: silentReporter }

/** How many cuts were made: before and after every `stride`-th call. */
export async function cutHealing(stride: number): Promise<number> {
  const { damaged, whole } = await makeDamaged()
  let cuts = 0
  for (const when of ['before', 'after'] as const)
    for (let at = 1, died = true; died; at += stride) {
      const files = new Map(damaged)
      died = await healUntilDeath(openDying(openMemory({ files }), { at, when, die: () => {} }))
      cuts++
      const note = `cut ${when} call ${at}`
      for (const name of files.keys()) if (name.startsWith('lock/')) files.delete(name)
      await heal(openMemory({ files }))
      const repository = await reopen(files, { clock: fakeClock() })
      assert.deepEqual(await readAll(repository), whole, note)
      assert.deepEqual((await repository.check({ readData: true, ...quiet })).findings, [], note)
      const state = await (await repository.openParity()).state({ ...quiet, readData: true })
      assert.deepEqual([state.unprotected, state.missing, state.damaged], [[], [], []], note)
    }
  return cuts
}

/** Two packs are gone or damaged, of a group with two rows, and a file of recovery data of another group. */
async function makeDamaged(): Promise<{ readonly damaged: Files; readonly whole: Map<string, Buffer> }> {
  const { repository, files } = await makeRepository({ clock: fakeClock() })
  const parity = await repository.openParity()
  await parity.set(0.05, quiet)
  for (const seed of ['a', 'b', 'c', 'd']) {
    await save(repository, [noise(200_000, seed), noise(1000, `${seed} small`)])
    await parity.update(quiet)
  }
  const whole = await readAll(repository)
  const [lost = '', flipped = ''] = [...files.keys()].filter(
    (name) => name.startsWith('pack/') && (files.get(name)?.length ?? 0) > 100_000,
  )
  files.delete(lost)
  const changed = Buffer.from(files.get(flipped) ?? assert.fail())
  changed[5000] = (changed[5000] ?? 0) ^ 1
  files.set(flipped, changed)
  const row = [...files.keys()].find(
    (name) =>
      name.startsWith('parity/') &&
      (files.get(name)?.length ?? 0) < 50_000 &&
      (files.get(name)?.length ?? 0) > 1000,
  )
  if (row !== undefined) files.set(row, noise(3000, 'junk'))
  return { damaged: files, whole }
}

async function heal(backend: Backend): Promise<void> {
  using catalog = openCatalog(':memory:')
  const plan = await repairIt({ repository: await reopen(backend, { clock: fakeClock() }), catalog })
  assert.equal(plan.loses, false)
  const again = await reopen(backend, { clock: fakeClock() })
  await (await again.openParity()).update({ ...quiet, verify: true })
}

/** Whether it died before it came to its end. */
async function healUntilDeath(backend: Backend): Promise<boolean> {
  try {
    await heal(backend)
    return false
  } catch (error) {
    if (hasDied(error)) return true
    throw error
  }
}

function hasDied(error: unknown): boolean {
  if (error instanceof SuppressedError) return hasDied(error.error) || hasDied(error.suppressed)
  return error instanceof Died
}
