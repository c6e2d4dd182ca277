import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { makeRepository } from '../../test/store-fixture.ts'
import { rawFromString } from '../base/raw-text.ts'
import { openCatalog } from '../catalog/catalog.ts'
import { listEntries } from '../engine/entries.ts'
import { parseRawPath } from '../model/raw-path.ts'
import { writtenReason } from '../model/transaction-record.ts'
import type { Fingerprint, RecordedChange } from '../model/transaction.ts'
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
    before: fingerprint(content),
    owner: { kind: 'script' },
    preImage: { kind: 'blob' },
    afterKept: false,
  }))
  const time = '2026-01-01T00:00:00.000Z'
  {
    await using writer = await repository.beginWrite()
    const { document } = await storeTransaction(
      writer,
      {
        title: 'both go',
        note: '',
        tags: [],
        machine: { name: 'here', facts: {} },
        document: {
          schema: 1,
          source: 'command',
          mode: 'staged',
          command: [],
          user: { name: 'root', uid: 0 },
          startedAt: time,
          endedAt: time,
          exitStatus: 0,
          packages: [],
          validations: [],
          services: [],
          complete: true,
          gaps: [],
          counts: { created: 0, changed: 0, deleted: 2 },
          storedBytes: 0,
          preImageBytes: 18,
        },
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

function fingerprint(content: string): Fingerprint {
  return {
    type: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtimeNs: 0n,
    size: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
  }
}
