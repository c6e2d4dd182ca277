import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeLogbook, saveEntry } from '../../test/copy-fixture.ts'
import { planEdit, runEdit } from './edit.ts'
import { importedTag, listEntries, lostTag } from './entries.ts'

test('an edit changes what it is asked to, and never takes away the mark of what is imported or was damaged', async () => {
  for (const mark of [importedTag, lostTag]) {
    const logbook = await makeLogbook()
    await saveEntry(logbook.repository, {
      number: 1,
      day: 1,
      files: { a: Buffer.from('a') },
      tags: [mark, 'paper'],
    })
    const [before] = await listEntries(logbook)
    assert.ok(before)
    await runEdit(logbook, planEdit(before, { title: 'new', addTags: ['more'], removeTags: ['paper'] }))
    const [after, ...others] = await listEntries(logbook)
    assert.deepEqual([after?.id, after?.number, after?.title], [before.id, 1, 'new'])
    assert.deepEqual(after?.tags, ['more'])
    assert.ok(after?.snapshot.tags.includes(mark))
    assert.equal(others.length, 0)
  }
})
