import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lostTotals } from '../engine/entries.ts'
import type { LostPath } from '../model/lost.ts'
import { lostLine, lostOutcome, restorableOf } from './restorable.ts'

const statistics = { files: 10, folders: 3, others: 0, bytes: 5000, filesRead: 10, bytesRead: 5000 }
const lostAt = (path: string, rest: Partial<LostPath> = {}): LostPath => ({
  path,
  raw: Buffer.from(path).toString('base64'),
  type: 'file',
  ...rest,
})

test('with a lost folder, of which nobody knows what was in it, what is left is told as a bound', () => {
  const files = [lostAt('/home/lab/a', { size: 1000 })]
  assert.deepEqual(restorableOf(statistics, lostTotals(files)), { files: '9 files', bytes: '3.9 KiB' })
  const folders = [...files, lostAt('/home/lab/b', { type: 'folder' })]
  const left = restorableOf(statistics, lostTotals(folders))
  assert.deepEqual(left, { files: 'at most 9 files', bytes: 'at most 3.9 KiB' })
  assert.match(lostOutcome(folders) ?? '', /1 folder with all that was in it; 1 file, 1000 B, lost to damage/)
})

test("VML's own documents are told apart from what the machine had", () => {
  const lost = [lostAt('/.vml/packages.json', { size: 70 })]
  assert.deepEqual(restorableOf(statistics, lostTotals(lost)), restorableOf(statistics, undefined))
  assert.match(lostOutcome(lost) ?? '', /own documents/)
  assert.equal(lostOutcome([]), undefined)
})

test('of a file that is left in part, its line says how much is gone and where the rest is', () => {
  const line = lostLine(lostAt('/x', { size: 4096, rest: '3', missing: [{ offset: 0, length: 1024 }] }))
  assert.equal(line, '/x  1.0 KiB of 4.0 KiB gone; the rest is /.vml/lost/3')
})
