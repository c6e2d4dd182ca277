// The benchmark runs to its end on a thousandth of its data, and its JSON holds what it should. No figure is judged.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { CaseResult } from '../bench/report.ts'

test('a quick look at a save measures both programs and checks what they wrote', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-bench-'))
  try {
    const json = join(folder, 'results.json')
    const program = join(import.meta.dirname, '../bench/bench.ts')
    const args = [program, 'save-local', '--scale', '0.001', '--pairs', '1', '--json', json]
    const { stdout } = await promisify(execFile)(process.execPath, args)
    const { results } = JSON.parse(readFileSync(json, 'utf8')) as { results: CaseResult[] }
    assert.deepEqual(
      results.map(({ name, runs }) => [name, runs.map(({ who }) => who)]),
      [
        ['save-local, first', ['vml', 'restic']],
        ['save-local, unchanged', ['vml', 'restic']],
      ],
    )
    for (const { name, runs, figures } of results) {
      assert.ok(stdout.includes(name))
      for (const { cpuSeconds, wallSeconds, peakBytes } of runs) {
        assert.ok(cpuSeconds > 0 && wallSeconds > 0)
        assert.ok(peakBytes > 1024 * 1024, 'the memory of the program, not of what starts it')
      }
      assert.ok(figures.every(({ ratio }) => Number.isFinite(ratio) && ratio > 0))
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})
