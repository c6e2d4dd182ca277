// What a damaged or lying catalogue can do: nothing. Commands answer and act as they do without one.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import test, { after, before } from 'node:test'
import { type CatalogRow, openCatalog } from '../catalog/catalog.ts'
import { planEdit, runEdit } from '../engine/edit.ts'
import { listEntries, type LoggedEntry, nextEntryNumber } from '../engine/entries.ts'
import { findEntry } from '../engine/look.ts'
import { planRemove, runRemove } from '../engine/remove.ts'
import { openTestHome, type TestHome } from '../../test/cli.ts'
import { seeded } from '../../test/damage.ts'
import { addEntry, openTestLogbook } from '../../test/entries.ts'

let home: TestHome
/** The catalogue as it should be, and the logbook, to go back to. */
let whole: Buffer
let kept: string
let file: string

before(async () => {
  home = await openTestHome()
  for (const number of [1, 2, 3, 4, 5])
    await addEntry(home, {
      title: `entry ${number}`,
      at: `2026-11-0${number}T10:00:00Z`,
      files: { '/home/lab/which': `content of ${number}` },
    })
  // A number that was taken and is gone: only the catalogue remembers it.
  await addEntry(home, { title: 'gone', at: '2026-11-06T10:00:00Z', files: {} })
  await succeed('rm', '6', '--yes')
  const folder = join(home.home, '.cache/vml/catalog')
  const [name = ''] = (await readdir(folder)).filter((each) => each.endsWith('.sqlite'))
  file = join(folder, name)
  whole = await readFile(file)
  kept = join(home.home, 'kept')
  await cp(home.logbook, kept, { recursive: true })
})
after(async () => {
  await home[Symbol.asyncDispose]()
})

test('numbers that were exchanged in the catalogue remove no other entry', async () => {
  for (const lie of [exchangeInFile, exchangeWithSums]) {
    await startAnew()
    lie('numbers', 3, 4)
    await succeed('rm', '3', '--yes')
    assert.deepEqual(await titles(), ['entry 5', 'entry 4', 'entry 2', 'entry 1'])
  }
})

test('trees that were exchanged in the catalogue restore and show no other content', async () => {
  for (const lie of [exchangeInFile, exchangeWithSums]) {
    for (const command of ['restore', 'cat'] as const) {
      await startAnew()
      lie('trees', 3, 5)
      const to = join(home.home, 'restored')
      await rm(to, { recursive: true, force: true })
      if (command === 'restore') await succeed('restore', '3', '--to', to)
      const read =
        command === 'restore'
          ? await readFile(join(to, 'home/lab/which'), 'utf8')
          : await succeed('cat', '3:/home/lab/which')
      assert.equal(read, 'content of 3')
    }
  }
})

