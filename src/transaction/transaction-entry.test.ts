import assert from 'node:assert/strict'
import { test } from 'node:test'
import { documentOf, fileOf } from '../../test/recorded-transaction.ts'
import { makeRepository } from '../../test/store-fixture.ts'
import { rawFromString } from '../base/raw-text.ts'
import { openCatalog } from '../catalog/catalog.ts'
import { listEntries } from '../engine/entries.ts'
import { parseRawPath } from '../model/raw-path.ts'
import { writtenReason } from '../model/transaction-record.ts'
import type { RecordedChange } from '../model/transaction.ts'
import { readTransaction, storeTransaction } from './transaction-entry.ts'

test('a content that was written into before it was kept is lost, and its record says so; all others are there', async () => {
  const { repository } = await makeRepository()
  await using _repository = repository
  using catalog = openCatalog(':memory:')
  const contents = new Map([
    ['/kept', 'as it was'],
    ['/written', 'SAME SIZE'],
  ])
  const looked = new Map([
    ['/kept', 'as it was'],
    ['/written', 'same size'],
  ])
  const changes = [...looked].map(([path, content]): RecordedChange => ({
    path: parseRawPath(rawFromString(path)) ?? assert.fail(),
    before: fileOf(Buffer.from(content)),
    owner: { kind: 'script' },
    preImage: { kind: 'blob' },
    afterKept: false,
  }))
  {
    await using writer = await repository.beginWrite()
    const { document } = await storeTransaction(
      writer,
      {
        title: 'both go',
        note: '',
        tags: [],
        machine: { name: 'here', facts: {} },
        document: documentOf({ counts: { created: 0, changed: 0, deleted: 2 }, preImageBytes: 18 }),
        changes,
        contentBefore: (path) => ({ bytes: Buffer.from(contents.get(path) ?? '') }),
        contentAfter: () => assert.fail(),
        deltas: new Map(),
        folderAttributes: () => assert.fail(),
      },
      { nextNumber: () => Promise.resolve(1) },
    )
    assert.equal(document.complete, false)
  }
  const [entry] = await listEntries({ repository, catalog })
  assert.ok(entry)
  const read = await readTransaction(repository, entry)
  assert.deepEqual(read.document.gaps, [{ path: '/written', reason: writtenReason }])
  assert.deepEqual(
    read.changes.map(({ preImage }) => preImage.kind),
    ['blob', 'lost'],
  )
  const nodes = await repository.readTree(entry.snapshot.tree)
  assert.deepEqual(nodes.map(({ name }) => name).toSorted(), ['.vml', 'kept'])
})
