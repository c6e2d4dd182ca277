// Stock restic and VML on one logbook at the same time: saves, removals and prunes of both sides, in a random order that a seed repeats as far as processes let it.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openLocal } from '../src/backend/local.ts'
import type { SnapshotId } from '../src/model/ids.ts'
import { openRepository } from '../src/store/repository.ts'
import { vmlCommand, vmlEnvironment } from './cli.ts'
import { type MachineBench, openMachineBench } from './e2e/machine-bench.ts'
import { resticProgram } from './restic-peer.ts'
import { noise, readAll } from './store-fixture.ts'

export interface InterleavingTally {
  readonly interleavings: number
  /** Programs that did what they were asked for, found the logbook locked, or were killed. */
  done: number
  locked: number
  killed: number
}

export interface InterleavingOptions {
  readonly seed: number
  readonly interleavings: number
  /** Of so many interleavings one has a program that is killed. */
  readonly killEvery: number
}

type Action = 'save' | 'forget' | 'prune'

interface Step {
  readonly action: Action
  readonly by: 'vml' | 'restic'
  readonly args: readonly string[]
  /** Folder that is saved, or whose snapshot goes. */
  readonly folder: string
  readonly delayMs: number
  readonly killAfterMs: number | undefined
}

const poolFiles = 24
/** At least so many snapshots are kept, so that there is something to lose. */
const snapshotsMin = 3
const lockedStatus = 11
const cancelledStatus = 130
const watching = /looks as if it was left behind\. Watching it/
const stepTimeoutMs = 120_000

/** Ends in a failure of the first thing that is not as it should be. */
export async function interleave({
  seed,
  interleavings,
  killEvery,
}: InterleavingOptions): Promise<InterleavingTally> {
  await using bench = await openMachineBench()
  const random = openRandom(seed)
  const pool = Array.from({ length: poolFiles }, (_, at) => noise(3000 + at * at * 400, `pool ${seed} ${at}`))
  mkdirSync(join(bench.home, 'pool'))
  for (const [at, content] of pool.entries()) writeFileSync(join(bench.home, 'pool', String(at)), content)
  /** What each snapshot that a program reported as done must hold, by its folder. */
  const expected = new Map<string, readonly number[]>()
  const tally: InterleavingTally = { interleavings, done: 0, locked: 0, killed: 0 }
  let snapshots = new Map<string, SnapshotId>()
  let folders = 0

  const planStep = (taken: Set<string>, kill: boolean): Step => {
    const by = random(2) === 0 ? 'vml' : 'restic'
    const victims = [...snapshots.keys()].filter((folder) => expected.has(folder) && !taken.has(folder))
    const wanted = random(10)
    const action: Action =
      wanted < 4 || victims.length <= snapshotsMin ? 'save' : wanted < 7 ? 'forget' : 'prune'
    const folder =
      action === 'forget' ? (victims[random(victims.length)] ?? '') : action === 'save' ? `${folders++}` : ''
    if (folder !== '') taken.add(folder)
    const timing = { delayMs: random(500), killAfterMs: kill ? 50 + random(1200) : undefined }
    return { action, by, folder, args: argsOf(bench, { action, by, folder, snapshots, random }), ...timing }
  }
  for (let round = 0; round < interleavings; round++) {
    const taken = new Set<string>()
    const kills = random(killEvery) === 0
    const steps = Array.from({ length: 2 + random(3) }, (_, at) => planStep(taken, kills && at === 0))
    const by = random(2) === 0 ? 'vml' : 'restic'
    const args = argsOf(bench, { action: 'prune', by, folder: '', snapshots, random })
    steps.push({ action: 'prune', by, args, folder: '', delayMs: random(700), killAfterMs: undefined })
    const contents = new Map<string, readonly number[]>()
    for (const { action, folder } of steps) {
      if (action === 'save') contents.set(folder, fillFolder(bench, folder, random))
    }
    const outcomes = await Promise.all(steps.map(async (step) => ({ step, ...(await runStep(bench, step)) })))
    const unknown = new Set<string>()
    for (const { step, status, signal, output } of outcomes) {
      const { action, folder } = step
      const told = `seed ${seed}, round ${round}: ${step.by} ${step.args.join(' ')}: ${status ?? signal}\n${output}`
      if (signal === 'SIGKILL') {
        tally.killed++
        if (action !== 'prune') unknown.add(folder)
        continue
      }
      // VML watches the lock of a restic that was killed for longer than a step may take.
      const locked = status === lockedStatus || (kills && status === cancelledStatus && watching.test(output))
      assert.ok(status === 0 || locked, told)
      if (locked) tally.locked++
      else tally.done++
      if (status === 0 && action === 'save') expected.set(folder, contents.get(folder) ?? [])
      if (status === 0 && action === 'forget') expected.delete(folder)
    }
    const about = `seed ${seed}, round ${round}: ${steps.map(({ by: who, args: words }) => `${who} ${words.join(' ')}`).join(' | ')}`
    snapshots = await assertWhole(bench, { pool, expected, contents, unknown, about })
  }
  return tally
}

