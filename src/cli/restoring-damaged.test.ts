// Restores of entries that lost something, and out of a logbook that is damaged: what is not there is named, and nothing is called whole that is not.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openTestHome, type TestHome } from '../../test/cli.ts'
import { openTestLogbook } from '../../test/entries.ts'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath } from '../model/raw-path.ts'
import { listEntries, readEntryDocument } from '../engine/entries.ts'

const ways = [
  ['by this process itself', {}],
  ['through tar', { VML_NO_FFI: '1' }],
] as const

/** Packs of the logbook, larger ones first. */
function packsOf({ logbook }: TestHome): string[] {
  const base = join(logbook, 'data')
  return readdirSync(base, { recursive: true, encoding: 'utf8' })
    .map((name) => join(base, name))
    .filter((path) => statSync(path).isFile())
    .sort((left, right) => statSync(right).size - statSync(left).size)
}

/** One bit in the middle of the largest pack that is not larger than so much; copies of it on this computer go. */
function damage(home: TestHome, bytesMax = Number.POSITIVE_INFINITY): void {
  const pack = packsOf(home).find((path) => statSync(path).size <= bytesMax) ?? assert.fail()
  const data = readFileSync(pack)
  const middle = Math.floor(data.length / 2)
  data[middle] = (data[middle] ?? 0) ^ 1
  writeFileSync(pack, data)
  rmSync(join(home.home, '.cache'), { recursive: true, force: true })
}

/** A machine `here` with one entry of a folder: a file of several chunks, small ones, and a folder whose tree is the largest. */
async function openDamaged(): Promise<TestHome & { readonly work: string; readonly big: Buffer }> {
  const home = await openTestHome()
  const work = join(home.home, 'work')
  const big = randomBytes(3_000_000)
  mkdirSync(join(work, 'many'), { recursive: true })
  for (const name of ['a', 'b', 'z']) writeFileSync(join(work, name), `${name}\n`)
  writeFileSync(join(work, 'big'), big)
  for (let at = 0; at < 150; at++) writeFileSync(join(work, 'many', randomBytes(120).toString('hex')), '')
  assert.equal((await home.run(['machine', 'add', 'here', 'local:'])).status, 0)
  const saved = await home.run(['save', 'here', '--only', work])
  assert.equal(saved.status, 0, saved.stderr)
  return { ...home, work, big }
}

async function countEntries(home: TestHome): Promise<number> {
  await using logbook = await openTestLogbook(home)
  return (await listEntries(logbook)).length
}

function summaryOf(stdout: string): { readonly missing: unknown; readonly damaged: unknown } {
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as { missing: unknown; damaged: unknown }
}

test('what damage took from an entry is named by every restore of it and makes it partial; --delete leaves it alone', async () => {
  for (const [how, env] of ways) {
    await using home = await openDamaged()
    const { work, big } = home
    const lost = join(work, 'big')
    damage(home)
    assert.equal((await home.run(['check', '--repair', '--yes'])).status, 3)
    const to = join(home.home, 'to')
    const named = new RegExp(`1 path is not in the entry, lost to damage[^\\n]*\\n +${lost}\\n`)
    for (const args of [
      ['--to', to, '--dry-run'],
      ['--to', to],
      ['--to', to],
      ['--to', join(home.home, 'it.tar')],
      ['--delete', '--dry-run'],
      ['--delete'],
    ]) {
      const { status, stderr, stdout } = await home.run(['restore', '1', ...args], { env })
      assert.equal(status, 3, `${how} ${args.join(' ')}: ${stdout}${stderr}`)
      assert.match(stderr, named)
    }
    assert.ok(readFileSync(lost).equals(big))
    assert.ok(!existsSync(join(to, lost)))
    const told = await home.run(['restore', '1', '--to', to, '--json'], { env })
    assert.equal(told.status, 3)
    assert.deepEqual(summaryOf(told.stdout).missing, [{ path: lost, why: 'lost' }])
    // Outside of what was asked for nothing is missing; the lost file itself is not there.
    assert.equal((await home.run(['restore', `1:${work}/a`], { env })).status, 0)
    const asked = await home.run(['restore', `1:${lost}`], { env })
    assert.equal(asked.status, 4)
    assert.match(asked.stderr, /lost to damage/)
  }
})

