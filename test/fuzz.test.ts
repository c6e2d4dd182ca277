// Every parser of stored data with mutated input, half a second each; hours of it are in test/long/.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fuzzAll } from './fuzz.ts'

const milliseconds = 500
const firstSeed = 1
/** Far below what any of them is allowed to be told to take. */
const memoryBytesMax = 1.5 * 1024 * 1024 * 1024

test('whatever a parser of stored data is fed, it gives a value or a named failure (G6)', async (context) => {
  const reports = await fuzzAll({ firstSeed, milliseconds }, (line) => context.diagnostic(line))
  for (const { cases } of reports) assert.ok(cases > 10)
  assert.ok(process.resourceUsage().maxRSS * 1024 < memoryBytesMax)
})
