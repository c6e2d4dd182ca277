// The commands that look, edit and remove, run as a user runs them.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { promisify } from 'node:util'
import { listEntries } from '../engine/entries.ts'
import { openTestHome, runVmlBytes, type TestHome } from '../../test/cli.ts'
import { addEntry, openTestLogbook } from '../../test/entries.ts'
import { resticProgram } from '../../test/restic-peer.ts'

const run = promisify(execFile)
let home: TestHome
const ids: string[] = []

before(async () => {
  home = await openTestHome()
  const base = { machine: 'lab', project: 'thesis' }
  const first = await addEntry(home, {
    ...base,
    title: 'fit v1',
    note: 'first\nsecond',
    tags: ['paper'],
    at: '2026-11-01T10:00:00Z',
    files: {
      '/home/lab/fit.C': 'one\n',
      '/home/lab/data/a.root': 'A',
      '/home/lab/\xff\n': 'odd',
      '/etc/motd': 'hi',
    },
    variables: { EDITOR: 'vi' },
    packages: [{ name: 'libfoo', version: '1.0-1', architecture: 'amd64' }],
  })
  const second = await addEntry(home, {
    ...base,
    title: 'fit v2',
    at: '2026-11-02T10:00:00Z',
    files: { '/home/lab/fit.C': 'two\n', '/home/lab/data/a.root': 'A', '/etc/motd': 'hi' },
    variables: { EDITOR: 'vim' },
    packages: [{ name: 'libfoo', version: '1.0-2', architecture: 'amd64' }],
  })
  const third = await addEntry(home, {
    title: 'web \x1b[31mred',
    machine: 'web',
    at: '2026-11-03T10:00:00Z',
    files: { '/home/lab/index.html': '<p>' },
  })
  const safety = await addEntry(home, {
    title: 'before restore',
    kind: 'safety',
    at: '2026-11-04T10:00:00Z',
    files: { '/home/lab/fit.C': 'three\n' },
  })
  ids.push(...[first, second, third, safety].map((snapshot) => snapshot.id))
})
after(async () => {
  await home[Symbol.asyncDispose]()
})

