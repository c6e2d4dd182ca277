// What is said of the files that a save has read.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeRead } from './read-counts.ts'

test('no more files are said to be read than there are, whatever was read again', () => {
  assert.equal(describeRead({ files: 7, filesRead: 3 }), 'read 3 of 7 files')
  assert.equal(describeRead({ files: 7, filesRead: 7 }), 'read 7 of 7 files')
  assert.equal(describeRead({ files: 7, filesRead: 12 }), 'read 7 of 7 files, some again')
  assert.equal(describeRead({ files: 1, filesRead: 2 }), 'read 1 of 1 file, some again')
})
