// No silent loss: an error is told or everything is whole, whatever a storage does once. All points: test/long/.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runFaults } from './fault-matrix.ts'
import { runPruneFaults } from './prune-faults.ts'

// A few dozen points of some sixteen hundred, spread over all faults and calls.
const stride = 19

for (const around of ['bare', 'remote'] as const) {
  test(`a storage that goes wrong once, ${around}: an error is told or nothing is lost, and the next save works`, async (context) => {
    const tally = await runFaults(around, stride)
    assert.ok(tally.points > 10)
    context.diagnostic(`${tally.points} points, an error was told at ${tally.told}`)
  })
}

for (const around of ['bare', 'remote'] as const) {
  test(`Y6: a storage that goes wrong once during two prunes, ${around}: no snapshot loses a byte`, async (context) => {
    const tally = await runPruneFaults(around, 2 * stride)
    assert.ok(tally.points > 8)
    context.diagnostic(`${tally.points} points, an error was told at ${tally.told}`)
  })
}
