// Cases of the benchmark that test/bench.test.ts leaves out, on a thousandth of their data.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { quickBench } from '../quick-bench.ts'

test('logbooks that were filled with blobs are ones that restic calls whole, and both programs work on them', async () => {
  const { results } = await quickBench(['noop', 'memory'])
  assert.deepEqual(
    results.map(({ name, runs }) => [name, runs.map(({ who }) => who)]),
    ['noop-log', 'noop-ls', 'memory-cold', 'memory-warm', 'memory-check'].map((name) => [
      name,
      ['vml', 'restic'],
    ]),
  )
})
