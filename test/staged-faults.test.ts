// No silent loss where packs are written as they grow: the backend and the disk go wrong once. All points: test/long/.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runStagedFaults } from './staged-faults.ts'

for (const [load, stride] of [
  ['own', 14],
  ['lanes', 29],
] as const) {
  test(`a disk that goes wrong once while packs are staged, ${load}: an error is told or nothing is lost, and the next save works`, async (context) => {
    const { points, told, found, left } = await runStagedFaults(load, { stride, all: false })
    context.diagnostic(
      `${points} points; an error was told at ${told}, of them ${found} of content that had changed; ${left} leftovers were swept`,
    )
    assert.ok(points > 5 && told > 0)
  })
}
