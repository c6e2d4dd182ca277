// How the demo ends: a table of times, sizes and results, and the same as JSON.
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Check } from './checks.ts'

export interface Timing {
  readonly step: string
  readonly seconds: number
  readonly detail: string
}

export interface Report {
  readonly schema: 1
  readonly passed: boolean
  readonly seconds: number
  readonly timings: readonly Timing[]
  readonly sizes: Readonly<Record<string, number>>
  readonly checks: readonly Check[]
  readonly entries: readonly { readonly number: number; readonly id: string; readonly title: string }[]
}

export function renderReport({ timings, sizes, checks, seconds, passed }: Report): string[] {
  const wide = Math.max(...timings.map(({ step }) => step.length), ...checks.map(({ name }) => name.length))
  return [
    ...timings.map(({ step, seconds: took, detail }) =>
      `  ${step.padEnd(wide)}  ${took.toFixed(1).padStart(6)} s  ${detail}`.trimEnd(),
    ),
    '',
    ...Object.entries(sizes).map(
      ([what, bytes]) => `  ${what.padEnd(wide)}  ${formatBytes(bytes).padStart(8)}`,
    ),
    '',
    '  Checked by programs that are not part of VML:',
    ...checks.map(
      ({ name, passed: isOk, detail }) =>
        `  ${name.padEnd(wide)}  ${isOk ? '      ok' : '  FAILED'}  ${detail}`,
    ),
    '',
    passed
      ? `  All ${checks.length} checks passed, in ${seconds.toFixed(0)} seconds.`
      : `  ${checks.filter((check) => !check.passed).length} of ${checks.length} checks FAILED.`,
  ]
}

/** Bytes of all files below a folder, or of one file. */
export async function sizeOf(path: string): Promise<number> {
  const found = await stat(path)
  if (!found.isDirectory()) return found.size
  let bytes = 0
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size
  }
  return bytes
}

export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  const unit = bytes < 1024 ** 2 ? 'KiB' : 'MiB'
  const value = bytes / (unit === 'KiB' ? 1024 : 1024 ** 2)
  return `${value.toFixed(value < 10 ? 1 : 0)} ${unit}`
}