test('log shows entries by day, newest first, and escapes what a terminal would obey', async () => {
  const { stdout, status } = await home.run(['log'])
  assert.equal(status, 0)
  assert.deepEqual(
    [...stdout.matchAll(/#(\d)/g)].map(([, number]) => number),
    ['4', '3', '2', '1'],
  )
  assert.match(stdout, /2026-11-01\n\s+#1 {2}10:00 {2}lab {2}fit v1 {2}\{thesis\} \+paper/)
  assert.ok(!stdout.includes('\x1b'))
  assert.match(stdout, /web \\x1b\[31mred/)
})

test('log filters by machine, project, tag, time, text and count', async () => {
  assert.deepEqual(await numbers('web'), [3])
  assert.deepEqual(await numbers('--machine', 'lab', '--no-safety'), [2, 1])
  assert.deepEqual(await numbers('--project', 'thesis', '-n', '1'), [2])
  assert.deepEqual(await numbers('--tag', 'paper'), [1])
  assert.deepEqual(await numbers('--since', '2026-11-03'), [4, 3])
  assert.deepEqual(await numbers('--grep', 'SECOND'), [1])
})

test('ls and cat give names and bytes as they were', async () => {
  const { stdout } = await home.run(['ls', '1:/home/lab', '--recursive'])
  assert.deepEqual(stdout.trimEnd().split('\n'), [
    '/home/lab/data/',
    '/home/lab/data/a.root',
    '/home/lab/fit.C',
    '/home/lab/\\xff\\n',
  ])
  assert.equal((await home.run(['ls', '1'])).stdout, 'etc/\nhome/\n')
  assert.match(
    (await home.run(['ls', '-l', '1:/home/lab/fit.C'])).stdout,
    /^-rw-r--r-- lab +lab +4 .* \/home\/lab\/fit\.C\n$/,
  )
  const odd = await runVmlBytes(['cat', '1:/home/lab/\\xff\\n'], { home: home.home })
  assert.deepEqual(odd.stdout, Buffer.from('odd'))
})

test('ls without a path begins at the deepest folder that holds everything, and for programs at the root', async () => {
  assert.equal((await home.run(['ls', '3'])).stdout, '/home/lab:\nindex.html\n')
  assert.equal((await home.run(['ls', '3:/'])).stdout, 'home/\n')
  const [first] = parsed((await home.run(['ls', '3', '--json'])).stdout, 'files')
  assert.equal(first?.['path'], '/home')
})

test('show tells the facts, the variables, the packages and the history', async () => {
  assert.match(
    (await home.run(['show', 'thesis@-1'])).stdout,
    /#1 {2}fit v1\n {4}first\n {4}second[^]*Tiny Linux 1[^]*1 package \(dpkg\)/,
  )
  assert.equal((await home.run(['show', '1', '--env'])).stdout, 'EDITOR=vi\n')
  assert.equal((await home.run(['show', '1', '--packages'])).stdout, 'libfoo 1.0-1 amd64\n')
  assert.equal((await home.run(['show', '1', '--history'])).stdout, 'make fit\n')
})

test('find tells in which entries a path is and when it changed', async () => {
  const { stdout } = await home.run(['find', 'fit*', '--history', '--json'])
  const [path] = parsed(stdout, 'paths')
  assert.equal(path?.['path'], '/home/lab/fit.C')
  assert.deepEqual(
    asList(path?.['versions']).map((version) => asList(version['entries']).map((entry) => entry['number'])),
    [[1], [2], [4]],
  )
  assert.match((await home.run(['find', '/home/**/a.root'])).stdout, /a\.root {2}lab #1–#2\n/)
  assert.match((await home.run(['find', '\\xff*'])).stdout, /gone since #2/)
  assert.equal((await home.run(['find', 'nothing*'])).status, 4)
})

test('diff speaks of packages, variables and files, and of lines where asked', async () => {
  const { stdout, status } = await home.run(['diff', '1', '2', '--text', '--exit-code'])
  assert.equal(status, 21)
  const order = ['#1 → #2', 'libfoo:amd64', 'EDITOR=vi\n', '/home/lab/fit.C', '-one', '+two']
  const places = order.map((text) => stdout.indexOf(text))
  assert.deepEqual(
    places,
    places.toSorted((a, b) => a - b),
    stdout,
  )
  assert.ok(!places.includes(-1), stdout)
  assert.equal((await home.run(['diff', '1', '1', '--exit-code'])).status, 0)
  assert.equal((await home.run(['diff', '1:/home/lab/data', '2', '--exit-code'])).status, 0)
})

test('status tells the last save of each machine and what the logbook takes up', async () => {
  const { stdout } = await home.run(['status', '--json'])
  const machines = parsed(stdout, 'machines')
  assert.deepEqual(
    machines.map(({ machine, entries, safety_entries: safety }) => [machine, entries, safety]),
    [
      ['lab', 2, 1],
      ['web', 1, 0],
    ],
  )
})

test('check reads every byte and names what is damaged with the entries it affects', async () => {
  const whole = await home.run(['check', '--read-data', '--json'])
  assert.equal(whole.status, 0, whole.stderr)
  assert.match(whole.stdout, /"message_type":"summary".*"num_errors":0/)
})

test('edit, stock restic tag and reindex leave id and number as they are', async () => {
  const { status } = await home.run([
    'edit',
    '2',
    '-m',
    'fit v2, final',
    '--tag',
    '+final,-draft',
    '--project',
    '',
  ])
  assert.equal(status, 0)
  const entry = await entryByNumber(2)
  assert.equal(entry?.id, ids[1])
  assert.notEqual(entry?.snapshot.id, ids[1])
  assert.deepEqual([entry?.title, entry?.tags, entry?.project], ['fit v2, final', ['final'], undefined])

  await run(resticProgram('0.14'), [
    '-q',
    '-r',
    home.logbook,
    '--password-file',
    home.passwordFile,
    'tag',
    '--add',
    'stock',
  ])
  const tagged = await entryByNumber(2)
  assert.equal(tagged?.id, ids[1])
  assert.deepEqual(tagged?.tags, ['final', 'stock'])
  // restic 0.14 drops the description: what was first saved is shown again.
  assert.match(tagged?.title ?? '', /^fit v2/)

  const before = (await home.run(['log', '--json'])).stdout
  assert.equal((await home.run(['reindex'])).status, 0)
  assert.equal((await home.run(['log', '--json'])).stdout, before)
  await run(resticProgram('0.14'), [
    '-q',
    '-r',
    home.logbook,
    '--password-file',
    home.passwordFile,
    'tag',
    '--set',
    'bare',
  ])
  const bare = await entryByNumber(1)
  assert.deepEqual([bare?.id, bare?.project, bare?.kind], [ids[0], 'thesis', 'environment'])
})

test('a catalogue that is damaged or deleted is made again without a word', async () => {
  const folder = join(home.home, '.cache/vml/catalog')
  const before = (await home.run(['log', '--json'])).stdout
  for (const name of await readdir(folder))
    await writeFile(join(folder, name), 'no database at all, but long enough')
  const again = await home.run(['log', '--json'])
  assert.deepEqual([again.stdout, again.stderr], [before, ''])
  await rm(folder, { recursive: true })
  assert.equal((await home.run(['log', '--json'])).stdout, before)
})

test('an edit that was cut off shows its entry once, in the newer form', async () => {
  await using logbook = await openTestLogbook(home)
  const entry = (await listEntries(logbook)).find((each) => each.number === 3)
  assert.ok(entry)
  const { id, ...fields } = await logbook.repository.readSnapshot(entry.snapshot.id)
  await using writer = await logbook.repository.beginWrite()
  await writer.commit({
    ...fields,
    original: fields.original ?? id,
    tags: [...fields.tags, 'vml:rev=9'],
    description: 'newer',
  })
  const both = (await listEntries(logbook)).filter((each) => each.number === 3)
  assert.deepEqual(
    both.map(({ title, twins }) => [title, twins.length]),
    [['newer', 1]],
  )
})

test('rm shows a plan, removes only what it names, and its number is not given again', async () => {
  const planned = await home.run(['rm', '3..4', '--dry-run'])
  assert.match(planned.stdout, /Would remove #3[^]*Would remove #4/)
  assert.equal((await home.run(['rm', '3..4', '--yes'])).status, 0)
  const { stdout } = await home.run(['log', '--json'])
  assert.deepEqual(
    parsed(stdout, 'entries').map((entry) => entry['number']),
    [2, 1],
  )
  await addEntry(home, { title: 'next', at: '2026-11-06T10:00:00Z', files: {} })
  assert.equal((await entryByNumber(5))?.title, 'next')
  assert.equal((await home.run(['check', '--read-data'])).status, 0)
})

async function numbers(...args: string[]) {
  const { stdout } = await home.run(['log', '--json', ...args])
  return parsed(stdout, 'entries').map((entry) => entry['number'])
}

async function entryByNumber(number: number) {
  await using logbook = await openTestLogbook(home)
  return (await listEntries(logbook)).find((entry) => entry.number === number)
}

function parsed(json: string, key: string): readonly Record<string, unknown>[] {
  const value: unknown = JSON.parse(json)
  assert.ok(typeof value === 'object' && value !== null)
  return asList(Object.fromEntries(Object.entries(value))[key])
}

function asList(value: unknown): readonly Record<string, unknown>[] {
  assert.ok(Array.isArray(value))
  return value.map((item: unknown) => {
    assert.ok(typeof item === 'object' && item !== null)
    return Object.fromEntries(Object.entries(item))
  })
}
