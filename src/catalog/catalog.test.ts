import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
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

test('where no file can be, the catalogue lives in memory', async () => {
  using catalog = openCatalog('/nowhere/at/all.sqlite')
  catalog.put([rowOf('a')])
  assert.equal(catalog.rows().size, 1)
})

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
