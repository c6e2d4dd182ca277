// A damaged snapshot file: what this computer remembers of the entry goes on, with a word; what it does not know is not called absent.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openTestHome, type TestHome } from '../../test/cli.ts'
import { addEntry } from '../../test/entries.ts'
import { shortId } from '../model/ids.ts'

/** Two entries, known to the catalogue; the snapshot file of each of `damaged` has a flipped bit. */
async function openDamaged(damaged: readonly number[]): Promise<TestHome> {
  const home = await openTestHome()
  const ids: string[] = []
  for (const number of [1, 2]) {
    const at = `2026-11-0${number}T10:00:00Z`
    const { id } = await addEntry(home, {
      title: `of ${number}`,
      at,
      files: { '/home/lab/which': `${number}` },
    })
    ids.push(id)
  }
  assert.equal((await home.run(['log'])).status, 0)
  for (const number of damaged) {
    const path = join(home.logbook, 'snapshots', ids[number - 1] ?? '')
    const bytes = readFileSync(path)
    bytes[40] = (bytes[40] ?? 0) ^ 1
    writeFileSync(path, bytes)
  }
  return home
}

const forget = async (home: TestHome) => await rm(join(home.home, '.cache'), { recursive: true })

test('a restore of it says what is damaged and what to do, also to programs; after the repair it says nothing any more', async () => {
  await using home = await openDamaged([1])
  const to = join(home.home, 'to')
  const told =
    /The snapshot of #1 is damaged; going on with what this computer remembers of it: [^\n]*snapshot [0-9a-f]{8}[^\n]*vml check --repair/
  const restored = await home.run(['restore', '1', '--to', to, '--quiet'])
  assert.equal(restored.status, 0, restored.stderr)
  assert.match(restored.stderr, told)
  assert.equal(readFileSync(join(to, 'home/lab/which'), 'utf8'), '1')
  const program = await home.run(['restore', '1', '--to', to, '--json'])
  assert.equal(program.status, 0)
  const [warning] = program.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { message_type: string; error?: { message: string } })
    .filter(({ message_type: type }) => type === 'error')
  assert.match(warning?.error?.message ?? '', told)

  const repaired = await home.run(['check', '--repair', '--yes'])
  assert.equal(repaired.status, 0, repaired.stderr)
  const after = await home.run(['restore', '1', '--to', to])
  assert.deepEqual([after.status, /warning/.test(after.stderr)], [0, false])
})

test('where nothing is remembered of it, a name that is not found may be its own: that is damage, and never "not there"', async () => {
  await using home = await openDamaged([1])
  await home.run([
    'init',
    join(home.home, 'second'),
    '--like',
    home.logbook,
    '--password-file',
    home.passwordFile,
  ])
  for (const args of [
    ['restore', '1', '--to', join(home.home, 'to')],
    ['show', '1'],
    ['diff', '1', '2'],
    ['rm', '1', '--yes'],
    ['edit', '1', '-m', 'x'],
    ['share', '1', '-o', join(home.home, 'it.vml')],
    ['copy', '1', '--to', join(home.home, 'second')],
  ]) {
    await forget(home)
    const { status, stderr } = await home.run(args)
    assert.equal(status, 20, `${args.join(' ')}: ${stderr}`)
    assert.match(stderr, /An entry is left out[^\n]*vml check --repair/)
    assert.match(stderr, /Cannot find entry "1"[^\n]*1 entry[^\n]*damaged[^]*vml check --repair/)
  }
  await forget(home)
  assert.equal((await home.run(['restore', '2', '--to', join(home.home, 'to')])).status, 0)
  assert.equal((await home.run(['check', '--repair', '--yes'])).status, 0)
  const none = await home.run(['show', '7'])
  assert.equal(none.status, 4, none.stderr)
})

test('a log of which all is left out does not call the logbook new', async () => {
  await using home = await openDamaged([1, 2])
  await forget(home)
  const log = await home.run(['log'])
  assert.doesNotMatch(log.stderr, /No entry yet/)
  assert.match(log.stderr, /2 entries[^\n]*vml check --repair/)
})

test('a snapshot file is named as check names it', async () => {
  await using home = await openDamaged([2])
  const names = readdirSync(join(home.logbook, 'snapshots'))
  const { stderr } = await home.run(['show', '2'])
  const checked = await home.run(['check'])
  const [, id = ''] = /snapshot ([0-9a-f]{8})/.exec(stderr) ?? []
  assert.ok(names.some((name) => shortId(name) === id))
  assert.match(checked.stdout, new RegExp(`damaged {2}snapshot ${id}`))
})
