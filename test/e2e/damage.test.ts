// Damage at random to a small logbook: a check finds it, a repair loses nothing that could be read, and stock restic agrees with both.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { proveRepairs } from '../damage.ts'

const firstSeed = 1
const damages = 48
const resticEvery = 6

test('damage at random is found, repaired without a loss of what could be read, and what is lost is named (G6)', async (context) => {
  const tally = await proveRepairs({ firstSeed, damages, resticEvery })
  context.diagnostic(
    `${tally.damages} damages found and repaired, ${tally.byRestic} of them seen by restic too; ${tally.losses} paths lost and named`,
  )
  assert.equal(tally.damages, damages)
  assert.ok(tally.losses > 0)
})