test('what a save could not read is missing from its entry, within what is restored of it; what vanished meanwhile is not', async () => {
  await using home = await openTestHome()
  const work = join(home.home, 'work')
  mkdirSync(join(work, 'closed'), { recursive: true })
  writeFileSync(join(work, 'a'), 'a\n')
  assert.equal((await home.run(['machine', 'add', 'here', 'local:'])).status, 0)
  // A mount that does not answer, as the document of an entry tells it.
  const closed = join(work, 'closed')
  assert.equal((await home.run(['save', 'here', '--only', work])).status, 0)
  await using logbook = await openTestLogbook(home)
  const [entry] = await listEntries(logbook)
  const document = entry && (await readEntryDocument(logbook.repository, entry.snapshot))
  assert.ok(entry && document)
  const { missingWithin, readMissing } = await import('../engine/restore-missing.ts')
  const raw = Buffer.from(closed).toString('base64')
  const problems = [
    { path: closed, raw, problem: 'unreadable' as const },
    { path: '/gone', raw: Buffer.from('/gone').toString('base64'), problem: 'vanished' as const },
  ]
  const missing = await readMissing(logbook.repository, { entry, document: { ...document, problems } })
  assert.deepEqual(missingWithin(missing, { paths: [], without: [] }), [{ path: closed, why: 'unreadable' }])
  assert.deepEqual(
    missingWithin(missing, { paths: [], without: [parseRawPath(rawFromString(work)) ?? assert.fail()] }),
    [],
  )
})

test('with one damaged chunk everything else is restored and proved, the file is named, and trying again keeps nothing anew', async () => {
  for (const [how, env] of ways) {
    await using home = await openDamaged()
    const { work } = home
    damage(home)
    const named = new RegExp(
      `Not written[^\n]*:\n +\\S*${work}/big \\([^]*\n {5}\\S[^]*check --read-data[^]*check --repair`,
    )
    const to = join(home.home, 'to')
    for (const again of [false, true]) {
      const { status, stdout, stderr } = await home.run(['restore', '1', '--to', to], { env })
      assert.equal(status, 20, `${how} ${again}: ${stdout}${stderr}`)
      assert.match(stderr, named)
      if (!again) assert.match(stdout, /all equal/)
      assert.equal(execFileSync('cat', [`${to}${work}/a`, `${to}${work}/z`], { encoding: 'utf8' }), 'a\nz\n')
      assert.equal(readdirSync(`${to}${work}/many`).length, 150)
      assert.deepEqual(readdirSync(`${to}${work}`), ['a', 'b', 'many', 'z'])
      assert.equal(await countEntries(home), 1)
    }
    const tar = join(home.home, 'it.tar')
    const archive = await home.run(['restore', '1', '--to', tar], { env })
    assert.equal(archive.status, 20)
    assert.match(archive.stderr, named)
    const listed = execFileSync('tar', ['-tf', tar], { encoding: 'utf8' })
    assert.match(listed, /work\/z\n/)
    assert.doesNotMatch(listed, /work\/big\n/)

    // In place: the file that stands there stays, other files are put back, and what is new goes.
    writeFileSync(join(work, 'big'), 'mine\n')
    writeFileSync(join(work, 'z'), 'changed\n')
    writeFileSync(join(work, 'new'), 'new\n')
    const dry = await home.run(['restore', '1', '--delete', '--dry-run', '--json'], { env })
    assert.equal(dry.status, 20)
    const { status, stderr, stdout } = await home.run(['restore', '1', '--delete'], { env })
    assert.equal(status, 20, `${how}: ${stdout}${stderr}`)
    assert.match(stderr, named)
    assert.equal(readFileSync(join(work, 'big'), 'utf8'), 'mine\n')
    assert.equal(readFileSync(join(work, 'z'), 'utf8'), 'z\n')
    assert.ok(!existsSync(join(work, 'new')))
    assert.equal(await countEntries(home), 2)
    assert.equal((await home.run(['restore', '1', '--delete'], { env })).status, 20)
    assert.equal(await countEntries(home), 2)
    // A folder in the place of a file that cannot be read is not taken away for it.
    rmSync(join(work, 'big'))
    mkdirSync(join(work, 'big'))
    writeFileSync(join(work, 'big/mine'), 'mine\n')
    const kept = await home.run(['restore', '1', '--delete'], { env })
    assert.equal(kept.status, 20, kept.stderr)
    assert.equal(readFileSync(join(work, 'big/mine'), 'utf8'), 'mine\n')
  }
})

