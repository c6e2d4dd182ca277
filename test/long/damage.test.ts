// As test/e2e/damage.test.ts, with many more damages: VML_LONG_DAMAGES says how many, VML_LONG_SEED where the seeds begin.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { proveRepairs } from '../damage.ts'

const damages = Number(process.env['VML_LONG_DAMAGES'] ?? 500)
const firstSeed = Number(process.env['VML_LONG_SEED'] ?? 10_000)
const resticEvery = 5

test('hundreds of damages are found, repaired without a loss of what could be read, and what is lost is named (G6)', async (context) => {
  const tally = await proveRepairs({ firstSeed, damages, resticEvery })
  context.diagnostic(
    `${tally.damages} damages from seed ${firstSeed}, ${tally.byRestic} of them seen by restic too; ${tally.losses} paths lost and named`,
  )
  assert.equal(tally.damages, damages)
})