interface ArgsInput {
  readonly action: Action
  readonly by: 'vml' | 'restic'
  readonly folder: string
  readonly snapshots: ReadonlyMap<string, SnapshotId>
  readonly random: (below: number) => number
}

function argsOf(
  bench: MachineBench,
  { action, by, folder, snapshots, random }: ArgsInput,
): readonly string[] {
  const path = join(bench.home, 'w', folder)
  const snapshot = snapshots.get(folder)?.slice(0, 16) ?? ''
  const pick = (...choices: readonly (readonly string[])[]) => choices[random(choices.length)] ?? []
  if (by === 'restic') {
    if (action === 'save') return ['backup', '--quiet', path]
    if (action === 'forget') return ['forget', snapshot, ...pick([], ['--prune'])]
    return ['prune', ...pick([], ['--max-unused', '0'])]
  }
  if (action === 'save') return ['save', 'here', '--only', path, '-m', folder]
  if (action === 'forget') return ['rm', snapshot, '--yes']
  return [
    'prune',
    ...pick([], ['--now'], ['--now', '--max-unused', '0%', '--wait', '3s'], ['--max-unused', '0%']),
  ]
}

/** Files that other folders have, too: what one save needs is what a prune beside it may be about to delete. */
function fillFolder(
  bench: MachineBench,
  folder: string,
  random: (below: number) => number,
): readonly number[] {
  const place = join(bench.home, 'w', folder)
  mkdirSync(place, { recursive: true })
  const chosen = Array.from({ length: 2 + random(6) }, () => random(poolFiles))
  for (const at of new Set(chosen))
    copyFileSync(join(bench.home, 'pool', String(at)), join(place, String(at)))
  return [...new Set(chosen)]
}

async function runStep(
  bench: MachineBench,
  { by, args, delayMs, killAfterMs }: Step,
): Promise<{ status: number | null; signal: NodeJS.Signals | null; output: string }> {
  await sleep(delayMs)
  const [program = '', ...words] = by === 'vml' ? vmlCommand : [resticProgram('0.19')]
  const env =
    by === 'vml'
      ? vmlEnvironment({ home: bench.home })
      : {
          ...process.env,
          RESTIC_REPOSITORY: bench.logbook,
          RESTIC_PASSWORD_FILE: bench.test.passwordFile,
          RESTIC_CACHE_DIR: join(bench.beside, 'restic-cache'),
        }
  const child = spawn(program, [...words, ...args], {
    cwd: bench.home,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: stepTimeoutMs,
  })
  let output = ''
  child.stdout.on('data', (part: Buffer) => (output += part.toString()))
  child.stderr.on('data', (part: Buffer) => (output += part.toString()))
  const timer = killAfterMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), killAfterMs)
  return await new Promise((resolve) =>
    child.once('close', (status, signal) => {
      clearTimeout(timer)
      resolve({ status, signal, output })
    }),
  )
}

interface Whole {
  readonly pool: readonly Buffer[]
  readonly expected: Map<string, readonly number[]>
  /** Of this round, of which some may not have been saved. */
  readonly contents: ReadonlyMap<string, readonly number[]>
  /** Their programs were killed: done or not. */
  readonly unknown: ReadonlySet<string>
  readonly about: string
}

/** Returns the snapshots by the folders that they hold. */
async function assertWhole(
  bench: MachineBench,
  { pool, expected, contents, unknown, about }: Whole,
): Promise<Map<string, SnapshotId>> {
  bench.restic('unlock')
  try {
    bench.restic('check', '--read-data')
  } catch (error) {
    assert.fail(`${about}\n${String((error as { stderr?: unknown }).stderr ?? error)}`)
  }
  const secret = readFileSync(bench.test.passwordFile, 'utf8').trim()
  await using repository = await openRepository({
    backend: openLocal(bench.logbook),
    secrets: [Buffer.from(secret)],
  })
  const snapshots = new Map<string, SnapshotId>()
  for await (const { id, paths } of repository.snapshots())
    snapshots.set(paths[0]?.split('/').at(-1) ?? '', id)
  const found = await readAll(repository)
  for (const folder of unknown) {
    if (!snapshots.has(folder)) expected.delete(folder)
    else if (contents.has(folder)) expected.set(folder, contents.get(folder) ?? [])
  }
  assert.deepEqual([...snapshots.keys()].toSorted(), [...expected.keys()].toSorted(), about)
  for (const [folder, files] of expected) {
    for (const at of files) {
      const path = `${snapshots.get(folder)}${bench.home}/w/${folder}/${at}`
      assert.ok(found.get(path)?.equals(pool[at] ?? Buffer.alloc(0)), `${about}\n${path}`)
    }
  }
  return snapshots
}

/** Whole numbers below a bound: mulberry32. */
function openRandom(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}
