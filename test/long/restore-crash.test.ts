// A restore that is killed at every call that changes a file, of all its threads and of tar, loses nothing, and repeating it ends it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { killRestores } from '../restore-kill.ts'

for (const by of ['threads', 'tar'] as const) {
  test(`killed before every call that changes a file, a restore by ${by} has kept what it changed, and repeating it gives the exact tree`, async (context) => {
    const { points, threads, kills, ended, changed, leftovers } = await killRestores({ by })
    context.diagnostic(
      `${kills} kills at ${points} points of ${threads} threads, ${changed} after the first change, ${leftovers} with something left over`,
    )
    // Threads meet in another order each time, and may make some calls fewer.
    assert.ok(kills + ended === points && ended <= points / 20)
    assert.ok(changed > points / 4)
    assert.equal(leftovers > 0, by === 'threads')
  })
}
