// The power goes at a commit: of the calls that no sync made durable, each happened or not, but for those that another one stands on.
// Replays every such end that was asked for, and recovers it: the whole tree is as it was before, or as it is after.
import assert from 'node:assert/strict'
import { rawFromString, rawToBytes } from '../src/base/raw-text.ts'
import { readFileSync, truncateSync } from 'node:fs'
import { takeBack } from '../src/stage/commit.ts'
import { type CommitDisk, openCommitDisk } from '../src/stage/commit-disk.ts'
import { forgetJournal } from '../src/stage/forget-journal.ts'
import { recover } from '../src/stage/recover.ts'
import { type CaseKind, type CommitCase, openCase, runCommit } from './stage-commit-case.ts'
import { type DiskChange, watchedDisk } from './stage-commit-disk.ts'
import { testLibc } from './stage-commit-tree.ts'
import { expected, outcome, shellOf, stateOf, ways } from './stage-commit-ways.ts'

export interface PowerPlan {
  readonly folder: string
  readonly kind: CaseKind
  /** Random subsets at each sync, besides all and none. */
  readonly subsets: number
  /** How many of the four ways each end is recovered in, in turn. */
  readonly waysEach: number
  readonly seed: number
}

export interface PowerTally {
  calls: number
  syncs: number
  ends: number
  recovered: number
  states: Record<string, number>
}

interface Call {
  readonly name: DiskChange
  readonly args: readonly unknown[]
  readonly paths: readonly string[]
}

const disk = openCommitDisk(testLibc())

export function cutPower(plan: PowerPlan): PowerTally {
  using staged = openCase(plan.folder, plan.kind)
  const random = numbersFrom(plan.seed)
  const tally: PowerTally = { calls: 0, syncs: 0, ends: 0, recovered: 0, states: {} }
  staged.reset()
  const commits = record((watched) => runCommit(watched, staged.staged))
  const committed = staged.save('committed')
  replay({ plan, staged, calls: commits, from: undefined, end: 'after', random, tally })
  for (const [end, act] of [
    ['before', endByTakingBack],
    ['after', endByForgetting],
  ] as const) {
    staged.reset(committed)
    const calls = record((watched) => act(watched, staged))
    replay({ plan, staged, calls, from: committed, end, random, tally })
  }
  return tally
}

function endByTakingBack(watched: CommitDisk, staged: CommitCase): void {
  const { journal } = recover(disk, rawFromString(staged.staged.journal))
  assert.ok(journal)
  takeBack(watched, journal)
  forgetJournal(watched, journal)
}

function endByForgetting(watched: CommitDisk, staged: CommitCase): void {
  const { journal } = recover(disk, rawFromString(staged.staged.journal))
  assert.ok(journal)
  forgetJournal(watched, journal)
}

function record(act: (watched: CommitDisk) => void): Call[] {
  const calls: Call[] = []
  act(
    watchedDisk(disk, (name, args) => {
      const paths = args.filter((arg) => typeof arg === 'string').filter((arg) => arg.startsWith('/'))
      calls.push({ name, args, paths })
    }),
  )
  return calls
}

interface Replay {
  readonly plan: PowerPlan
  readonly staged: CommitCase
  readonly calls: readonly Call[]
  readonly from: string | undefined
  /** What the machine is when all calls were made. */
  readonly end: 'before' | 'after'
  readonly random: () => number
  readonly tally: PowerTally
}

function replay({ plan, staged, calls, from, end, random, tally }: Replay): void {
  tally.calls += calls.length
  /** What is durable by the syncs so far. */
  const durable = new Set<Call>()
  let pending: Call[] = []
  for (const call of [...calls, { name: 'syncDisk', args: [], paths: [] } satisfies Call]) {
    if (call.name !== 'syncDisk' && call.name !== 'syncFolder') {
      pending.push(call)
      continue
    }
    tally.syncs++
    const chances = [0, 1, ...Array.from({ length: plan.subsets }, () => random())]
    for (const chance of chances) {
      const applied = chooseSome(pending, chance, random)
      staged.reset(from)
      const isHalf = () => chance > 0 && chance < 1 && random() < 0.2
      apply(
        calls.filter((each) => durable.has(each)),
        () => false,
      )
      const failed = apply(applied, isHalf)
      const state = stateOf(staged)
      tally.ends++
      tally.states[state ?? 'none'] = (tally.states[state ?? 'none'] ?? 0) + 1
      const saved = plan.waysEach > 1 ? staged.save('cut') : undefined
      for (let index = 0; index < plan.waysEach; index++) {
        if (index > 0) staged.reset(saved)
        const way = ways[(tally.ends + index) % ways.length] ?? 'vml'
        const note: string = `${applied.length} of ${pending.length} pending calls before sync ${tally.syncs} (${call.name}), ${failed} not possible, state ${state}, by ${way}`
        // Forgotten is as it ended, or was taken back.
        const wanted = state === 'FORGOTTEN' || (state === undefined && from) ? end : expected(state, way)
        // What is being forgotten is no longer to be taken back.
        const possible = state === 'FORGOTTEN' || (state === undefined && from !== undefined) ? 'vml' : way
        assert.equal(outcome(staged, possible, shellOf(tally.ends)), wanted, note)
        tally.recovered++
      }
    }
    const isNow = (each: Call) =>
      call.name === 'syncDisk' || each.paths.some((path) => path.startsWith(`${String(call.args[0])}/`))
    for (const each of pending) if (isNow(each)) durable.add(each)
    pending = pending.filter((each) => !durable.has(each))
  }
}

/** A call that stands on one that did not happen did not happen either. */
function chooseSome(pending: readonly Call[], chance: number, random: () => number): Call[] {
  const dropped: Call[] = []
  return pending.filter((call) => {
    const happens = random() < chance && !dropped.some((earlier) => standsOn(call, earlier))
    if (!happens) dropped.push(call)
    return happens
  })
}

function standsOn(later: Call, earlier: Call): boolean {
  return later.paths.some((path) =>
    earlier.paths.some(
      (other) =>
        path === other ||
        path.startsWith(`${other}/`) ||
        (later.name === 'remove' && other.startsWith(`${path}/`)),
    ),
  )
}

/** Tells how many could not be made: what they needed did not happen. */
function apply(calls: readonly Call[], isHalf: () => boolean): number {
  let failed = 0
  for (const { name, args, paths } of calls) {
    try {
      Reflect.apply(disk[name], disk, args)
      // The name may be durable, and not the content.
      const [path = ''] = paths
      if (name === 'writeFile' && isHalf()) cutShort(path)
    } catch {
      failed++
    }
  }
  return failed
}

function cutShort(path: string): void {
  const place = rawToBytes(rawFromString(path))
  truncateSync(place, Math.floor(readFileSync(place).length / 2))
}

/** mulberry32, so that a failure can be had again. */
function numbersFrom(seed: number): () => number {
  let at = seed
  return () => {
    at = (at + 0x6d2b79f5) | 0
    let mixed = Math.imul(at ^ (at >>> 15), 1 | at)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

const [asked] = process.argv.slice(2)
if (asked !== undefined) {
  const plan: PowerPlan = JSON.parse(asked)
  process.stdout.write(JSON.stringify(cutPower(plan)))
}
