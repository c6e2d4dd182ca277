// Every fault at every call of the backend: the whole of what test/store-faults.test.ts samples.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runFaults } from '../fault-matrix.ts'
import { runPruneFaults } from '../prune-faults.ts'

for (const around of ['bare', 'remote'] as const) {
  test(`a storage that goes wrong once, ${around}, at every call: an error is told or nothing is lost`, async (context) => {
    const { points, told, locksLeft } = await runFaults(around, 1)
    assert.ok(points > 200)
    context.diagnostic(`${points} points; an error was told at ${told}, a lock was left at ${locksLeft}`)
  })
}

for (const around of ['bare', 'remote'] as const) {
  test(`Y6: a storage that goes wrong once during two prunes, ${around}, at every call: no snapshot loses a byte`, async (context) => {
    const { points, told, locksLeft } = await runPruneFaults(around, 1)
    assert.ok(points > 300)
    context.diagnostic(`${points} points; an error was told at ${told}, ${locksLeft} locks were left`)
  })
}
