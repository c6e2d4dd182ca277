// A save and a restore that are killed at some of the calls by which their threads change files; all of them are in test/long/.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { killRestores } from '../restore-kill.ts'
import { killSaves } from '../save-kill.ts'

test('killed before a call that changes a file, a save loses nothing, and the next one works', async () => {
  const { kills, ended } = await killSaves({ which: 'second', killsMax: 1 })
  assert.equal(kills + ended, 1)
})

for (const { by, killsMax } of [
  { by: 'threads', killsMax: 2 },
  { by: 'tar', killsMax: 1 },
] as const)
  test(`killed before a call that changes a file, a restore by ${by} has kept what it changed, and repeating it ends it`, async () => {
    const { kills, ended } = await killRestores({ by, killsMax })
    assert.equal(kills + ended, killsMax)
  })
