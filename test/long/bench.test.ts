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

test('a run of apt in a stage is measured beside a bare one, and its undo beside a purge', async () => {
  const { results } = await quickBench(['cost-tiny'])
  assert.deepEqual(
    results.map(({ name, runs }) => [name, runs.map(({ who }) => who)]),
    ['cost-tiny', 'cost-tiny-undo'].map((name) => [name, ['vml', 'apt']]),
  )
})

test('the story that is told to each who can go back leaves nothing over with VML', async () => {
  const { stdout } = await quickBench(['peers-vml'])
  assert.match(stdout, /\| VML +\| 0 +\| 0 +\| 0 +\| 0 +\| clean +\|/)
})
