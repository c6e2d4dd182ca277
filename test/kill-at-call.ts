// Kills a program with SIGKILL at calls of its backend, each time on a fresh copy of a folder, and has the folder inspected.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Backend } from '../src/backend/backend.ts'
import { type DyingBackend, openDying } from './dying-backend.ts'
import { resticProgram } from './restic-peer.ts'
import { password } from './store-fixture.ts'

export interface KillTally {
  /** Calls of the backend, those of each pass. */
  readonly points: number
  readonly kills: number
}

export interface KillPlan {
  /** A file beside this one. It takes a folder, the words of `openKilled` and `words`, and prints the count of its calls. */
  readonly program: string
  readonly words?: readonly string[]
  /** What each run starts from; its copies lie beside it. */
  readonly base: string
  /** Every how manieth call. */
  readonly stride: number
  /** Another one for each pass lets a stride meet different calls. */
  readonly offset?: number
  /** At the least so many calls make a run worth killing. */
  readonly pointsMin: number
  readonly inspect: (folder: string, note: string) => Promise<void>
}

/** The backend of such a program: it ends the process before the call, or after it took effect; at 0 never. */
export function openKilled(backend: Backend, at = '0', when = 'before'): DyingBackend {
  return openDying(backend, {
    at: Number(at),
    when: when === 'before' ? 'before' : 'after',
    die: () => process.kill(process.pid, 'SIGKILL'),
  })
}

/** One pass of kills before calls, one after them. */
export async function killAtCalls(plan: KillPlan): Promise<KillTally> {
  const { base, stride, offset = 0, pointsMin, inspect } = plan
  const folder = join(dirname(base), `${basename(base)}-killed`)
  const start = () => {
    rmSync(folder, { recursive: true, force: true })
    cpSync(base, folder, { recursive: true })
  }
  const tally = { points: 0, kills: 0 }
  for (const [pass, when] of (['before', 'after'] as const).entries()) {
    start()
    const points = runToEnd(plan, folder)
    assert.ok(points >= pointsMin, `${points} points`)
    tally.points += points
    for (let at = 1 + ((offset + pass) % stride); at <= points; at += stride) {
      start()
      const { signal, stderr } = run(plan, folder, [String(at), when])
      assert.equal(signal, 'SIGKILL', stderr)
      tally.kills++
      await inspect(folder, `killed ${when} call ${at} of ${points}`)
    }
  }
  rmSync(folder, { recursive: true, force: true })
  return tally
}

/** Without a kill; returns the count of calls. */
export function runToEnd(plan: Pick<KillPlan, 'program' | 'words'>, folder: string): number {
  const { status, stdout, stderr } = run(plan, folder, ['0', 'before'])
  assert.equal(status, 0, stderr)
  return Number(stdout)
}

/** Stock restic says that the logbook is whole, down to every byte. */
export function checkByRestic(place: string): void {
  // The lock of a dead process stops restic until it is told to look.
  restic(place, 'unlock')
  assert.match(restic(place, 'check', '--read-data'), /no errors were found/)
}

function run({ program, words = [] }: Pick<KillPlan, 'program' | 'words'>, folder: string, death: string[]) {
  const file = join(import.meta.dirname, program)
  return spawnSync(process.execPath, [file, folder, ...death, ...words], { encoding: 'utf8' })
}

function restic(place: string, ...args: readonly string[]): string {
  return execFileSync(resticProgram('0.19'), ['--no-cache', '-r', place, ...args], {
    encoding: 'utf8',
    env: { ...process.env, RESTIC_PASSWORD: password.toString() },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}
