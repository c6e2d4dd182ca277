import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import test from 'node:test'
import { parseId, type SnapshotId, type TreeId } from '../model/ids.ts'
import { type CatalogRow, openCatalog } from './catalog.ts'

test('rows come back as they were put, after it was closed too', async () => {
  await using place = await openPlace()
  const rows = [rowOf('a'), rowOf('b')]
  {
    using catalog = openCatalog(place.path)
    catalog.put(rows)
    catalog.raiseNumber(7)
    catalog.raiseNumber(3)
  }
  using catalog = openCatalog(place.path)
  assert.deepEqual([...catalog.rows().values()], rows)
  assert.equal(catalog.highestNumber, 7)
  catalog.remove([rows[0]?.snapshot.id ?? idOf('a')])
  assert.equal(catalog.rows().size, 1)
  catalog.clear()
  assert.deepEqual([catalog.rows().size, catalog.highestNumber], [0, 7])
})

test('a damaged or outdated file is dropped, the highest number of an outdated one kept', async () => {
  await using place = await openPlace()
  await writeFile(place.path, 'x'.repeat(10_000))
  {
    using catalog = openCatalog(place.path)
    assert.equal(catalog.rows().size, 0)
    catalog.put([rowOf('a')])
    catalog.raiseNumber(5)
  }
  const old = new DatabaseSync(place.path)
  old.exec('PRAGMA user_version = 999')
  old.close()
  using catalog = openCatalog(place.path)
  assert.deepEqual([catalog.rows().size, catalog.highestNumber], [0, 5])
})

test('a row is given back only as it was put: not with cells of another, not with other bytes', async () => {
  for (const change of [
    "UPDATE snapshots SET snapshot = (SELECT snapshot FROM snapshots WHERE id LIKE 'b%') WHERE id LIKE 'a%'",
    "UPDATE snapshots SET snapshot = replace(snapshot, 'lab', 'lad') WHERE id LIKE 'a%'",
    "UPDATE snapshots SET snapshot = substr(snapshot, 5) WHERE id LIKE 'a%'",
    "UPDATE snapshots SET facts = '{}' WHERE id LIKE 'a%'",
    "UPDATE snapshots SET facts = x'00ff' WHERE id LIKE 'a%'",
    "UPDATE snapshots SET id = replace(id, 'a', 'c') WHERE id LIKE 'a%'",
    "UPDATE snapshots SET sum = NULL WHERE id LIKE 'a%'",
  ]) {
    await using place = await openPlace()
    {
      using catalog = openCatalog(place.path)
      catalog.put([rowOf('a'), rowOf('b')])
    }
    executeOn(place.path, change)
    {
      using catalog = openCatalog(place.path)
      assert.deepEqual([...catalog.rows().values()], [rowOf('b')], change)
    }
    assert.equal(countIn(place.path), 1, change)
  }
})

test('a highest number that was changed is not believed, one that was raised here is not forgotten', async () => {
  await using place = await openPlace()
  using catalog = openCatalog(place.path)
  catalog.raiseNumber(7)
  assert.equal(catalog.takeNumber(), 8)
  executeOn(place.path, 'UPDATE numbers SET value = 4000000000')
  assert.deepEqual([catalog.highestNumber, catalog.takeNumber()], [8, 9])
  executeOn(place.path, 'UPDATE numbers SET value = 9007199254740993')
  assert.equal(catalog.takeNumber(), 10)
  executeOn(place.path, 'DROP TABLE numbers')
  assert.equal(catalog.takeNumber(), 11)
  using again = openCatalog(place.path)
  assert.equal(again.highestNumber, 11)
})

test('the highest number of the first version, which had no sums, is taken over', async () => {
  await using place = await openPlace()
  executeOn(
    place.path,
    `CREATE TABLE snapshots (id TEXT PRIMARY KEY, snapshot TEXT NOT NULL, facts TEXT) WITHOUT ROWID;
     CREATE TABLE numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
     INSERT INTO snapshots VALUES ('a', '{}', NULL);
     INSERT INTO numbers VALUES ('highest', 5);
     PRAGMA user_version = 1`,
  )
  using catalog = openCatalog(place.path)
  assert.deepEqual([catalog.rows().size, catalog.highestNumber], [0, 5])
})

test('a file that is cut or zeroed anywhere, or that is a folder, is made again or done without', async () => {
  await using place = await openPlace()
  {
    using catalog = openCatalog(place.path)
    catalog.put([rowOf('a'), rowOf('b')])
  }
  const whole = await readFile(place.path)
  for (let length = 0; length < whole.length; length += 512) {
    await writeFile(place.path, length % 1024 === 0 ? whole.subarray(0, length) : Buffer.alloc(length))
    using catalog = openCatalog(place.path)
    for (const row of catalog.rows().values()) assert.deepEqual(row, rowOf(row.snapshot.id.slice(0, 1)))
    catalog.put([rowOf('c')])
    assert.deepEqual(catalog.rows().get(idOf('c')), rowOf('c'))
  }
  await rm(place.path)
  await mkdir(place.path)
  using catalog = openCatalog(place.path)
  catalog.put([rowOf('a')])
  assert.equal(catalog.rows().size, 1)
})

test('where no file can be, the catalogue lives in memory', async () => {
  using catalog = openCatalog('/nowhere/at/all.sqlite')
  catalog.put([rowOf('a')])
  assert.equal(catalog.rows().size, 1)
})

function executeOn(path: string, sql: string): void {
  const database = new DatabaseSync(path)
  database.exec(sql)
  database.close()
}

function countIn(path: string): unknown {
  const database = new DatabaseSync(path)
  const row = database.prepare('SELECT count(*) AS rows FROM snapshots').get()
  database.close()
  return row?.['rows']
}

function rowOf(digit: string): CatalogRow {
  const tree = parseId<TreeId>('0'.repeat(64))
  assert.ok(tree !== undefined)
  return {
    snapshot: {
      id: idOf(digit),
      time: '2026-11-01T10:00:00Z',
      tree,
      paths: ['/'],
      hostname: 'lab',
      username: 'u',
      tags: ['t'],
    },
    facts: undefined,
  }
}

function idOf(digit: string): SnapshotId {
  const id = parseId<SnapshotId>(digit.repeat(64))
  assert.ok(id !== undefined)
  return id
}

async function openPlace() {
  const folder = await mkdtemp(join(tmpdir(), 'vml-catalog-'))
  return { path: join(folder, 'c.sqlite'), [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) }
}
