// Kills commits, take-backs and recoveries right before calls by which they change the disk, and recovers them in every way:
// the whole tree is then as it was before, or as it is after. Run in a mount namespace of its own by `stage-commit-run.ts`.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { rawFromString } from '../src/base/raw-text.ts'
import { openCommitDisk } from '../src/stage/commit-disk.ts'
import { recover } from '../src/stage/recover.ts'
import { type CaseKind, type CommitCase, leftBehind, openCase, runCommit } from './stage-commit-case.ts'
import { watchedDisk } from './stage-commit-disk.ts'
import { testLibc } from './stage-commit-tree.ts'
import {
  checkKept,
  expected,
  outcome,
  runScript,
  shellOf,
  stateOf,
  type Way,
  waysFrom,
  withoutSync,
} from './stage-commit-ways.ts'

export interface KillPlan {
  readonly folder: string
  readonly kind: CaseKind
  /** Every how manieth call. */
  readonly stride: number
  /** By SIGKILL; or in this process by a disk that fails for good, which leaves the same there in a tenth of the time. */
  readonly how: 'killed' | 'stopped'
  /** After every how manieth kill the recoveries are killed, too. */
  readonly nestedStride: number
}

export interface KillTally {
  changes: number
  commitPoints: number
  takeBackPoints: number
  kills: number
  recoveryKills: number
  recovered: Record<string, number>
}

const libc = testLibc()
const child = join(import.meta.dirname, 'stage-commit-child.ts')
export function killCommits({ folder, kind, stride, how, nestedStride }: KillPlan): KillTally {
  using staged = openCase(folder, kind)
  const recovered: Record<string, number> = {}
  const tally: KillTally = {
    changes: staged.changes.length,
    commitPoints: 0,
    takeBackPoints: 0,
    kills: 0,
    recoveryKills: 0,
    recovered,
  }
  const count = (what: string) => (recovered[what] = (recovered[what] ?? 0) + 1)

  tally.commitPoints = runToEnd(staged, 'commit')
  assert.equal(staged.now(), 'after')
  checkKept(staged)
  const committed = staged.save('committed')
  tally.takeBackPoints = runToEnd(staged, 'backward')
  assert.equal(staged.now(), 'before')
  assert.deepEqual(leftBehind(staged), [])

  for (const { action, from, points } of [
    { action: 'commit', from: undefined, points: tally.commitPoints },
    { action: 'backward', from: committed, points: tally.takeBackPoints },
  ]) {
    for (let at = 1 + (stride > 1 ? points % stride : 0); at <= points; at += stride) {
      staged.reset(from)
      assert.ok(how === 'killed' ? isKilled(staged, action, at) : isStopped(staged, action, at), `call ${at}`)
      tally.kills++
      const killed = staged.save('killed')
      const state = stateOf(staged)
      for (const [index, way] of waysFrom(state).entries()) {
        if (index > 0) staged.reset(killed)
        const note: string = `${action} killed before call ${at} of ${points} (${state}), recovered by ${way}`
        assert.equal(outcome(staged, way, shellOf(at)), expected(state, way), note)
        count(`${action}, ${way}`)
      }
      if (tally.kills % nestedStride > 0 || state === undefined || state === 'PREPARED') continue
      for (const way of waysFrom(state)) {
        staged.reset(killed)
        if (!isRecoveryKilled(staged, way, { at: 1 + ((at * 7) % 40), how })) continue
        tally.recoveryKills++
        const between = stateOf(staged)
        const twice = staged.save('twice')
        for (const [index, next] of waysFrom(between).entries()) {
          if (index > 0) staged.reset(twice)
          const note: string = `${action} killed before call ${at} (${state}), ${way} killed, too (${between}), recovered by ${next}`
          assert.equal(outcome(staged, next, shellOf(0)), expected(between, next), note)
          count(`${way} killed, ${next}`)
        }
      }
    }
  }
  return tally
}

function runToEnd(staged: CommitCase, action: string): number {
  const { status, stdout, stderr } = run(staged, action, 0)
  assert.equal(status, 0, stderr)
  return Number(stdout)
}

function isKilled(staged: CommitCase, action: string, at: number): boolean {
  return run(staged, action, at).signal === 'SIGKILL'
}

function isStopped({ staged }: CommitCase, action: string, at: number): boolean {
  let calls = 0
  const stopping = watchedDisk(openCommitDisk(libc), () => {
    if (++calls >= at) throw Object.assign(new Error('EIO, stopped'), { code: 'EIO' })
  })
  try {
    if (action === 'commit') runCommit(stopping, staged)
    else recover(stopping, rawFromString(staged.journal), action === 'backward' ? 'backward' : undefined)
  } catch {
    // As it must.
  }
  return calls >= at
}

function run({ file }: CommitCase, action: string, at: number) {
  return spawnSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', child, file, action, String(at)],
    {
      encoding: 'utf8',
    },
  )
}

/** False when it ended before. */
function isRecoveryKilled(
  staged: CommitCase,
  way: Way,
  { at, how }: { at: number; how: KillPlan['how'] },
): boolean {
  const action = way === 'vml' ? 'recover' : 'backward'
  if (way === 'vml' || way === 'vml backward')
    return how === 'killed' ? isKilled(staged, action, at) : isStopped(staged, action, at)
  const bin = join(dirname(staged.file), 'bin')
  const count = join(bin, 'count')
  mkdirSync(bin, { recursive: true })
  // Each program that changes something kills the shell that calls it, at the n-th call; mv of many things has moved some of them then.
  for (const program of ['mv', 'rm', 'chmod', 'chown', 'touch', 'setfattr', 'sync']) {
    writeFileSync(
      join(bin, program),
      `#!/bin/sh\nread -r n <${count}; n=$((n + 1)); echo $n >${count}\n[ $n -ne ${at} ] || { ${program === 'mv' ? moveHalf : ''}kill -9 $PPID; exit 1; }\nPATH=${withoutSync(dirname(staged.file))}:/usr/sbin:/usr/bin:/sbin:/bin exec ${program} "$@"\n`,
      { mode: 0o755 },
    )
  }
  writeFileSync(count, '0\n')
  return runScript(staged, way, ['/bin/dash'], `${bin}:/usr/bin:/bin`).signal === 'SIGKILL'
}

/** The words of `mv -f THING... FOLDER/`. */
const moveHalf =
  'if [ $# -gt 3 ] && [ "$2" != -T ]; then for to; do :; done; half=$(($# / 2)); shift; while [ $half -gt 0 ]; do /bin/mv -f "$1" "$to"; shift; half=$((half - 1)); done; fi; '

const [asked] = process.argv.slice(2)
if (asked !== undefined) {
  const plan: KillPlan = JSON.parse(asked)
  process.stdout.write(JSON.stringify(killCommits(plan)))
}
