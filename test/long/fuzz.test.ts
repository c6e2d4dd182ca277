// As test/fuzz.test.ts, for longer: VML_LONG_FUZZ_SECONDS for each parser, from VML_LONG_SEED or another seed each time.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fuzzAll } from '../fuzz.ts'

const milliseconds = 1000 * Number(process.env['VML_LONG_FUZZ_SECONDS'] ?? 60)
const firstSeed = Number(process.env['VML_LONG_SEED'] ?? Date.now() % 2 ** 31)
const memoryBytesMax = 2 * 1024 * 1024 * 1024

test('whatever a parser of stored data is fed for minutes, it gives a value or a named failure (G6)', async (context) => {
  await fuzzAll({ firstSeed, milliseconds }, (line) => context.diagnostic(line))
  assert.ok(process.resourceUsage().maxRSS * 1024 < memoryBytesMax)
})
