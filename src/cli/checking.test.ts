import assert from 'node:assert/strict'
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openTestHome, type TestHome } from '../../test/cli.ts'
import { addEntry } from '../../test/entries.ts'
import { noise } from '../../test/store-fixture.ts'
import { formatBytes, plural } from './format.ts'

/** Files of a folder of the logbook, larger ones first. */
function filesIn(home: TestHome, folder: string): string[] {
  const base = join(home.logbook, folder)
  return readdirSync(base, { recursive: true, encoding: 'utf8' })
    .map((name) => join(base, name))
    .filter((path) => statSync(path).isFile())
    .sort((left, right) => statSync(right).size - statSync(left).size)
}

function flip(path: string, at: number): void {
  const data = readFileSync(path)
  data[at] = (data[at] ?? 0) ^ 1
  writeFileSync(path, data)
}

async function homeWithEntry(): Promise<TestHome> {
  const home = await openTestHome()
  await addEntry(home, {
    title: 'large and small',
    at: '2026-11-10T10:00:00Z',
    files: {
      '/home/lab/large.bin': noise(600_000, 'large').toString('latin1'),
      '/home/lab/small.txt': 'small\n',
    },
  })
  return home
}

test('a repair saves what is right, moves damaged files aside and names what is lost; the log shows it (G6)', async () => {
  await using home = await homeWithEntry()
  const [pack = ''] = filesIn(home, 'data')
  flip(pack, 3000)
  const structure = await home.run(['check'])
  assert.equal(structure.status, 0, structure.stderr)
  assert.match(structure.stderr, /structure.*no content was read.*vml check --read-data/i)
  const checked = await home.run(['check', '--read-data'])
  assert.equal(checked.status, 20, checked.stderr)
  assert.match(checked.stdout, /affects #1: \/home\/lab\/large\.bin/)
  assert.match(checked.stderr, /check --repair --dry-run/)
  assert.match(checked.stderr, /do not save before that/)

  const planned = await home.run(['check', '--repair', '--dry-run'])
  assert.equal(planned.status, 20)
  assert.match(planned.stdout, /entry #1 large and small: 1 file \(586 KiB\) lost/)
  assert.equal((await home.run(['check', '--read-data'])).stdout, checked.stdout)
  assert.equal((await home.run(['check', '--repair'])).status, 2)

  const repaired = await home.run(['check', '--repair', '--yes', '--json'])
  assert.equal(repaired.status, 3, repaired.stderr)
  const summary = repaired.stdout.trim().split('\n').at(-1) ?? ''
  assert.match(summary, /"repaired":true.*"loses":true/)
  assert.deepEqual(filesIn(home, 'damaged').filter((path) => path.endsWith(pack.slice(-64))).length, 1)
  assert.equal((await home.run(['check', '--read-data'])).status, 0)
  assert.match((await home.run(['log'])).stdout, /#1 .*large and small {2}\[partial\]/)
  assert.equal((await home.run(['cat', '1:/home/lab/small.txt'])).stdout, 'small\n')
  assert.equal((await home.run(['cat', '1:/home/lab/large.bin'])).status, 4)
  assert.match((await home.run(['cat', '1:/.vml/lost.json'])).stdout, /"path": "\/home\/lab\/large\.bin"/)
  assert.match((await home.run(['show', '1'])).stdout, /Lost to damage\n.*large\.bin/)
  const again = await home.run(['check', '--repair', '--yes'])
  assert.equal(again.status, 0)
  assert.match(again.stderr, /Nothing to repair[^]*#1 stays without 1 file[^]*vml copy --all --from/)
})

test('status names the folder that a repair kept damaged files in, how large it is and what to do, until it is gone', async () => {
  await using home = await homeWithEntry()
  const before = await home.run(['status'])
  assert.doesNotMatch(before.stdout, /damaged/)
  const [pack = ''] = filesIn(home, 'data')
  flip(pack, 3000)
  assert.equal((await home.run(['check', '--repair', '--yes'])).status, 3)
  const place = join(home.logbook, 'damaged')
  const kept = filesIn(home, 'damaged')
  const bytes = kept.reduce((sum, path) => sum + statSync(path).size, 0)

  const told = await home.run(['status'])
  assert.equal(told.status, 0, told.stderr)
  const line = told.stdout.split('\n').find((each) => each.includes(place)) ?? ''
  assert.ok(line.includes(plural(kept.length, 'file')) && line.includes(formatBytes(bytes)), told.stdout)
  assert.match(line, /vml check --read-data.*remove that folder/)
  const { logbook } = JSON.parse((await home.run(['status', '--json'])).stdout)
  assert.deepEqual(logbook.damaged_places, [{ path: place, files: kept.length, bytes, complete: true }])

  rmSync(place, { recursive: true })
  assert.deepEqual(JSON.parse((await home.run(['status', '--json'])).stdout).logbook.damaged_places, [])
})

test('a restore with --delete leaves what damage took alone, with and without the document of the entry', async () => {
  for (const alsoDocument of [false, true]) {
    await using home = await homeWithEntry()
    const folder = join(home.home, 'restored')
    assert.equal((await home.run(['restore', '1', '--to', folder])).status, 0)
    for (const pack of filesIn(home, 'data')) {
      // The large file's chunk comes first; the documents were stored before it, as the first blobs of their pack.
      const lost = statSync(pack).size > 500_000
      if (lost) flip(pack, statSync(pack).size - 100_000)
      if (lost && alsoDocument) flip(pack, 40)
    }
    assert.equal((await home.run(['check', '--repair', '--yes'])).status, 3)
    const document = await home.run(['cat', '1:/.vml/entry.json'])
    assert.equal(document.status, alsoDocument ? 4 : 0)
    const planned = await home.run(['restore', '1', '--to', folder, '--delete', '--dry-run', '--json'])
    assert.ok(planned.status === 0 || planned.status === 3, planned.stderr)
    assert.doesNotMatch(planned.stdout, /"action":\s*"(?:remove|delete)"[^}]*large\.bin/)
    const restored = await home.run(['restore', '1', '--to', folder, '--delete', '--yes'])
    assert.ok(restored.status === 0 || restored.status === 3, restored.stderr)
    assert.equal(statSync(join(folder, 'home/lab/large.bin')).size, 600_000)
  }
})

test('without an index nothing is lost: it is made anew from the packs', async () => {
  await using home = await homeWithEntry()
  for (const index of filesIn(home, 'index')) rmSync(index)
  const read = await home.run(['cat', '1:/home/lab/small.txt'])
  assert.equal(read.status, 20, read.stderr)
  assert.match(read.stderr, /vml check --repair/)
  const repaired = await home.run(['check', '--repair', '--skip-data', '--yes'])
  assert.equal(repaired.status, 0, repaired.stderr)
  assert.match(repaired.stdout, /packs that no index names: named again/)
  assert.equal((await home.run(['check', '--read-data'])).status, 0)
})

test('damaged and lost files that are put back from a copy of the files are whole again, without a repair', async () => {
  await using home = await homeWithEntry()
  const damaged = ['data', 'index', 'snapshots'].map((folder) => {
    const [path = ''] = filesIn(home, folder)
    return { path, bytes: readFileSync(path) }
  })
  for (const { path } of damaged) flip(path, 60)
  assert.equal((await home.run(['check', '--read-data'])).status, 20)
  for (const { path, bytes } of damaged) writeFileSync(path, bytes)
  const { status, stderr } = await home.run(['check', '--read-data'])
  assert.equal(status, 0, stderr)
})

test("this computer's key goes on to open the logbook when its file is put back under its right name", async () => {
  await using home = await homeWithEntry()
  for (const key of filesIn(home, 'keys')) writeFileSync(key, `${readFileSync(key, 'utf8')} `)
  assert.equal((await home.run(['check'])).status, 20)
  assert.equal((await home.run(['check', '--repair', '--yes'])).status, 0)
  assert.equal((await home.run(['check', '--read-data'])).status, 0)
})

test('a sample of the packs is read, and what is no sample is refused', async () => {
  await using home = await homeWithEntry()
  const { status, stderr } = await home.run(['check', '--read-data-subset', '500MiB'])
  assert.equal(status, 0)
  assert.match(stderr, /of 2 packs read.*what was read: vml check --read-data reads all/)
  assert.equal((await home.run(['check', '--read-data-subset', '1/7'])).status, 0)
  for (const typed of ['0%', '8/7', '1/300', 'all', '-1', '101%', ''])
    assert.equal((await home.run(['check', '--read-data-subset', typed])).status, 2, typed)
  assert.equal((await home.run(['check', '--read-data', '--read-data-subset', '1%'])).status, 2)
  assert.equal((await home.run(['check', '--dry-run'])).status, 2)
})

test('a lost config is told with what to do, and a repair changes nothing', async () => {
  await using home = await homeWithEntry()
  flip(join(home.logbook, 'config'), 40)
  const { status, stderr } = await home.run(['check', '--repair', '--yes'])
  assert.equal(status, 20)
  assert.match(stderr, /Put that file back from a copy of the logbook/)
})
