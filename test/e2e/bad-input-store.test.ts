// A damaged, lost or locked logbook: what is damaged is named with what it affects, all else still works, and nothing is changed.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, globSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { cp, mkdir, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, join } from 'node:path'
import { after, before, test } from 'node:test'
import { thisProcess } from '../../src/store/lock-holder.ts'
import { writeSealedJson } from '../../src/store/sealed-file.ts'
import { noise } from '../store-fixture.ts'
import { openTestHome, runVml, type TestHome, type VmlOutcome } from '../cli.ts'
import { openTestLogbook } from '../entries.ts'
import { vaultOf } from './open-vault.ts'
import { assertPrintable, assertRefused, digestOf } from './refusals.ts'

let home: TestHome
let work: string
/** What each test damages a copy of: two entries, of which the second has one more file. */
let whole: string

before(async () => {
  home = await openTestHome()
  work = join(home.home, 'work')
  whole = `${home.logbook}-whole`
  await mkdir(join(work, 'sub'), { recursive: true })
  writeFileSync(join(work, 'first'), noise(300_000, 'first'))
  ok(await home.run(['machine', 'add', 'here', 'local:']))
  ok(await home.run(['save', 'here', '-m', 'one', '--only', work]))
  const first = largePack()
  writeFileSync(join(work, 'sub', 'second'), noise(300_000, 'second'))
  ok(await home.run(['save', 'here', '-m', 'two', '--only', work]))
  packsOf = { first, second: largePack((path) => path !== first) }
  await cp(home.logbook, whole, { recursive: true })
})
after(async () => {
  await home[Symbol.asyncDispose]()
})

function ok(outcome: VmlOutcome): VmlOutcome {
  assert.equal(outcome.status, 0, outcome.stderr)
  return outcome
}

type Damage = 'flipped' | 'cut' | 'removed'
const damages: readonly Damage[] = ['flipped', 'cut', 'removed']

function damage(path: string, how: Damage): void {
  if (how === 'removed') return rmSync(path)
  chmodSync(path, 0o600)
  // More than the length of a pack's header, so that a blob is hit.
  if (how === 'cut') return truncateSync(path, statSync(path).size >> 1)
  const content = readFileSync(path)
  // Of a key file the part that opens something; the middle of any other.
  const at = path.includes('/keys/') ? content.indexOf('"data":"') + 20 : content.length >> 1
  content[at] = (content[at] ?? 0) ^ 0xff
  writeFileSync(path, content)
}

/** A fresh copy of the logbook, which is the default one of the home. */
async function freshCopy(): Promise<void> {
  await rm(home.logbook, { recursive: true })
  await cp(whole, home.logbook, { recursive: true })
}

/** The first file of the kind for which `is` holds, in order of name. */
function pick(kind: string, is: (path: string) => boolean = () => true): string {
  const found = globSync(`${kind}/**/*`, { cwd: home.logbook })
    .map((name) => join(home.logbook, name))
    .toSorted()
    .find((path) => statSync(path).isFile() && is(path))
  return found ?? assert.fail(`no ${kind}`)
}

const largePack = (is: (path: string) => boolean = () => true) =>
  pick('data', (path) => statSync(path).size > 200_000 && is(path))

const nameOf = (path: string) => basename(path).slice(0, 8)

/** The pack that holds the content of one of the two files: the one that was not there before the file was saved. */
let packsOf: Readonly<Record<'first' | 'second', string>>

