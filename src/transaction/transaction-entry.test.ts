import assert from 'node:assert/strict'
import { test } from 'node:test'
import { documentOf, fileOf, recordTransaction } from '../../test/recorded-transaction.ts'
import { makeRepository } from '../../test/store-fixture.ts'
import { rawFromString } from '../base/raw-text.ts'
import { openCatalog } from '../catalog/catalog.ts'
import { listEntries } from '../engine/entries.ts'
import { parseRawPath } from '../model/raw-path.ts'
import { writtenReason } from '../model/transaction-record.ts'
import type { RecordedChange } from '../model/transaction.ts'
import { type ContentOf, openEntryContents } from './entry-contents.ts'
import { readTransaction } from './transaction-entry.ts'

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
  const { document } = await recordTransaction(repository, changes, {
    document: documentOf({ counts: { created: 0, changed: 0, deleted: 2 }, preImageBytes: 18 }),
    contentBefore: (path) => ({ bytes: Buffer.from(contents.get(path) ?? '') }),
  })
  assert.equal(document.complete, false)
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

test('where what a difference was made against is another one by now, the content before it is kept whole', async () => {
  const { repository } = await makeRepository()
  await using _repository = repository
  using catalog = openCatalog(':memory:')
  const path = (typed: string) => parseRawPath(rawFromString(typed)) ?? assert.fail()
  const changes = ['/altered', '/same'].map((name): RecordedChange => {
    const [before, after] = [fileOf(Buffer.from(`${name} before`)), fileOf(Buffer.from(`${name} after`))]
    const file = `${before.sha256?.slice(0, 32)}-${after.sha256?.slice(0, 32)}.zst`
    const preImage = { kind: 'delta', file, base: after.sha256 ?? '' } as const
    return { path: path(name), before, after, owner: { kind: 'script' }, preImage, afterKept: true }
  })
  const names = changes.map(({ preImage }) => (preImage.kind === 'delta' ? preImage.file : ''))
  const { document } = await recordTransaction(repository, changes, {
    document: documentOf({ counts: { created: 0, changed: 2, deleted: 0 } }),
    contentBefore: (of) => ({ bytes: Buffer.from(`${of} before`) }),
    contentAfter: (of) => ({ bytes: Buffer.from(of === '/altered' ? '/ALTERED after' : `${of} after`) }),
    deltas: new Map(names.map((name) => [name, Buffer.from('a delta')])),
  })
  assert.equal(document.complete, true)
  const [entry] = await listEntries({ repository, catalog })
  assert.ok(entry)
  const read = await readTransaction(repository, entry)
  assert.deepEqual(
    read.changes.map(({ preImage, afterKept }) => [preImage.kind, afterKept]),
    [
      ['blob', false],
      ['delta', true],
    ],
  )
  const contents = openEntryContents(repository)
  const content = async (what: ContentOf) => await contents.find(entry, what)
  assert.equal((await content({ kind: 'before', path: path('/altered') }))?.type, 'file')
  assert.equal((await content({ kind: 'after', path: path('/altered') }))?.type, undefined)
  assert.equal((await content({ kind: 'delta', name: names[0] ?? '' }))?.type, undefined)
  assert.equal((await content({ kind: 'delta', name: names[1] ?? '' }))?.type, 'file')
})

test('a list of changes that is larger than a document is read again; what a record does not hold is told', async () => {
  const { repository } = await makeRepository()
  await using _repository = repository
  using catalog = openCatalog(':memory:')
  const xattrs = Array.from({ length: 1001 }, (_, at) => ({
    name: rawFromString(`user.${at}`),
    value: Buffer.alloc(1),
  }))
  const changes = Array.from({ length: 4500 }, (_, at): RecordedChange => ({
    path: parseRawPath(rawFromString(`/${at + 1000}`)) ?? assert.fail(),
    after: {
      ...{ type: 'symlink', mode: 0o777, uid: 0, gid: 0, mtimeNs: 0n },
      linkTarget: rawFromString('n'.repeat(60_000)),
      ...(at === 5 ? { xattrs } : {}),
    },
    owner: { kind: 'script' },
    preImage: { kind: 'fingerprint' },
    afterKept: false,
  }))
  const stored = await recordTransaction(repository, changes, {
    document: documentOf({ counts: { created: 4500, changed: 0, deleted: 0 } }),
  })
  assert.equal(stored.document.complete, false)
  const [entry] = await listEntries({ repository, catalog })
  assert.ok(entry)
  const { changes: read, document } = await readTransaction(repository, entry)
  assert.deepEqual(document.gaps, [
    { path: '/1005', reason: 'it is not recorded: a record does not hold so much' },
  ])
  assert.deepEqual(
    read.map(({ path, after }) => [path, after?.linkTarget?.length]),
    changes.filter((_, at) => at !== 5).map(({ path }) => [path, 60_000]),
  )
})
