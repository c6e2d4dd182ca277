// Runs the real program and kills it at one of the calls by which it, or what it starts, changes files below a folder.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { vmlCommand, vmlEnvironment } from './cli.ts'
import type { KillerAnswer, KillerRequest } from './operation-killer.ts'

const killer = join(import.meta.dirname, 'operation-killer.ts')
// The longest of these runs takes two seconds.
const timeoutMs = 120_000

export interface KilledRun extends KillerAnswer {
  readonly stderr: string
}

export interface KillRequest {
  readonly args: readonly string[]
  readonly home: string
  /** Calls below it count. */
  readonly below: string
  /** Counted from 1; 0 is never. */
  readonly at: number
  readonly env?: Readonly<Record<string, string>>
}

export function runVmlKilled({ args, home, below, at, env }: KillRequest): KilledRun {
  const request: KillerRequest = { command: [...vmlCommand, ...args], at, below }
  const child = spawnSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', killer, JSON.stringify(request)],
    {
      cwd: home,
      env: vmlEnvironment({ home, ...(env ? { env } : {}) }),
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      timeout: timeoutMs,
      maxBuffer: 64 * 1024 * 1024,
    },
  )
  const stderr = child.stderr.toString()
  const told = child.output[3]?.toString() ?? ''
  assert.notEqual(told, '', stderr)
  const answer: KillerAnswer = JSON.parse(told)
  return { ...answer, stderr }
}

/** What the run stood before when it was killed, for messages. */
export function lastOperation({ operations }: KilledRun): string {
  const last = operations.at(-1)
  return last ? `${last.call} ${last.path}` : 'nothing'
}
