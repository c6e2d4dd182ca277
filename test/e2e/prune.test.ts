// `vml prune` as a person or a timer calls it: beside a running save, and compared with stock restic's prune on a copy.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openLocal } from '../../src/backend/local.ts'
import { openRepository } from '../../src/store/repository.ts'
import { resticProgram } from '../restic-peer.ts'
import { noise, snapshotOf, storeFile, fileNode } from '../store-fixture.ts'
import { openMachineBench, type MachineBench } from './machine-bench.ts'

/** Two trees of many files, of which some change from entry to entry. */
const makeFiles = String.raw`
  mkdir -p w; for d in $(seq 12); do mkdir w/$d; for f in $(seq 12); do head -c $((d * f * 900)) /dev/urandom > w/$d/$f; done; done
  for b in 1 2 3; do head -c 3000000 /dev/urandom > w/big$b; done; seq 200000 > w/text
`
const change = String.raw`
  for d in $(seq $1 2 12); do for f in 1 4 7 10; do head -c $((d * f * 900)) /dev/urandom > w/$d/$f; done; done
  head -c 3000000 /dev/urandom > w/big$1; seq $1 200000 > w/text
`

async function openOpened(bench: MachineBench) {
  return await openRepository({
    backend: openLocal(bench.logbook),
    secrets: [Buffer.from(readFileSync(bench.test.passwordFile, 'utf8').trim())],
  })
}

function sizeOf(logbook: string): number {
  return readdirSync(join(logbook, 'data'), { recursive: true, encoding: 'utf8' })
    .map((name) => statSync(join(logbook, 'data', name)))
    .reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0)
}

function summaryOf(stdout: string): Record<string, unknown> {
  const lines = stdout.trim().split('\n')
  const value: unknown = JSON.parse(lines.at(-1) ?? '')
  assert.ok(typeof value === 'object' && value !== null)
  return value as Record<string, unknown>
}

test('V62: after rm, prune brings the logbook to the size that restic prune brings a copy to, within 2 %', async (context) => {
  await using bench = await openMachineBench()
  const { home, vml, logbook } = bench
  bench.sh(makeFiles)
  const save = ['save', 'here', '--only', join(home, 'w')]
  await vml(save)
  for (const round of ['1', '2', '3']) {
    bench.sh(change, round)
    await vml(save)
  }
  await vml(['rm', '1', '3', '--yes'])
  const full = sizeOf(logbook)
  const copy = join(bench.beside, 'copy')
  cpSync(logbook, copy, { recursive: true })
  const env = { ...process.env, RESTIC_PASSWORD_FILE: bench.test.passwordFile }
  execFileSync(resticProgram('0.19'), ['-r', copy, '--no-cache', 'prune'], { env, stdio: 'pipe' })

  const dry = summaryOf((await vml(['prune', '--dry-run', '--json'])).stdout)
  assert.equal(dry['dry_run'], true)
  assert.equal(sizeOf(logbook), full)
  await vml(['prune'])
  const { stderr } = await vml(['prune'])
  assert.match(stderr, /^Deleted \d+ packs?, /m)
  const [ours, theirs] = [sizeOf(logbook), sizeOf(copy)]
  context.diagnostic(`${full} bytes, ${ours} after vml prune, ${theirs} after restic prune`)
  assert.ok(theirs < 0.9 * full)
  assert.ok(ours <= 1.02 * theirs)
  bench.check()
  await vml(['restore', '@latest', '--to', join(bench.beside, 'out')])
  bench.sh(`diff -r w ${join(bench.beside, 'out', home, 'w')}`)
  assert.equal(summaryOf((await vml(['prune', '--json'])).stdout)['needed_again'], 0)
})

test('beside a save that runs, prune marks; what it marked is deleted when the save has ended, without what that needs', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  bench.sh('mkdir w; head -c 2000000 /dev/urandom > w/gone; head -c 2000000 /dev/urandom > w/back')
  await vml(['save', 'here', '--only', join(home, 'w')])
  await vml(['rm', '1', '--yes'])
  const content = readFileSync(join(home, 'w/back'))
  {
    await using repository = await openOpened(bench)
    await using writer = await repository.beginWrite()
    const { stdout } = await vml(['prune', '--json'])
    assert.deepEqual(summaryOf(stdout)['deleted'], { packs: 0, bytes: 0 })
    // Now something is due, and the save holds its lock.
    const dry = await vml(['prune', '--dry-run'])
    assert.match(dry.stdout, /marked .*deleted by this one\n[^]*MiB would be free then$/m)
    const { stderr } = await vml(['prune'], { status: 11 })
    assert.match(stderr, /Nothing was deleted/)
    assert.match(stderr, /--wait/)
    const stored = await storeFile(writer, content)
    assert.equal(writer.statistics().newBlobs, 0)
    await writer.commit(snapshotOf(await writer.storeTree([fileNode('back', stored)])))
  }
  await vml(['prune'])
  bench.check()
  await vml(['prune', '--now', '--max-unused', '0%', '--wait', '10s'])
  assert.ok(sizeOf(bench.logbook) < 2_300_000)
  bench.check()
})

test('a prune that waits gets its turn when the other program has ended', async () => {
  await using bench = await openMachineBench()
  await using repository = await openOpened(bench)
  {
    await using writer = await repository.beginWrite()
    await writer.commit(snapshotOf(await writer.storeTree([])))
  }
  const lock = await repository.lock('exclusive')
  await bench.vml(['prune'], { status: 11 })
  const waiting = bench.vml(['prune', '--wait', '60s'])
  const early = await Promise.race([
    waiting,
    new Promise((resolve) => setTimeout(resolve, 700, 'still waits')),
  ])
  assert.equal(early, 'still waits')
  await lock[Symbol.asyncDispose]()
  await waiting
})

test('an entry that cannot be read whole keeps everything where it is, with 20', async () => {
  await using bench = await openMachineBench()
  {
    await using repository = await openOpened(bench)
    await using writer = await repository.beginWrite()
    const stored = await storeFile(writer, noise(500_000, 'whole'))
    await writer.commit(snapshotOf(await writer.storeTree([fileNode('whole', stored)])))
  }
  const [index = ''] = readdirSync(join(bench.logbook, 'index'))
  bench.sh(`mv ${join(bench.logbook, 'index', index)} .`)
  const before = sizeOf(bench.logbook)
  const { stderr } = await bench.vml(['prune', '--now'], { status: 20 })
  assert.match(stderr, /Nothing was deleted. vml check/)
  assert.equal(sizeOf(bench.logbook), before)
})

test('what is typed wrong is refused before anything is opened', async () => {
  await using bench = await openMachineBench()
  for (const [option, typed, told] of [
    ['--max-unused', '101%', /5%/],
    ['--max-unused', 'some', /5%.*2G.*unlimited/],
    ['--max-repack', '-1', /2G/],
    ['--wait', '10', /10m/],
  ] as const) {
    const { stderr } = await bench.vml(['prune', option, typed, '--logbook', '/nowhere'], { status: 2 })
    assert.match(stderr, told)
  }
})
