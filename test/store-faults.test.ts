// No silent loss: an error is told or everything is whole, whatever a storage does once. All points: test/long/.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runFaults } from './fault-matrix.ts'

// Together a few dozen points of the some six hundred, spread over all faults and calls.
const stride = 13

for (const around of ['bare', 'remote'] as const) {
  test(`a storage that goes wrong once, ${around}: an error is told or nothing is lost, and the next save works`, async (context) => {
    const tally = await runFaults(around, stride)
    assert.ok(tally.points > 20)
    context.diagnostic(`${tally.points} points, an error was told at ${tally.told}`)
  })
}
