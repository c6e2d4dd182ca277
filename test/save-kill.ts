// Kills a save with SIGKILL before every call by which one of its threads changes a file; afterwards nothing is lost and the next save works.
import assert from 'node:assert/strict'
import { readdirSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { assertSameTree, describeTree } from './e2e/nasty-tree.ts'
import { lastOperation } from './kill-at-operation.ts'
import { contentsOf, type KillBench, openKillBench, savedBelow } from './kill-bench.ts'

export interface SaveKills {
  /** Calls that change files, in a save that is not killed. */
  readonly points: number
  /** Threads that made them. */
  readonly threads: number
  readonly kills: number
  /** Runs that came to their end, since their threads met in another order and made fewer calls. */
  readonly ended: number
  /** The entry was there already when the save was killed. */
  readonly committed: number
  /** Files in `tmp/` of more than a megabyte that kills left: packs that were written as they grew. */
  readonly staged: number
}

export interface SaveKillOptions {
  /** Spread over all calls; without it there is a kill at each. */
  readonly killsMax?: number
  /** The first save of a machine, or one after changes. */
  readonly which: 'first' | 'second'
}

/** The large file makes two packs and goes through the lanes in many chunks. */
const makeFiles = String.raw`
  mkdir w; for d in $(seq 4); do mkdir w/$d; for f in $(seq 4); do head -c 20000 /dev/urandom > w/$d/$f; done; done
  head -c 17000000 /dev/urandom > w/large; truncate -s 3M w/sparse; : > w/empty
  ln w/1/1 w/2/linked; ln -s ../1 w/3/link; mkfifo w/4/fifo; setfattr -n user.vml -v x w/4/1; chmod 555 w/4
`
const change = String.raw`
  for d in 1 2; do head -c 30000 /dev/urandom >> w/$d/1; rm w/$d/3; mkdir w/$d/new; echo n > w/$d/new/n; done
  rm -r w/3; ln -s 1 w/3; head -c 9000000 /dev/urandom > w/large2; printf x | dd of=w/large bs=1 seek=5000000 conv=notrunc status=none
`

/** Points between two restores of what was saved, and between two checks of all data by restic. */
const restoreEvery = 5

export async function killSaves({ which, killsMax }: SaveKillOptions): Promise<SaveKills> {
  await using bench = await openKillBench()
  const { home, vml } = bench
  const save = ['save', 'here', '--only', join(home, 'w')]
  bench.sh(makeFiles)
  if (which === 'second') {
    await vml(save)
    bench.sh(change)
  }
  bench.keep()
  const whole = bench.run(save, 0)
  assert.equal(whole.status, 0, whole.stderr)
  const points = whole.operations.length
  const stride = Math.ceil(points / (killsMax ?? points))
  bench.reset('without w')
  const earlier = await bench.entries()
  let [kills, ended, committed, looks, staged] = [0, 0, 0, 0, 0]
  for (let at = Math.ceil(stride / 2); at <= points; at += stride) {
    bench.reset('without w')
    const run = bench.run(save, at)
    if (run.status === 0) ended++
    else {
      assert.equal(run.signal, 'SIGKILL', run.stderr)
      kills++
    }
    const note = `killed at ${at} of ${points}, before ${lastOperation(run)}`
    bench.restic('check', '--no-lock', ...(looks % restoreEvery === 0 ? ['--read-data'] : []))
    const found = await bench.entries()
    for (const [id, files] of earlier) assert.deepEqual(found.get(id), files, note)
    const fresh = [...found].filter(([id]) => !earlier.has(id))
    for (const [, files] of fresh) assertSaved(files, join(home, 'w'), note)
    committed += fresh.length
    staged += leftBy(bench).filter(({ bytes }) => bytes > stagedBytesMin).length
    // They may be another writer's, or nobody's any more: one half of the kills each.
    const isOld = looks % 2 === 0
    const left = leftBy(bench, isOld).map(({ name }) => name)
    await vml(save)
    assert.deepEqual(
      leftBy(bench).map(({ name }) => name),
      isOld ? [] : left,
      `${note}: what lies in tmp/`,
    )
    const after = await bench.entries()
    for (const [id, files] of found) assert.deepEqual(after.get(id), files, note)
    assert.equal(after.size, found.size + 1, note)
    for (const [id, files] of after) if (!found.has(id)) assertSaved(files, join(home, 'w'), note)
    // To the last attribute where it is asked for: contents were compared each time.
    if (looks++ % restoreEvery === 0) await assertRestored(bench)
    assert.deepEqual(
      readdirSync(join(bench.logbook, 'locks')),
      [],
      `${note}: the lock of a dead process stays`,
    )
  }
  return { points, threads: whole.threads, kills, ended, committed, staged }
}

/** What a writer keeps in memory until it is full (packer.ts). */
const stagedBytesMin = 1024 * 1024

/** The files in `tmp/`, which `isOld` has be of yesterday. */
function leftBy({ logbook }: KillBench, isOld = false): { readonly name: string; readonly bytes: number }[] {
  const folder = join(logbook, 'tmp')
  return readdirSync(folder)
    .toSorted()
    .map((name) => {
      assert.match(name, /^vml-put-[0-9a-f]{16}$/)
      const yesterday = new Date(Date.now() - 24 * 3600_000)
      if (isOld) utimesSync(join(folder, name), yesterday, yesterday)
      return { name, bytes: statSync(join(folder, name)).size }
    })
}

async function assertRestored({ beside, home, sh, vml }: KillBench): Promise<void> {
  const folder = join(home, 'w')
  await vml(['restore', '@latest', '--to', join(beside, 'out')])
  assertSameTree(describeTree(join(beside, 'out', folder)), describeTree(folder))
  sh('rm -rf ../out')
}

/** An entry is there with all that it should have, or it is not there. */
function assertSaved(files: ReadonlyMap<string, string>, folder: string, note: string): void {
  assert.deepEqual(savedBelow(files, folder), contentsOf(describeTree(folder)), note)
}
