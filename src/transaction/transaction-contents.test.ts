import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileOf, recordTransaction } from '../../test/recorded-transaction.ts'
import { makeRepository } from '../../test/store-fixture.ts'
import { rawFromString } from '../base/raw-text.ts'
import { openCatalog } from '../catalog/catalog.ts'
import { listEntries } from '../engine/entries.ts'
import { parseRawPath } from '../model/raw-path.ts'
import type { RecordedChange } from '../model/transaction.ts'
import { openTransactionContents } from './transaction-contents.ts'
import { readTransaction } from './transaction-entry.ts'

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
  await recordTransaction(repository, [recorded], { contentBefore: () => ({ bytes: content }) })
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

test('of thousands of contents each folder of a record is read once', async () => {
  const { repository } = await makeRepository()
  await using _repository = repository
  using catalog = openCatalog(':memory:')
  const base = Buffer.from('what all of them stand on')
  const names = Array.from({ length: 300 }, (_, at) => `file-${at}`)
  const changes = names.map((name, at): RecordedChange => {
    const file = `${String(at).padStart(32, '0')}-${'0'.repeat(32)}.zst`
    const isDelta = at % 2 === 0
    return {
      path: parseRawPath(rawFromString(`/usr/${at % 3}/${name}`)) ?? assert.fail(),
      before: fileOf(Buffer.from(name)),
      after: fileOf(base),
      owner: { kind: 'script' },
      preImage: isDelta ? { kind: 'delta', file, base: fileOf(base).sha256 ?? '' } : { kind: 'blob' },
      afterKept: at === 0,
    }
  })
  const deltas = changes.flatMap(({ path, preImage }) =>
    preImage.kind === 'delta' ? [[preImage.file, Buffer.from(path.slice('/usr/0/'.length))] as const] : [],
  )
  await recordTransaction(repository, changes, {
    contentBefore: (path) => ({ bytes: Buffer.from(path.slice('/usr/0/'.length)) }),
    contentAfter: () => ({ bytes: base }),
    deltas: new Map(deltas),
  })
  const [entry] = await listEntries({ repository, catalog })
  assert.ok(entry)
  const transaction = await readTransaction(repository, entry)
  const foldersRead: string[] = []
  const contents = openTransactionContents({
    repository: {
      ...repository,
      async readTree(id, options) {
        foldersRead.push(id)
        return await repository.readTree(id, options)
      },
    },
    transactions: () => Promise.resolve([transaction]),
    pinned: () => undefined,
    applyDelta: (delta, against) => (assert.deepEqual(against, base), Buffer.from(delta)),
    fromPackage: () => assert.fail(),
    isElsewhere: true,
  })
  for (const change of transaction.changes) {
    const content = await contents.before(transaction, change)
    assert.equal(content.toString(), change.path.slice('/usr/0/'.length))
  }
  // /, /usr with its three folders, /.vml with deltas and after, and there /usr/0.
  assert.equal(foldersRead.length, 10)
  assert.equal(new Set(foldersRead).size, foldersRead.length)
})
