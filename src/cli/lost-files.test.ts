// What the commands that look say of an entry that damage took something from.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { openTestHome, type TestHome } from '../../test/cli.ts'
import { noise } from '../../test/store-fixture.ts'
import { formatBytes } from './format.ts'

let home: TestHome
let folder: string
const largeBytes = 600_000
const small = 'small\n'

before(async () => {
  home = await openTestHome()
  folder = join(home.home, 'work')
  await mkdir(folder)
  await writeFile(join(folder, 'large.bin'), noise(largeBytes, 'large'))
  await writeFile(join(folder, 'small.txt'), small)
  symlinkSync('small.txt', join(folder, 'link'))
  await home.run(['machine', 'add', 'here', 'local:'])
  const saved = await home.run(['save', 'here', '--only', folder, '-m', 'whole'])
  assert.equal(saved.status, 0, saved.stderr)
  damageLargestPack()
  const repaired = await home.run(['check', '--repair', '--yes'])
  assert.equal(repaired.status, 3, repaired.stderr)
})
after(async () => {
  await home[Symbol.asyncDispose]()
})

function damageLargestPack(): void {
  const base = join(home.logbook, 'data')
  const [pack = ''] = readdirSync(base, { recursive: true, encoding: 'utf8' })
    .map((name) => join(base, name))
    .filter((path) => statSync(path).isFile())
    .sort((left, right) => statSync(right).size - statSync(left).size)
  const data = readFileSync(pack)
  const at = Math.floor(data.length / 2)
  data[at] = (data[at] ?? 0) ^ 1
  writeFileSync(pack, data)
}

async function json(args: readonly string[]): Promise<Record<string, unknown>> {
  const { stdout, stderr } = await home.run([...args, '--json'])
  const document: unknown = JSON.parse(stdout || assert.fail(stderr))
  assert.ok(typeof document === 'object' && document !== null)
  return { ...document }
}

test('log and show count what can be restored, and name what damage took and why the entry is partial (G6)', async () => {
  const log = (await home.run(['log'])).stdout
  const lost = `1 file, ${formatBytes(largeBytes)}, lost to damage`
  assert.ok(log.includes(`[partial] 1 file ${formatBytes(small.length)} (${lost})`), log)
  const show = (await home.run(['show', '1'])).stdout
  assert.match(show, new RegExp(`^outcome +partial: ${lost}$`, 'm'))
  assert.match(
    show,
    new RegExp(`^files +1 file, .*1 link or special file; ${formatBytes(small.length)}$`, 'm'),
  )
  assert.match(show, /^Lost to damage\n.*large\.bin {2}/m)
  assert.doesNotMatch(show, /could not be read|^Problems/m)
  const [entry] = (await json(['log']))['entries'] as readonly Record<string, unknown>[]
  assert.deepEqual(entry?.['lost'], { files: 1, folders: 0, bytes: largeBytes })
})

test('with the lost file on the machine, diff and status do not call it equal', async () => {
  const args = ['diff', '1', 'now']
  const { stdout, status } = await home.run([...args, '--files', '--config', '--exit-code'])
  assert.equal(status, 3)
  assert.equal(stdout, '')
  const whole = (await home.run(args)).stdout
  assert.doesNotMatch(whole, /no difference/)
  assert.match(whole, /1 path lost to damage in #1/)
  assert.match(whole, /^Not compared\n.*large\.bin {2}lost to damage in #1$/m)
  assert.equal((await json(args))['identical'], false)
  await assertStatusTells()
})

test('with the lost file gone from the machine as well, diff and status still name it', async () => {
  await rm(join(folder, 'large.bin'))
  const { stdout } = await home.run(['diff', '1', 'now'])
  assert.match(stdout, /large\.bin {2}lost to damage in #1$/m)
  assert.doesNotMatch(stdout, /no difference/)
  const one = await home.run(['diff', `1:${join(folder, 'large.bin')}`, 'now', '--exit-code'])
  assert.equal(one.status, 3, one.stderr)
  assert.equal((await home.run(['diff', `1:${join(folder, 'small.txt')}`, 'now', '--exit-code'])).status, 0)
  assert.equal((await home.run(['diff', '1', '1', '--files', '--exit-code'])).status, 3)
  await assertStatusTells()
})

test('find does not call a path gone that damage took, or that a rule left out', async () => {
  const large = join(folder, 'large.bin')
  assert.match(
    (await home.run(['find', 'large.bin'])).stdout,
    /large\.bin {2}here {2}lost to damage in #1\n$/,
  )
  await writeFile(large, 'again')
  assert.equal((await home.run(['save', 'here', '--only', folder])).status, 0)
  assert.match((await home.run(['find', 'large.bin'])).stdout, /large\.bin {2}here #2\n$/)
  await home.run(['save', 'here', '--only', folder, '--exclude', '*.bin'])
  await rm(large)
  await home.run(['save', 'here', '--only', folder])
  const { stdout } = await home.run(['find', 'large.bin', '--history'])
  const told = [...stdout.matchAll(/^ {2}(#\d) +(lost to damage|excluded|not there|file)/gm)]
  assert.deepEqual(
    told.map(([, entry, what]) => `${entry} ${what}`),
    ['#1 lost to damage', '#2 file', '#3 excluded', '#4 not there'],
  )
})

test('a difference beside what could not be compared ends with the status of differences', async () => {
  await writeFile(join(folder, 'new.txt'), 'new')
  const { stdout, status } = await home.run(['diff', '1', 'now', '--exit-code'])
  assert.equal(status, 21)
  assert.match(stdout.split('\n')[0] ?? '', /1 path added.*; not compared: 1 path lost to damage in #1$/)
})

async function assertStatusTells(): Promise<void> {
  const { stdout, status } = await home.run(['status', 'here', '--exit-code'])
  assert.equal(status, 3, stdout)
  assert.match(
    stdout,
    /cannot tell of 1 path lost to damage in #1; nothing else has changed; see vml diff 1 now/,
  )
  assert.doesNotMatch(stdout, /nothing has changed/)
  const unsaved = (await json(['status', 'here']))['unsaved']
  assert.ok(typeof unsaved === 'object' && unsaved !== null && 'identical' in unsaved)
  assert.equal(unsaved.identical, false)
}
