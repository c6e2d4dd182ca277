// `vml open` where a guest takes long to start: Debian for another user, and an entry that lost a file. More of it: test/e2e/open.test.ts.
import assert from 'node:assert/strict'
import { readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openTestHome, type TestHome, well } from '../cli.ts'
import { addEntry } from '../entries.ts'
import { publishImages } from '../image-repository.ts'
import { commandOf, printedCommand, removing } from '../opened-machines.ts'
import { noise } from '../store-fixture.ts'

const at = '2026-11-01T10:00:00Z'

test('an entry opens on Debian for a user that was not there: paths and owners are mapped, and it says so', async () => {
  await using repository = await publishImages(['debian@12'])
  await using home = await openTestHome()
  await repository.useIn(home)
  await addEntry(home, {
    title: 'fit',
    at,
    files: { '/home/lab/fit.C': 'one\n', '/home/lab/data/points': '1 2\n' },
  })
  await using _gone = removing(home, 'deb')
  const opened = await well(
    home,
    'open',
    '1',
    '--image',
    'debian@12',
    '--user',
    'alice',
    '--name',
    'deb',
    '--json',
  )
  const summary = opened.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .find((line) => line['message_type'] === 'summary') as {
    mapped: string[]
    report: { level: string; text: string }[]
    ssh: { command: string }
    restored: { proof: { checked: number; differences: number } }
  }
  assert.deepEqual(summary.mapped, ['/home/lab → /home/alice', 'owner 1000:1000 → 1001:1001'])
  assert.equal(summary.restored.proof.differences, 0)
  assert.ok(
    summary.report.some(({ level, text }) => level === 'amber' && text.includes('Debian GNU/Linux 12')),
  )
  const ssh = commandOf(summary.ssh.command)
  assert.equal(
    await ssh('cd && find . -printf "%p %u %m\\n" | sort'),
    ['. alice 755', './data alice 755', './data/points alice 644', './fit.C alice 644', ''].join('\n'),
  )
  const port = new URL(repository.server.url).port
  assert.equal(await ssh(`exec 3<>/dev/tcp/10.0.2.2/${port} && echo reached`), 'reached\n')
})

test('an entry that lost a file to damage opens without it: the file is named before and after, and the opening is partial', async () => {
  await using repository = await publishImages(['tiny@1'])
  await using home = await openTestHome()
  await repository.useIn(home)
  await addEntry(home, {
    title: 'fit',
    at,
    image: { name: 'tiny', version: '1', guessed: false },
    files: { '/home/lab/fit.C': 'one\n', '/home/lab/run8.root': noise(600_000, 'run 8').toString('latin1') },
  })
  await damageLargestPack(home)
  assert.equal((await home.run(['check', '--repair', '--yes'])).status, 3)

  const named = /1 path is not in the entry, lost to damage[^\n]*\n +\/home\/lab\/run8\.root\n/
  const lost = [{ path: '/home/lab/run8.root', why: 'lost' }]
  const planned = await home.run(['open', '1', '--name', 'less', '--dry-run'])
  assert.equal(planned.status, 3, planned.stderr)
  assert.match(planned.stderr, named)
  const plan = await home.run(['open', '1', '--name', 'less', '--dry-run', '--json'])
  assert.equal(plan.status, 3)
  assert.deepEqual((JSON.parse(plan.stdout) as { missing: unknown }).missing, lost)
  // Nothing is restored then, so that nothing of it is missing.
  await well(home, 'open', '1', '--name', 'less', '--dry-run', '--no-restore')

  await using _gone = removing(home, 'less')
  const opened = await home.run(['open', '1', '--name', 'less'])
  assert.equal(opened.status, 3, opened.stderr)
  assert.match(opened.stderr, named)
  assert.equal(await printedCommand(opened.stdout)('ls -A; cat fit.C'), 'fit.C\none\n')
})

async function damageLargestPack({ logbook }: TestHome): Promise<void> {
  const folder = join(logbook, 'data')
  const paths = (await readdir(folder, { recursive: true })).map((name) => join(folder, name))
  const packs = await Promise.all(
    paths.map(async (path) => ({ path, bytes: await readFile(path).catch(() => Buffer.of()) })),
  )
  const [{ path, bytes } = assert.fail()] = packs.sort(
    (left, right) => right.bytes.length - left.bytes.length,
  )
  const middle = Math.floor(bytes.length / 2)
  bytes[middle] = (bytes[middle] ?? 0) ^ 1
  await writeFile(path, bytes)
}
