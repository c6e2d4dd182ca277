// The benchmark runs to its end on a thousandth of its data, and its JSON holds what it should. No figure is judged.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { benchProgram as program, quickBench } from './quick-bench.ts'

test('a quick look at saves and a restore measures both programs and checks what they wrote', async () => {
  const { results, stdout } = await quickBench(['small'])
  const both = ['vml', 'restic']
  assert.deepEqual(
    results.map(({ name, runs }) => [name, runs.map(({ who }) => who)]),
    ['first', 'unchanged', 'changed', 'restore'].map((step) => [`small-${step}`, both]),
  )
  for (const { name, runs, figures } of results) {
    assert.ok(stdout.includes(name))
    for (const { cpuSeconds, wallSeconds, peakBytes } of runs) {
      assert.ok(cpuSeconds > 0 && wallSeconds > 0)
      assert.ok(peakBytes > 1024 * 1024, 'the memory of the program, not of what starts it')
    }
    assert.ok(figures.every(({ ratio }) => Number.isFinite(ratio) && ratio > 0))
  }
})

test('a benchmark that needs more room than there is says so and makes nothing', async () => {
  const child = spawn(process.execPath, [program, 'big', '--scale', '10', '--pairs', '1000', '--keep'])
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
  const status = await new Promise((resolve) => child.on('close', resolve))
  assert.equal(status, 1)
  assert.match(said, /^Needs up to [\d.]+ GB and \d+ files below .*; [\d.]+ GB and \d+ are free$/m)
  assert.match(said, /not enough/)
})

test('a benchmark that is interrupted leaves nothing but the data it had made', async () => {
  const child = spawn(process.execPath, [program, 'small-first', '--scale', '0.001', '--pairs', '1000'])
  const folder = Promise.withResolvers<string>()
  child.stderr.on('data', (chunk: Buffer) => {
    const place = /files below (.*);/.exec(chunk.toString())?.[1]
    if (place !== undefined) folder.resolve(place)
    if (chunk.includes('vml 1:')) child.kill('SIGINT')
  })
  const status = await new Promise((resolve) => child.on('close', resolve))
  assert.equal(status, 130)
  const left = readdirSync(await folder.promise).filter((name) => name.startsWith(`run-${child.pid}-`))
  assert.deepEqual(left, [])
})