test('a copy and a share carry the content of the entry that was named', async () => {
  const other = join(home.home, 'other')
  await succeed('init', other, '--password-file', home.passwordFile)
  await startAnew()
  exchangeWithSums('trees', 3, 5)
  // A copy does not choose again by itself.
  const refused = await home.run(['copy', '3', '--to', other])
  assert.equal(refused.status, 14, refused.stderr)
  assert.match(refused.stderr, /#3[^]*Nothing was changed/)
  await succeed('copy', '3', '--to', other)
  assert.equal(await succeed('--logbook', other, 'cat', '3:/home/lab/which'), 'content of 3')

  await startAnew()
  exchangeWithSums('trees', 3, 5)
  await succeed('share', '3', '-o', join(home.home, 'three.vml'))
  const receiver = join(home.home, 'receiver')
  await succeed('init', receiver, '--password-file', home.passwordFile)
  await succeed('--logbook', receiver, 'import', join(home.home, 'three.vml'), '--yes')
  assert.equal(await succeed('--logbook', receiver, 'cat', '3:/home/lab/which'), 'content of 3')
})

test('an edit and a removal that were planned by a lie are refused under the lock, and nothing is changed', async () => {
  await startAnew()
  exchangeWithSums('numbers', 3, 4)
  await using logbook = await openTestLogbook(home)
  const lied = (await listEntries(logbook)).find(({ number }) => number === 3)
  assert.ok(lied)
  const files = await snapshotFiles()
  await assert.rejects(runRemove(logbook, planRemove([lied])), { code: 'conflict' })
  const changes = { title: 'another', addTags: [], removeTags: [] }
  await assert.rejects(runEdit(logbook, planEdit(lied, changes)), { code: 'conflict' })
  assert.deepEqual(await snapshotFiles(), files)
  const truth = (await listEntries(logbook)).find(({ number }) => number === 3)
  assert.equal(truth?.title, 'entry 3')
})

test('a snapshot that the catalogue took for an older form of another entry is not removed with it', async () => {
  await startAnew()
  await succeed('edit', '3', '-m', 'better')
  rewrite((rows) => {
    const [second, third] = [rows[1], rows[2]]
    assert.ok(second && third?.snapshot.original)
    return [{ ...second, snapshot: { ...second.snapshot, original: third.snapshot.original } }]
  })
  assert.deepEqual(await titles(), ['entry 5', 'entry 4', 'better', 'entry 1'])
  await succeed('rm', '3', '--yes')
  assert.deepEqual(await titles(), ['entry 5', 'entry 4', 'entry 2', 'entry 1'])
})

test('a snapshot whose file is damaged is read by what the catalogue remembers, with a warning, and not removed', async () => {
  await startAnew()
  await using logbook = await openTestLogbook(home)
  const third = (await listEntries(logbook)).find(({ number }) => number === 3)
  assert.ok(third)
  const path = join(home.logbook, 'snapshots', third.snapshot.id)
  await rm(path)
  await writeFile(path, 'no snapshot at all, but long enough to be one by its size')
  const read = await home.run(['cat', '3:/home/lab/which'])
  assert.deepEqual([read.status, read.stdout], [0, 'content of 3'])
  assert.match(read.stderr, /snapshot of #3 is damaged[^]*check --repair/)
  const removed = await home.run(['rm', '3', '--yes'])
  assert.equal(removed.status, 20, removed.stderr)
  assert.match(removed.stderr, /#3[^]*Nothing was changed[^]*check --repair/)
})

test('rows that are no JSON are read again, by a log and by a save', async () => {
  await startAnew()
  for (const args of [['log'], ['save', 'here', '--only', join(home.home, 'work'), '-m', 'next']]) {
    const database = new DatabaseSync(file)
    database.exec("UPDATE snapshots SET snapshot = '\u0001' || substr(snapshot, 2), facts = substr(facts, 3)")
    database.close()
    await succeed(...args)
  }
  assert.deepEqual((await titles()).slice(0, 2), ['next', 'entry 5'])
  // The number of what was removed is remembered, since its own sum is right.
  assert.match(await succeed('log', '--json'), /"number": ?7/)
})

test('whatever bytes of the file are changed, all answers are those without it', async (t) => {
  await startAnew()
  await using logbook = await openTestLogbook(home)
  const { repository } = logbook
  using fresh = openCatalog(':memory:')
  const expected = await listEntries({ repository, catalog: fresh })
  const folder = join(home.home, 'flips')
  const counts = { silent: 0, numberKept: 0 }
  for (let seed = 0; seed < 200; seed++) {
    await rm(folder, { recursive: true, force: true })
    await mkdir(folder)
    const path = join(folder, 'catalog.sqlite')
    await writeFile(path, damagedAt(seed, whole))
    try {
      let first: readonly LoggedEntry[] | undefined
      for (let times = 0; times < 2; times++) {
        using catalog = openCatalog(path)
        const entries = await listEntries({ repository, catalog })
        assert.deepEqual(entries, expected)
        first ??= entries
        const { entry } = await findEntry({ repository, catalog }, '3')
        assert.deepEqual(entry, expected[2])
      }
      using catalog = openCatalog(path)
      if (catalog.rows().size === expected.length) counts.silent++
      const number = await nextEntryNumber({ repository, catalog })
      assert.ok(number === 6 || number === 7, `number ${number}`)
      if (number === 7) counts.numberKept++
      assert.equal(await nextEntryNumber({ repository, catalog }), number + 1)
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error })
    }
  }
  t.diagnostic(`${counts.silent} of 200 were whole again, ${counts.numberKept} kept the highest number`)
  assert.equal(counts.silent, 200)
})

test('what a living process has locked stays its own, and what it left half written is used once it is dead', async () => {
  await startAnew()
  const holder = spawn(process.execPath, [
    '-e',
    `const { DatabaseSync } = require('node:sqlite')
     const database = new DatabaseSync(${JSON.stringify(file)})
     database.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE snapshots SET facts = 'half'")
     console.log('held')
     setInterval(() => {}, 1000)`,
  ])
  await once(holder.stdout, 'data')
  // While it lives, what it has is not taken from it.
  assert.deepEqual(await titles(), ['entry 5', 'entry 4', 'entry 3', 'entry 2', 'entry 1'])
  holder.kill('SIGKILL')
  await once(holder, 'exit')
  using catalog = openCatalog(file)
  assert.deepEqual([catalog.rows().size, catalog.highestNumber], [5, 6])
})

async function startAnew(): Promise<void> {
  await rm(home.logbook, { recursive: true })
  await cp(kept, home.logbook, { recursive: true })
  for (const suffix of ['-wal', '-shm', '-journal']) await rm(file + suffix, { force: true })
  await writeFile(file, whole)
  await mkdir(join(home.home, 'work'), { recursive: true })
  await writeFile(join(home.home, 'work/notes'), 'x')
  if (!(await home.run(['machine', 'list'])).stdout.includes('here'))
    await succeed('machine', 'add', 'here', 'local:')
}

async function succeed(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await home.run(args)
  assert.equal(status, 0, stderr)
  return stdout
}

async function titles(): Promise<readonly unknown[]> {
  const document: unknown = JSON.parse(await succeed('log', '--json'))
  assert.ok(typeof document === 'object' && document !== null && 'entries' in document)
  assert.ok(Array.isArray(document.entries))
  return document.entries.map((entry: unknown) =>
    typeof entry === 'object' && entry !== null && 'title' in entry ? entry.title : undefined,
  )
}

async function snapshotFiles(): Promise<readonly string[]> {
  return (await readdir(join(home.logbook, 'snapshots'))).toSorted()
}

/** As a disk or a hand would do it: the sums stay as they were. */
function exchangeInFile(what: 'numbers' | 'trees', left: number, right: number): void {
  const database = new DatabaseSync(file)
  const update = database.prepare('UPDATE snapshots SET snapshot = ?, facts = ? WHERE id = ?')
  for (const { snapshot, facts } of exchanged(what, left, right))
    update.run(JSON.stringify(snapshot), JSON.stringify(facts), snapshot.id)
  database.close()
}

/** As somebody would who means it, or as a defect of ours. */
function exchangeWithSums(what: 'numbers' | 'trees', left: number, right: number): void {
  rewrite(() => exchanged(what, left, right))
}

function exchanged(what: 'numbers' | 'trees', left: number, right: number): readonly CatalogRow[] {
  using catalog = openCatalog(file)
  const byNumber = (number: number) =>
    [...catalog.rows().values()].find(({ facts }) => facts?.number === number) ?? assert.fail()
  const take = ({ snapshot, facts }: CatalogRow, other: CatalogRow): CatalogRow =>
    what === 'trees'
      ? { facts, snapshot: { ...snapshot, tree: other.snapshot.tree } }
      : {
          facts: facts && other.facts && { ...facts, number: other.facts.number },
          snapshot: { ...snapshot, tags: other.snapshot.tags },
        }
  return [take(byNumber(left), byNumber(right)), take(byNumber(right), byNumber(left))]
}

function rewrite(change: (rows: readonly CatalogRow[]) => readonly CatalogRow[]): void {
  using catalog = openCatalog(file)
  const rows = [...catalog.rows().values()].toSorted((left, right) =>
    left.snapshot.time < right.snapshot.time ? -1 : 1,
  )
  catalog.put(change(rows))
}

/** One to 64 bytes changed, of them some of the header; or a piece of zeros; or the end cut off. */
function damagedAt(seed: number, bytes: Buffer): Buffer {
  const random = seeded(seed)
  const below = (end: number) => Math.floor(random() * end)
  const damaged = Buffer.from(bytes)
  if (seed % 10 === 8) return damaged.subarray(0, below(damaged.length))
  if (seed % 10 === 9) {
    const start = below(damaged.length)
    return damaged.fill(0, start, Math.min(start + 1 + below(4096), damaged.length))
  }
  const count = 1 + below(seed % 2 === 0 ? 3 : 64)
  for (let at = 0; at < count; at++) {
    const place = below(seed % 5 === 0 ? 4096 : damaged.length)
    damaged[place] = below(256)
  }
  return damaged
}
