import assert from 'node:assert/strict'
import { test } from 'node:test'
import { documentOf, fileOf } from '../../test/recorded-transaction.ts'
import { makeRepository } from '../../test/store-fixture.ts'
import { rawFromString } from '../base/raw-text.ts'
import { openCatalog } from '../catalog/catalog.ts'
import { listEntries } from '../engine/entries.ts'
import { parseRawPath } from '../model/raw-path.ts'
import type { RecordedChange } from '../model/transaction.ts'
import { openTransactionContents } from './transaction-contents.ts'
import { readTransaction, storeTransaction } from './transaction-entry.ts'

test('a content that comes in pieces is what was recorded, with its holes, or fails', async () => {
  const { repository } = await makeRepository()
  await using _repository = repository
  using catalog = openCatalog(':memory:')
  const content = Buffer.concat([Buffer.from('begin'), Buffer.alloc(9_000_000), Buffer.from('end')])
  const path = parseRawPath(rawFromString('/large')) ?? assert.fail()
  const recorded: RecordedChange = {
    path,
    before: fileOf(content),
    owner: { kind: 'script' },
    preImage: { kind: 'blob' },
    afterKept: false,
  }
  {
    await using writer = await repository.beginWrite()
    await storeTransaction(
      writer,
      {
        title: 'it goes',
        note: '',
        tags: [],
        machine: { name: 'here', facts: {} },
        document: documentOf(),
        changes: [recorded],
        contentBefore: () => ({ bytes: content }),
        contentAfter: () => assert.fail(),
        deltas: new Map(),
        folderAttributes: () => assert.fail(),
      },
      { nextNumber: () => Promise.resolve(1) },
    )
  }
  const [entry] = await listEntries({ repository, catalog })
  assert.ok(entry)
  const transaction = await readTransaction(repository, entry)
  const contents = openTransactionContents({
    repository,
    transactions: () => Promise.resolve([transaction]),
    pinned: () => undefined,
    applyDelta: () => assert.fail(),
    fromPackage: () => assert.fail(),
  })
  const read = async (change: RecordedChange) => {
    const parts: Buffer[] = []
    let holes = 0
    for await (const segment of contents.segmentsBefore(transaction, change)) {
      if (segment.kind === 'hole') holes += segment.length
      parts.push(segment.kind === 'hole' ? Buffer.alloc(segment.length) : Buffer.from(segment.bytes))
    }
    return { bytes: Buffer.concat(parts), holes }
  }
  const { bytes, holes } = await read(recorded)
  assert.ok(bytes.equals(content))
  assert.ok(holes > 0)
  const other = fileOf(Buffer.from(content).fill('!', 0, 1))
  for (const before of [other, { ...fileOf(content), size: content.length - 1 }])
    await assert.rejects(read({ ...recorded, before }), { code: 'integrity.hash' })
  const elsewhere = parseRawPath(rawFromString('/other')) ?? assert.fail()
  await assert.rejects(read({ ...recorded, path: elsewhere }), { code: 'integrity.missing' })
})
