// The checks that need no running: types, lint, format, dead code, import direction. `npm run check`, before each commit.
import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { findLayerViolations } from './layers.ts'

/** `output` is what the check has to say about a failure, empty where it passed. */
export interface CheckResult {
  readonly name: string
  readonly passed: boolean
  readonly output: string
  readonly seconds: number
}

const root = dirname(import.meta.dirname)

const programs: readonly { name: string; command: string; args: readonly string[] }[] = [
  { name: 'types', command: 'tsc', args: [] },
  { name: 'lint', command: 'oxlint', args: ['--type-aware', '--deny-warnings'] },
  { name: 'format', command: 'oxfmt', args: ['--check', '.'] },
  { name: 'lock file', command: 'node', args: ['tools/prune-lock.ts', '--check'] },
  { name: 'dead code', command: 'knip', args: ['--no-progress'] },
]

/** Runs all checks side by side; never throws for a check that fails. */
export async function runChecks(): Promise<CheckResult[]> {
  return await Promise.all([...programs.map(runProgram), checkLayers()])
}

export function renderCheck({ name, passed, output, seconds }: CheckResult): string {
  const line = `${passed ? 'ok  ' : 'FAIL'} ${name} (${seconds.toFixed(1)} s)\n`
  return passed ? line : `${line}${output.replaceAll(/^/gm, '     ').trimEnd()}\n`
}

async function runProgram({ name, command, args }: (typeof programs)[number]): Promise<CheckResult> {
  const started = performance.now()
  const bin = join(root, 'node_modules', '.bin')
  const child = spawn(join(bin, command), args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    // The tools start with `env node`: the pinned Node comes first.
    env: {
      ...process.env,
      PATH: `${dirname(process.execPath)}:${bin}:${process.env['PATH'] ?? ''}`,
      NO_COLOR: '1',
    },
  })
  const chunks: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk))
  const ended = Promise.withResolvers<number | null>()
  child.on('error', ended.reject).on('close', ended.resolve)
  const code = await ended.promise
  const seconds = (performance.now() - started) / 1000
  return { name, passed: code === 0, output: Buffer.concat(chunks).toString(), seconds }
}

async function checkLayers(): Promise<CheckResult> {
  const started = performance.now()
  const found = findLayerViolations(root)
  const seconds = (performance.now() - started) / 1000
  return await Promise.resolve({
    name: 'import direction',
    passed: found.length === 0,
    output: found.join('\n'),
    seconds,
  })
}

if (import.meta.main) {
  const results = await runChecks()
  for (const result of results) process.stdout.write(renderCheck(result))
  process.exitCode = results.every((result) => result.passed) ? 0 : 1
}