for (const how of damages) {
  test(`a pack that was ${how}: check names it with entries and paths, and what it does not hold still comes back`, async () => {
    await freshCopy()
    const pack = packsOf.second
    damage(pack, how)
    const before = digestOf(home.logbook)
    const check = await home.run(['check', '--read-data'])
    assertRefused(check, { status: 20, saying: new RegExp(`damaged .*pack ${nameOf(pack)}`) })
    assert.match(check.stdout, new RegExp(`affects #2: .*${work}/sub/second`))
    assert.doesNotMatch(check.stdout, /affects #1/)
    ok(await home.run(['log']))
    const target = join(home.home, 'out')
    ok(await home.run(['restore', '1', '--to', target]))
    assert.deepEqual(readFileSync(join(target, work, 'first')), noise(300_000, 'first'))
    await rm(target, { recursive: true })
    const refused = await home.run(['restore', '2', '--to', target])
    assertRefused(refused, { status: 20, saying: /Cannot read/ })
    assertRefused(await home.run(['cat', `2:${work}/sub/second`]), { status: 20, saying: /Cannot read/ })
    await rm(target, { recursive: true, force: true })
    assert.equal(digestOf(home.logbook), before)
  })

  test(`an index that was ${how}: check says what it affects, and nothing is taken for whole`, async () => {
    await freshCopy()
    const index = pick('index')
    damage(index, how)
    const before = digestOf(home.logbook)
    const check = await home.run(['check'])
    const named =
      how === 'removed' ? /damaged .*(tree|blob) [0-9a-f]{8}: No index names it/ : /damaged .*index/
    assertRefused(check, { status: 20, saying: named })
    if (how !== 'removed') assert.match(check.stdout, new RegExp(`index ${nameOf(index)}`))
    assert.match(check.stdout, /affects #[12]: \//)
    // The log itself needs none.
    const log = ok(await home.run(['log']))
    assertPrintable(log)
    assert.match(log.stdout, /#2[^]*#1/)
    assert.equal(digestOf(home.logbook), before)
  })

  test(`a snapshot that was ${how}: the other entries are shown and restored`, async () => {
    await freshCopy()
    // Only its own bytes tell what a computer that never saw the entry knows.
    await rm(join(home.home, '.cache/vml/catalog'), { recursive: true, force: true })
    const [second = ''] = await snapshotsByTitle('two')
    await rm(join(home.home, '.cache/vml/catalog'), { recursive: true, force: true })
    damage(second, how)
    const before = digestOf(home.logbook)
    const check = await home.run(['check'])
    // That there was one is not known to anybody once it is gone, as with every restic repository.
    if (how === 'removed') assert.equal(check.status, 0)
    else assertRefused(check, { status: 20, saying: new RegExp(`snapshot ${nameOf(second)}`) })
    const log = ok(await home.run(['log']))
    assert.match(log.stdout, /#1/)
    assert.doesNotMatch(log.stdout, /#2/)
    if (how !== 'removed')
      assert.match(log.stderr, new RegExp(`snapshot ${nameOf(second)}.*vml check --repair`))
    assertPrintable(log)
    const target = join(home.home, 'out')
    ok(await home.run(['restore', '1', '--to', target]))
    await rm(target, { recursive: true })
    // One that may be the damaged one is not called absent.
    const status = how === 'removed' ? 4 : 20
    assertRefused(await home.run(['show', '2']), { status, saying: /Cannot find entry "2"/ })
    assert.equal(digestOf(home.logbook), before)
  })

  test(`a key file that was ${how}: the other key opens, and the damaged one is named`, async () => {
    await freshCopy()
    for (const key of globSync('keys/*', { cwd: home.logbook })) {
      await freshCopy()
      const path = join(home.logbook, key)
      damage(path, how)
      const before = digestOf(home.logbook)
      const byEither = { env: { VML_PASSWORD_FILE: home.passwordFile } }
      ok(await home.run(['log'], byEither))
      const check = await home.run(['check'], byEither)
      if (how === 'removed') assert.equal(check.status, 0)
      else assertRefused(check, { status: 20, saying: new RegExp(`damaged .*key ${nameOf(path)}`) })
      assert.equal(digestOf(home.logbook), before)
    }
    await freshCopy()
    for (const key of globSync('keys/*', { cwd: home.logbook })) damage(join(home.logbook, key), how)
    const none = await home.run(['log'], { env: { VML_PASSWORD_FILE: home.passwordFile } })
    assertRefused(none, {
      status: 20,
      saying: /key file/,
      secrets: ['recovery key for tests'],
    })
  })

  test(`a config that was ${how} is named, and nobody is told to make a new logbook over it`, async () => {
    await freshCopy()
    damage(join(home.logbook, 'config'), how)
    const before = digestOf(home.logbook)
    for (const args of [['check'], ['save', 'here', '--only', work]]) {
      const outcome = await home.run(args)
      assertRefused(outcome, { status: 20, saying: /config[^]*Nothing was changed[^]*copy of the logbook/ })
    }
    const init = await home.run(['init', home.logbook, '--password-file', home.passwordFile])
    assert.equal(init.status, 5, init.stderr)
    assert.equal(digestOf(home.logbook), before)
  })
}

test('a save over a logbook that lost an index, or a pack of contents or of folders, is whole', async () => {
  await freshCopy()
  const folders = pick('data', (path) => statSync(path).size < 10_000)
  for (const path of [pick('index'), packsOf.first, folders]) {
    await freshCopy()
    rmSync(path)
    ok(await home.run(['save', 'here', '-m', 'again', '--only', work]))
    const target = join(home.home, 'out')
    ok(await home.run(['restore', '@latest', '--to', target]))
    assert.deepEqual(readFileSync(join(target, work, 'first')), noise(300_000, 'first'))
    assert.deepEqual(readFileSync(join(target, work, 'sub/second')), noise(300_000, 'second'))
    await rm(target, { recursive: true })
  }
})

test('a catalogue that is no database is made anew', async () => {
  await freshCopy()
  const folder = join(home.home, '.cache/vml/catalog')
  ok(await home.run(['log']))
  for (const name of globSync('*', { cwd: folder })) writeFileSync(join(folder, name), noise(8192, name))
  const log = ok(await home.run(['log']))
  assert.match(log.stdout, /#2[^]*#1/)
  assertPrintable(log)
})

test('a logbook that another host holds alone is refused, looked at, and not changed', async () => {
  await freshCopy()
  await placeLock({ hostname: 'elsewhere', pid: 4242, exclusive: true })
  const before = digestOf(home.logbook)
  for (const args of [
    ['save', 'here', '--only', work],
    ['check'],
    ['rm', '1', '--yes'],
    ['edit', '1', '-m', 'x'],
  ])
    assertRefused(await home.run(args), {
      status: 11,
      saying: /process 4242 of .* on "elsewhere" holds it alone/,
    })
  ok(await home.run(['log']))
  ok(await home.run(['check', '--no-lock']))
  ok(await home.run(['restore', '1', '--to', join(home.home, 'out')]))
  await rm(join(home.home, 'out'), { recursive: true })
  assert.equal(digestOf(home.logbook), before)
})

test('a lock of a process that is gone holds nobody up', async () => {
  const gone = spawn('true')
  await once(gone, 'exit')
  // As VML writes it: which kernel, which process.
  const mark = { ...thisProcess().process, started: '1' }
  await freshCopy()
  await placeLock({ hostname: hostname(), pid: gone.pid ?? 0, exclusive: true, vml: mark })
  ok(await home.run(['save', 'here', '-m', 'after', '--only', work]))
  assert.deepEqual(globSync('locks/*', { cwd: home.logbook }), [])
  ok(await home.run(['check']))
})

test('a lock that cannot be read is no reason to go on', async () => {
  await freshCopy()
  writeFileSync(join(home.logbook, 'locks', 'a'.repeat(64)), 'no lock')
  assertRefused(await home.run(['save', 'here', '--only', work]), {
    status: 11,
    saying: /lock aaaaaaaa cannot be read/,
  })
  assertRefused(await home.run(['check']), { status: 11, saying: /vml check --no-lock/ })
  assert.match(ok(await home.run(['check', '--no-lock'])).stdout, /notice .*lock aaaaaaaa/)
})

test('two saves at once both end well, and each entry can be named', async () => {
  await freshCopy()
  const both = await Promise.all(
    ['left', 'right'].map((title) => home.run(['save', 'here', '-m', title, '--only', work])),
  )
  both.forEach(ok)
  const log = ok(await home.run(['log', '--json']))
  const titles = ['left', 'right', 'one', 'two']
  for (const title of titles) assert.match(log.stdout, new RegExp(`"${title}"`))
  const numbers = both.map(({ stdout }) => /#(\d+)/.exec(stdout)?.[1] ?? '')
  const shown = await Promise.all(numbers.map((number) => home.run(['show', number])))
  // One computer gives two numbers; two computers may take the same one, which is then refused as ambiguous.
  assert.deepEqual(
    shown.map(({ status }) => status),
    new Set(numbers).size === 2 ? [0, 0] : [4, 4],
  )
  ok(await home.run(['check', '--read-data']))
})

test('two computers that save at once lose nothing, and a number that both took is refused', async () => {
  await freshCopy()
  const other = join(home.home, 'other')
  await mkdir(other)
  const env = { VML_LOGBOOK: home.logbook, VML_PASSWORD_FILE: home.passwordFile }
  const there = (args: readonly string[]) => runVml(args, { home: other, env })
  ok(await there(['machine', 'add', 'there', 'local:']))
  const both = await Promise.all([
    home.run(['save', 'here', '--only', work]),
    there(['save', 'there', '--only', work]),
  ])
  both.forEach(ok)
  for (const { stdout } of both) {
    const [, number = '', id = ''] = /#(\d+)  ([0-9a-f]{8})/.exec(stdout) ?? []
    ok(await home.run(['show', id]))
    const byNumber = await home.run(['show', number])
    if (byNumber.status !== 0)
      assertRefused(byNumber, { status: 4, saying: new RegExp(`Cannot tell which entry "${number}" is`) })
  }
  ok(await home.run(['check', '--read-data']))
})

/** A lock file as another program wrote it. */
async function placeLock(lock: { hostname: string; pid: number; exclusive: boolean; vml?: unknown }) {
  const time = new Date().toISOString()
  await writeSealedJson(await vaultOf(home), 'lock', { time, username: 'ann', uid: 1, gid: 1, ...lock })
}

async function snapshotsByTitle(title: string): Promise<string[]> {
  await using logbook = await openTestLogbook(home)
  const paths: string[] = []
  for await (const snapshot of logbook.repository.snapshots())
    if (snapshot.description === title) paths.push(join(home.logbook, 'snapshots', snapshot.id))
  return paths
}
