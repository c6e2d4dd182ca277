// The benchmark on a thousandth of its data: to see that it runs to its end, not how quick anything is.
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { PairedResult } from '../bench/report.ts'

export const benchProgram = join(import.meta.dirname, '../bench/bench.ts')

export async function quickBench(
  words: readonly string[],
): Promise<{ results: PairedResult[]; stdout: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'vml-bench-'))
  try {
    const json = join(folder, 'results.json')
    const args = [benchProgram, ...words, '--scale', '0.001', '--pairs', '1', '--json', json]
    const { stdout } = await promisify(execFile)(process.execPath, args)
    return { ...(JSON.parse(readFileSync(json, 'utf8')) as { results: PairedResult[] }), stdout }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
