// The power goes, on a real file system: while a commit and its take-back run, the image below the file system is copied between
// calls, as the disk has it at that moment. Each copy is mounted, so that the file system recovers itself, and then the commit is.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { rawFromString } from '../src/base/raw-text.ts'
import { commit, takeBack } from '../src/stage/commit.ts'
import { openCommitDisk } from '../src/stage/commit-disk.ts'
import { readJournal } from '../src/stage/journal.ts'
import { openCase, prepareCase } from './stage-commit-case.ts'
import { watchedDisk } from './stage-commit-disk.ts'
import type { DiskKind } from './stage-commit-run.ts'
import { testLibc } from './stage-commit-tree.ts'
import { expected, outcome, shellOf, stateOf, ways } from './stage-commit-ways.ts'

export interface CutPlan {
  readonly folder: string
  readonly disk: DiskKind
  /** Every how manieth call. */
  readonly stride: number
}

export interface CutTally {
  calls: number
  cuts: number
  states: Record<string, number>
}

export function cutImages({ folder, disk: kind, stride }: CutPlan): CutTally {
  const mounted = dirname(folder)
  const outside = dirname(mounted)
  const run = (program: string, ...args: readonly string[]) =>
    execFileSync(program, args, { cwd: outside, stdio: ['ignore', 'pipe', 'pipe'] })
  const staged = openCase(folder)
  staged.reset()
  run('sync', '-f', mounted)
  const tally: CutTally = { calls: 0, cuts: 0, states: {} }
  const cuts: string[] = []
  const disk = watchedDisk(openCommitDisk(testLibc()), () => {
    if (tally.calls++ % stride > 0) return
    const cut = join(outside, `cut-${tally.calls}`)
    run('cp', '--sparse=always', join(outside, 'image'), cut)
    cuts.push(cut)
  })
  const prepared = prepareCase(disk, staged.staged)
  commit(disk, prepared)
  assert.equal(staged.now(), 'after')
  const journal = readJournal(rawFromString(staged.staged.journal))
  assert.ok(journal)
  takeBack(disk, journal)
  assert.equal(staged.now(), 'before')
  run('umount', mounted)
  for (const [index, cut] of cuts.entries()) {
    // The copies have one identity, which xfs would take for a mistake.
    run('mount', '-o', kind === 'xfs' ? 'loop,nouuid' : 'loop', cut, mounted)
    const state = stateOf(staged)
    tally.states[state ?? 'none'] = (tally.states[state ?? 'none'] ?? 0) + 1
    const way = ways[index % ways.length] ?? 'vml'
    assert.equal(outcome(staged, way, shellOf(0)), expected(state, way), `${cut}, ${state}, ${way}`)
    tally.cuts++
    run('umount', mounted)
    rmSync(cut)
  }
  return tally
}

const [asked] = process.argv.slice(2)
if (asked !== undefined) {
  const plan: CutPlan = JSON.parse(asked)
  process.stdout.write(JSON.stringify(cutImages(plan)))
}
