// Every fault at every call of the backend and of the disk: the whole of what test/staged-faults.test.ts samples.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runStagedFaults } from '../staged-faults.ts'

for (const load of ['own', 'lanes'] as const) {
  test(`a disk that goes wrong once while packs are staged, ${load}, at every call: an error is told or nothing is lost`, async (context) => {
    const { points, told, found, left } = await runStagedFaults(load, { stride: 1, all: true })
    context.diagnostic(
      `${points} points; an error was told at ${told}, of them ${found} of content that had changed; ${left} leftovers were swept`,
    )
    assert.ok(points > 200 && found > 0 && left > 0)
  })
}