test('of a damaged folder nothing is made and nothing goes, and it is named', async () => {
  for (const [how, env] of ways) {
    await using home = await openDamaged()
    const { work } = home
    damage(home, 1_000_000)
    const named = new RegExp(`${work}/many and what lies below it \\(`)
    const to = join(home.home, 'to')
    for (const args of [
      ['--to', to],
      ['--to', to],
      ['--to', join(home.home, 'it.tar')],
    ]) {
      const { status, stdout, stderr } = await home.run(['restore', '1', ...args], { env })
      assert.equal(status, 20, `${how} ${args.join(' ')}: ${stdout}${stderr}`)
      assert.match(stderr, named)
    }
    assert.deepEqual(readdirSync(`${to}${work}`), ['a', 'b', 'big', 'z'])
    writeFileSync(join(work, 'new'), 'new\n')
    writeFileSync(join(work, 'many/new'), 'new\n')
    const { status, stdout, stderr } = await home.run(['restore', '1', '--delete'], { env })
    assert.equal(status, 20, `${how}: ${stdout}${stderr}`)
    assert.match(stderr, named)
    assert.equal(readdirSync(join(work, 'many')).length, 151)
    assert.ok(!existsSync(join(work, 'new')))
  }
})

test('what is left of a lost file comes to a folder where it is named, and to no machine', async () => {
  await using home = await openDamaged()
  damage(home)
  assert.equal((await home.run(['check', '--repair', '--yes'])).status, 3)
  const to = join(home.home, 'rest')
  const { status, stdout, stderr } = await home.run(['restore', '1:/.vml/lost', '--to', to])
  assert.equal(status, 0, stdout + stderr)
  assert.equal(statSync(join(to, 'lost/1')).size, 3_000_000)
  const refused = await home.run(['restore', '1:/.vml/lost'])
  assert.equal(refused.status, 2)
  assert.match(refused.stderr, /vml restore 1:\/\.vml\/lost --to DIR/)
  assert.ok(!existsSync('/.vml'))
})

test('after a restore in place it is told how to go back and what stays then', async () => {
  await using home = await openDamaged()
  const { work } = home
  writeFileSync(join(work, 'a'), 'changed\n')
  utimesSync(join(work, 'a'), 1, 1)
  rmSync(join(work, 'b'))
  const { status, stderr } = await home.run(['restore', '1'])
  assert.equal(status, 0, stderr)
  assert.match(stderr, /kept in #2: vml restore 2 brings it back; 1 new path stays then\n/)
  assert.equal((await home.run(['restore', '2'])).status, 0)
  assert.equal(readFileSync(join(work, 'a'), 'utf8'), 'changed\n')
  assert.ok(existsSync(join(work, 'b')))
  const hint = await home.run(['restore', '1:/nothere', '--dry-run'])
  assert.equal(hint.status, 4)
  assert.match(hint.stderr, /vml ls 1\n/)
})
