// Handing over: ids and numbers hold whatever happens to an entry, secrets stay at home, and a bad file changes nothing.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openShare } from '../../src/app/share.ts'
import { isStored } from '../blobs.ts'
import { openTestHome, type TestHome, well } from '../cli.ts'
import { addEntry } from '../entries.ts'
import { resticProgram } from '../restic-peer.ts'

interface Line {
  readonly id: string
  readonly number: number
  readonly title: string
}

const at = (day: number) => `2026-11-0${day}T10:00:00Z`

test('an id and its number name the same entry after edit, restic tag, share, import, rm and reindex', async () => {
  await using home = await openTestHome()
  for (const day of [1, 2, 3])
    await addEntry(home, { title: `fit ${day}`, at: at(day), files: { '/home/lab/a': `${day}\n` } })
  const before = await log(home)

  // restic drops what it does not know, such as a title that was edited; what it rewrites stays the same entry.
  restic(home, 'tag', '--add', 'seen')
  await well(home, 'edit', '2', '-m', 'better fit', '--tag', 'paper')
  await well(home, 'rm', '1', '--yes')
  await well(home, 'reindex')
  const after = await log(home)
  assert.deepEqual(
    after.map(({ id, number }) => ({ id, number })),
    before.filter(({ number }) => number !== 1).map(({ id, number }) => ({ id, number })),
  )
  assert.equal((await well(home, 'cat', '2:/home/lab/a')).stdout, '2\n')
  assert.equal(after.find(({ number }) => number === 2)?.title, 'better fit')

  // The number of a removed entry is not given to another one.
  await addEntry(home, { title: 'next', at: at(4), files: { '/home/lab/a': '4\n' } })
  assert.deepEqual(
    (await log(home)).map(({ number }) => number),
    [4, 3, 2],
  )

  await well(home, 'share', '2', '-o', 'two.vml')
  await using other = await openTestHome()
  await well(other, 'import', join(home.home, 'two.vml'), '--yes')
  const [taken] = await log(other)
  assert.deepEqual(
    [taken?.id, taken?.number, taken?.title],
    [before.find(({ number }) => number === 2)?.id, 2, 'better fit'],
  )
  assert.equal((await well(other, 'cat', `${taken?.id.slice(0, 8)}:/home/lab/a`)).stdout, '2\n')

  // A second time it is there already.
  assert.match((await well(other, 'import', join(home.home, 'two.vml'), '--yes')).stdout, /already there/)
  assert.equal((await log(other)).length, 1)
})

