// Kills a restore with SIGKILL before every call by which one of its threads, or tar, changes a file; afterwards the same command ends it.
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { isOfRestore, isRestoreLeftover } from '../src/source/restore-leftover.ts'
import { assertSameTree, describeTree, type Described } from './e2e/nasty-tree.ts'
import { lastOperation } from './kill-at-operation.ts'
import { contentsOf, type Entries, type KillBench, openKillBench, savedBelow } from './kill-bench.ts'

export interface RestoreKills {
  /** Calls that change files, in a restore that is not killed; by tar, those from its first on. */
  readonly points: number
  /** Threads that made them. */
  readonly threads: number
  readonly kills: number
  /** Runs that came to their end, since their threads met in another order and made fewer calls. */
  readonly ended: number
  /** Something in the work folder had been changed when the restore was killed. */
  readonly changed: number
  /** A name that is nobody's was left there. */
  readonly leftovers: number
}

export interface RestoreKillOptions {
  /** Spread over all calls; without it there is a kill at each. */
  readonly killsMax?: number
  /** This program's own threads, or tar. */
  readonly by: 'threads' | 'tar'
}

/** The large file is written in several pieces by several threads; tar makes ten times as many calls for it. */
const makeFiles = String.raw`
  mkdir w beside; for d in $(seq 4); do mkdir w/$d; for f in $(seq 3); do head -c 20000 /dev/urandom > w/$d/$f; done; done
  head -c "$1" /dev/urandom > w/large; truncate -s 3M w/sparse; printf x >> w/sparse; : > w/empty; echo canary > beside/canary
  ln w/1/1 w/2/linked; ln -s ../1 w/3/link; mkfifo w/4/fifo; setfattr -n user.vml -v x w/4/1; chmod 555 w/4
`
/** Other content, other types, other attributes, files gone, files that the entry does not have. */
const change = String.raw`
  for d in 1 2; do head -c 20000 /dev/urandom > w/$d/1; rm w/$d/3; mkdir w/$d/new; echo n > w/$d/new/n; done
  rm w/2/linked; rm w/3/link; echo mine > w/3/link; echo o >> w/3/1; rm w/4/fifo; echo f > w/4/fifo
  chmod 600 w/4/1; setfattr -x user.vml w/4/1; echo more >> w/large; rm w/sparse; ln -s ../beside w/sparse; echo e > w/empty
`

export async function killRestores({ by, killsMax }: RestoreKillOptions): Promise<RestoreKills> {
  await using bench = await openKillBench()
  const { home, vml } = bench
  const work = join(home, 'w')
  const env: Readonly<Record<string, string>> = by === 'tar' ? { VML_NO_FFI: '1' } : {}
  bench.sh(makeFiles, by === 'tar' ? '50000' : '9500000')
  await vml(['save', 'here', '--only', work])
  const wanted = describeTree(work)
  bench.sh(change)
  bench.keep()
  // With --delete nothing of a cut restore could stay; without it the next one must know what is nobody's.
  const restore = ['restore', '1', ...(by === 'tar' ? ['--delete'] : [])]
  const before = describeTree(work)
  const outside = describeTree(join(home, 'beside'))
  const entries = await bench.entries()
  const whole = bench.run(restore, 0, env)
  assert.equal(whole.status, 0, whole.stderr)
  const expected = describeTree(work)
  for (const [path, fact] of wanted.facts) assert.equal(expected.facts.get(path), fact)
  // What comes before the first change is the same whoever writes: there is no need to be killed in it twice.
  const inWork = whole.operations.findIndex(({ path }) => path.startsWith(`${work}/`))
  const first = by === 'tar' ? inWork : 0
  const points = whole.operations.length - first
  const stride = Math.ceil(points / (killsMax ?? points))
  let [kills, ended, changed, leftovers, looks] = [0, 0, 0, 0, 0]
  for (let at = first + Math.ceil(stride / 2); at <= first + points; at += stride) {
    bench.reset('all')
    const run = bench.run(restore, at, env)
    if (run.status === 0) ended++
    else {
      assert.equal(run.signal, 'SIGKILL', run.stderr)
      kills++
    }
    const note = `killed at ${at} of ${first + points}, before ${lastOperation(run)}`
    const now = describeTree(work)
    const left = leftoversOf(now)
    if (!isSame(now, before)) {
      changed++
      await assertNothingLost(bench, { entries, before, now, note })
    }
    if (by === 'threads') assertWholeFiles(now, { before, wanted, note })
    if (left.length > 0) {
      leftovers++
      await assertNotSaved(bench, note)
    }
    assertSameTree(describeTree(join(home, 'beside')), outside)
    if (looks++ % 5 === 0) bench.restic('check', '--no-lock', '--read-data')
    await vml(restore, { env })
    assertSameTree(describeTree(work), expected)
    assertSameTree(describeTree(join(home, 'beside')), outside)
    assert.deepEqual(
      readdirSync(join(bench.logbook, 'locks')),
      [],
      `${note}: the lock of a dead process stays`,
    )
  }
  return { points, threads: whole.threads, kills, ended, changed, leftovers }
}

function isSame(left: Described, right: Described): boolean {
  return (
    String([...left.facts]) === String([...right.facts]) &&
    String(left.links) === String(right.links) &&
    left.xattrs === right.xattrs
  )
}

function leftoversOf({ facts }: Described): readonly string[] {
  return [...facts.keys()].filter((path) => isRestoreLeftover(basename(path)))
}

interface Moment {
  readonly before: Described
  readonly note: string
}

/** What stood there before is there yet, or it is in a safety entry. */
async function assertNothingLost(
  bench: KillBench,
  { entries, before, now, note }: Moment & { readonly entries: Entries; readonly now: Described },
): Promise<void> {
  const found = await bench.entries()
  for (const [id, files] of entries) assert.deepEqual(found.get(id), files, note)
  const safety = [...found].find(([id]) => !entries.has(id))?.[1]
  assert.ok(safety, `${note}: something was changed, and no safety entry is there`)
  const kept = savedBelow(safety, join(bench.home, 'w'))
  const there = contentsOf(now)
  for (const [path, content] of contentsOf(before))
    if (there.get(path) !== content) assert.equal(kept.get(path), content, `${note}: "${path}" is lost`)
}

/** Under its own name a file is the old one or the new one, never a part of one. */
function assertWholeFiles(
  now: Described,
  { before, wanted, note }: Moment & { readonly wanted: Described },
): void {
  const [old, fresh] = [contentsOf(before), contentsOf(wanted)]
  for (const [path, content] of contentsOf(now))
    if (!isOfRestore(basename(path)))
      assert.ok([old.get(path), fresh.get(path)].includes(content), `${note}: "${path}" is neither`)
}

/** A save right after the kill does not take what is nobody's for the user's. */
async function assertNotSaved(bench: KillBench, note: string): Promise<void> {
  const earlier = await bench.entries()
  await bench.vml(['save', 'here', '--only', join(bench.home, 'w')])
  for (const [id, files] of await bench.entries()) {
    const left = [...files.keys()].filter((path) => isRestoreLeftover(basename(path)))
    assert.deepEqual(left, [], `${note}: ${earlier.has(id) ? 'a safety entry' : 'an entry'} has it`)
  }
}
