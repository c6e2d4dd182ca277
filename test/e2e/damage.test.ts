// Damage at random to a small logbook: a check finds it, a repair loses nothing that could be read, and stock restic agrees with both.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DamageTally, makeLogbook, openAny, proveRepair, readEverything } from '../damage.ts'
import { resticProgram } from '../restic-peer.ts'

const damages = 48
const resticEvery = 6

test('damage at random is found, repaired without a loss of what could be read, and what is lost is named (G6)', async (context) => {
  const whole = await makeLogbook()
  const everything = await readEverything(await openAny(whole))
  const restic = resticProgram('0.19')
  const tally: DamageTally = { damages: 0, byRestic: 0, losses: 0 }
  for (let seed = 1; seed <= damages; seed++)
    await proveRepair({ whole, everything }, seed, tally, seed % resticEvery === 0 ? restic : undefined)
  context.diagnostic(
    `${tally.damages} damages found and repaired, ${tally.byRestic} of them seen by restic too; ${tally.losses} paths lost and named`,
  )
  assert.equal(tally.damages, damages)
  assert.ok(tally.losses > 0)
})
