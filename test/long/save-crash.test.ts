// A save that is killed at every call that changes a file, of all its threads, loses nothing, and the next one works.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { killSaves } from '../save-kill.ts'

for (const which of ['first', 'second'] as const) {
  test(`killed before every call that changes a file, a ${which} save leaves a sound logbook and every entry whole, and the next save works`, async (context) => {
    const { points, threads, kills, ended, committed, staged } = await killSaves({ which })
    context.diagnostic(
      `${kills} kills at ${points} points of ${threads} threads, ${committed} after the entry was there; ${staged} staged packs were left`,
    )
    // Threads meet in another order each time, and may make some calls fewer.
    assert.ok(kills + ended === points && ended <= points / 20)
    assert.ok(committed > 0 && staged > 0)
  })
}
