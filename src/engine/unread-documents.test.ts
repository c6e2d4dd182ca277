// What a check says of an entry whose document another program cut.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileNode, folderNode, makeRepository, snapshotOf, storeFile } from '../../test/store-fixture.ts'
import { silentReporter } from '../base/progress.ts'
import { openCatalog } from '../catalog/catalog.ts'
import { ownTags } from './entries.ts'
import { findUnread, unreadFindings } from './unread-documents.ts'

test('an entry whose own document is cut to nothing is found each time, though all that is stored is whole', async () => {
  const made = await makeRepository()
  await using repository = made.repository
  const logbook = { repository, catalog: openCatalog(':memory:') }
  {
    await using writer = await repository.beginWrite()
    const cut = fileNode('entry.json', await storeFile(writer, Buffer.alloc(0)))
    const tree = await writer.storeTree([folderNode('.vml', await writer.storeTree([cut]))])
    await writer.commit(snapshotOf(tree, ownTags({ number: 1, kind: 'environment' })))
    await writer.commit(snapshotOf(tree, ['of another program']))
  }
  const { signal } = new AbortController()
  for (let round = 0; round < 2; round++) {
    const { findings } = await repository.check({ readData: true, reporter: silentReporter })
    assert.deepEqual(findings, [])
    const unread = await findUnread(logbook, signal)
    const [finding, ...others] = unreadFindings(unread, findings)
    assert.deepEqual(others, [])
    assert.equal(finding?.severity, 'damage')
    assert.deepEqual(finding?.affects, [{ snapshot: unread[0]?.snapshot, paths: ['/.vml/entry.json'] }])
    assert.deepEqual(unreadFindings(unread, [finding]), [])
  }
})