test('a number that is taken is given anew on import, and it says so', async () => {
  await using sender = await openTestHome()
  await using receiver = await openTestHome()
  await addEntry(sender, { title: 'theirs', at: at(1), files: { '/home/lab/a': 'theirs\n' } })
  await addEntry(receiver, { title: 'mine', at: at(1), files: { '/home/lab/a': 'mine\n' } })
  await well(sender, 'share', '1', '-o', 'one.vml')
  const imported = await well(receiver, 'import', join(sender.home, 'one.vml'), '--yes')
  assert.match(imported.stdout, /^#2 .*there it was #1.*theirs$/m)
  assert.equal((await well(receiver, 'cat', '1:/home/lab/a')).stdout, 'mine\n')
  assert.equal((await well(receiver, 'cat', '2:/home/lab/a')).stdout, 'theirs\n')
  restic(receiver, 'check', '--read-data')
})

test('a share under a password opens with it alone', async () => {
  await using sender = await openTestHome()
  await using receiver = await openTestHome()
  await addEntry(sender, { title: 'fit', at: at(1), files: { '/home/lab/a': 'one\n' } })
  await writeFile(join(sender.home, 'pw'), 'correct horse battery\n')
  await writeFile(join(sender.home, 'wrong'), 'another horse battery\n')
  await well(sender, 'share', '1', '-o', 'one.vml', '--share-password-file', 'pw')
  const file = join(sender.home, 'one.vml')
  for (const args of [[], ['--share-password-file', join(sender.home, 'wrong')]])
    assert.equal((await receiver.run(['import', file, '--yes', ...args])).status, 12)
  assert.deepEqual(await log(receiver), [])
  await well(receiver, 'import', file, '--yes', '--share-password-file', join(sender.home, 'pw'))
  assert.equal((await log(receiver)).length, 1)
})

test('secrets stop a share; scrubbed, no byte of them is in the file', async () => {
  await using home = await openTestHome()
  const secrets = [
    'ghp_0123456789abcdefghijklmnopqrstuvwxyzAB',
    'tr0ub4dor-and-3',
    'very-private-key-bytes',
    'hunter2hunter2',
  ]
  const [token = '', password = '', key = '', variable = ''] = secrets
  await addEntry(home, {
    title: 'fit',
    at: at(1),
    files: {
      '/home/lab/a': 'one\n',
      '/home/lab/notes': `my token is ${token}\n`,
      '/home/lab/.bash_history': `make fit\nmysql --password=${password} -h db\nls\n`,
      '/home/lab/.ssh/id_ed25519': `-----BEGIN OPENSSH PRIVATE KEY-----\n${key}\n`,
    },
    variables: { EDITOR: 'vi', DB_PASSWORD: variable },
  })
  const refused = await home.run(['share', '1', '-o', 'fit.vml'])
  assert.equal(refused.status, 14)
  assert.equal(
    secrets.some((secret) => refused.stderr.includes(secret)),
    false,
  )

  await well(home, 'share', '1', '-o', 'fit.vml', '--scrub')
  const encoded = secrets.flatMap((secret) => [secret, Buffer.from(secret).toString('base64')])
  assert.equal(await isInShare(home, 'fit.vml', encoded), false)
  assert.equal(await isInShare(home, 'fit.vml', ['make fit']), true)

  // What this test looks with does find them.
  await well(home, 'share', '1', '-o', 'all.vml', '--with-secrets')
  for (const text of [token, password, key]) assert.equal(await isInShare(home, 'all.vml', [text]), true)

  await using receiver = await openTestHome()
  await well(receiver, 'import', join(home.home, 'fit.vml'), '--yes')
  assert.equal((await well(receiver, 'cat', '1:/home/lab/.bash_history')).stdout, 'make fit\nls\n')
  assert.equal((await receiver.run(['cat', '1:/home/lab/.ssh/id_ed25519'])).status, 4)
})

test('a share that is none, is cut off or was changed is refused with 20, and nothing is taken in', async () => {
  await using sender = await openTestHome()
  await using receiver = await openTestHome()
  await addEntry(sender, { title: 'fit', at: at(1), files: { '/home/lab/a': 'one\n' } })
  await well(sender, 'share', '1', '-o', 'one.vml')
  const whole = await readFile(join(sender.home, 'one.vml'))
  const bad = join(sender.home, 'bad.vml')
  const refuse = async (what: string) => {
    const outcome = await receiver.run(['import', bad, '--yes'])
    assert.equal(outcome.status, 20, `${what}: ${outcome.stderr}`)
    assert.deepEqual(await log(receiver), [], what)
  }
  await writeFile(bad, 'no share at all\n')
  await refuse('text')
  await writeFile(bad, '')
  await refuse('nothing')
  for (const share of [0.1, 0.5, 0.9]) {
    await writeFile(bad, whole)
    await truncate(bad, Math.floor(whole.length * share))
    await refuse(`cut off at ${share}`)
  }
  const packed = tarOf(sender.home, ['../evil', 'logbook/../../evil', '/tmp/evil'])
  await writeFile(bad, packed)
  await refuse('paths that lead out')
})

/** A tar with these names, by the system's own tar. */
function tarOf(folder: string, names: readonly string[]): Buffer {
  const rename = names.map((name, index) => [`f${index}`, name] as const)
  for (const [name] of rename) execFileSync('sh', ['-c', 'echo evil >"$1"', 'sh', join(folder, name)])
  return execFileSync('tar', [
    ...['-C', folder, '-P', '--format=ustar'],
    ...rename.map(([from, to]) => `--transform=s|^${from}$|${to}|`),
    ...['-cf', '-', ...rename.map(([from]) => from)],
  ])
}

async function isInShare(home: TestHome, name: string, texts: readonly string[]): Promise<boolean> {
  const folder = join(home.home, `unpacked-${name}`)
  execFileSync('sh', ['-c', 'mkdir -p "$1" && tar -C "$1" -xf "$2"', 'sh', folder, join(home.home, name)])
  const found = execFileSync('find', [folder, '-name', 'config', '-o', '-name', 'key', '-type', 'f'], {
    encoding: 'utf8',
  })
  const lines = found.trim().split('\n')
  const config = lines.find((line) => line.endsWith('/config')) ?? ''
  const passwordFile = lines.find((line) => line.endsWith('/key')) ?? ''
  await using share = await openShare(join(home.home, name), {
    password: undefined,
    askSecret: () => Promise.resolve(undefined),
  })
  return await isStored(share.repository, { location: config.replace(/\/config$/, ''), passwordFile }, texts)
}

async function log(home: TestHome): Promise<Line[]> {
  const { stdout } = await well(home, 'log', '--json')
  return (JSON.parse(stdout) as { entries: Line[] }).entries
}

function restic(home: TestHome, ...args: readonly string[]): void {
  execFileSync(
    resticProgram('0.19'),
    ['--repo', home.logbook, '--password-file', home.passwordFile, '--no-cache', ...args],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
}
