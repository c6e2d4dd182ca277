// Which machine `vml save` takes, and what it would read.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { promisify } from 'node:util'
import { openTestHome, type TestHome, vmlCommand, vmlEnvironment } from '../../test/cli.ts'

let home: TestHome
let folder: string

before(async () => {
  home = await openTestHome()
  folder = join(home.home, 'work')
  await mkdir(folder)
  await writeFile(join(folder, 'notes'), 'twelve bytes')
  await writeFile(join(folder, 'run.root'), 'left out')
})
after(async () => {
  await home[Symbol.asyncDispose]()
})

test('without a name the machine is the only one, or the one that the project names, else none', async () => {
  const none = await home.run(['save', '--dry-run'])
  assert.match(none.stderr, /Cannot tell which machine[^]*vml machine add/)
  await home.run(['machine', 'add', 'here', 'local:'])
  const only = await home.run(['save', '--only', folder, '--dry-run'])
  assert.equal(only.status, 0, only.stderr)
  assert.match(only.stderr, /machine here \(the only machine\)/)
  await home.run(['machine', 'add', 'other', 'local:'])
  const doubt = await home.run(['save', '--only', folder])
  assert.equal(doubt.status, 2)
  assert.match(doubt.stderr, /Name one: here, other/)
  const named = await home.run(['save', '--only', folder, '--dry-run'], { env: { VML_MACHINE: 'other' } })
  assert.match(named.stderr, /machine other \(VML_MACHINE\)/)
  await writeFile(join(folder, '.vml.toml'), 'machine = "here"\n')
  const project = await home.run(['save', '--only', folder, '--dry-run'], { cwd: folder })
  assert.match(project.stderr, /machine here \(\.\/\.vml\.toml\)/)
})

test('save --dry-run tells what would be read and left out, and stores nothing', async () => {
  const args = ['save', 'here', '--only', folder, '--exclude', '*.root', '--dry-run']
  const { status, stdout, stderr } = await home.run(args)
  assert.equal(status, 0, stderr)
  assert.match(stdout, /^ {2}read .*\/work\/notes \(12 B\)$/m)
  assert.match(stdout, /^ {2}leave out .*\/work\/run\.root: .*\*\.root/m)
  assert.doesNotMatch(stdout, /read .*run\.root/)
  assert.match(stdout, /leave out 1 path by rules; nothing was stored\n$/)
  const json: unknown = JSON.parse((await home.run([...args, '--json'])).stdout)
  assert.ok(typeof json === 'object' && json !== null && 'read' in json && Array.isArray(json.read))
  assert.ok(json.read.includes(join(folder, 'notes')))
  assert.notEqual((await home.run(['show', '1'])).status, 0)
})

test('save --dry-run lists files by path, and the largest folders with their sums', async () => {
  const many = join(home.home, 'many')
  for (const [name, count] of [
    ['b', 2],
    ['a', 25],
  ] as const) {
    await mkdir(join(many, name), { recursive: true })
    for (let index = 0; index < count; index++)
      await writeFile(join(many, name, String(index).padStart(2, '0')), 'x'.repeat(100 / count))
  }
  const { stdout } = await home.run(['save', 'here', '--only', many, '--dry-run'])
  const read = [...stdout.matchAll(/^ {2}read (.*) \(/gm)].map(([, path]) => path)
  assert.deepEqual(
    read,
    Array.from({ length: 20 }, (_, index) => join(many, 'a', String(index).padStart(2, '0'))),
  )
  assert.match(stdout, /^ {2}… and 7 more/m)
  assert.match(
    stdout,
    /Largest folders.*\n +100 B {2}.*many\/a {2}25 files\n +100 B {2}.*many\/b {2}2 files\n/,
  )
})

test('a save that is of other folders than the last entry says so before it begins', async () => {
  const first = await home.run(['save', 'here', '--only', folder])
  assert.equal(first.status, 0, first.stderr)
  assert.doesNotMatch(first.stderr, /was of/)
  const same = await home.run(['save', 'here', '--only', 'work', '--dry-run'])
  assert.doesNotMatch(same.stderr, /was of/)
  for (const more of [[], ['--full']]) {
    const bare = await home.run(['save', 'here', '--dry-run', ...more])
    assert.match(bare.stderr, /^ {2}#1 was of \S*\/work only \(--only\); this one is of the home$/m)
  }
})

test('a umask that takes even the own rights makes no file of a logbook that its owner cannot read', async () => {
  const own = await openTestHome()
  await using _closing = own
  await own.run(['machine', 'add', 'here', 'local:'])
  const words = [...vmlCommand, 'save', 'here', '--only', folder]
  await promisify(execFile)('sh', ['-c', 'umask 777; exec "$@"', 'sh', ...words], {
    env: vmlEnvironment({ home: own.home }),
  })
  const names = await readdir(join(own.logbook, 'snapshots'))
  assert.equal(names.length, 1)
  for (const name of await readdir(own.logbook, { recursive: true })) {
    const { mode } = await stat(join(own.logbook, name))
    assert.equal(mode & 0o400, 0o400, name)
  }
})
