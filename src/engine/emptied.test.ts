// What a save says that found nothing where the entry before it had files.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Reporter } from '../base/progress.ts'
import { warnOfEmptied } from './emptied.ts'
import type { SaveBase } from './save.ts'

type Now = Parameters<typeof warnOfEmptied>[1]

/** Only what is asked. */
function documentOf(files: number, path: string): Now {
  return { roots: [{ path, raw: path }], statistics: { files } } as unknown as Now
}

function said(before: Now | undefined, now: Now): string[] {
  const warnings: string[] = []
  const reporter: Reporter = { progress: () => {}, warn: ({ warning }) => warnings.push(warning) }
  const base = before && ({ entry: { number: 7 }, document: before } as unknown as SaveBase)
  warnOfEmptied(base, now, reporter)
  return warnings
}

test('a folder that had files and has none now is named, as where its file system is not mounted', () => {
  const [warning, ...others] = said(documentOf(3, '/data'), documentOf(0, '/data'))
  assert.deepEqual(others, [])
  for (const word of ['/data', '#7', 'mounted']) assert.ok(warning?.includes(word))
})

test('nothing is said where there are files, where none were, or where the entry before was of other folders', () => {
  assert.deepEqual(said(documentOf(3, '/data'), documentOf(1, '/data')), [])
  assert.deepEqual(said(documentOf(0, '/data'), documentOf(0, '/data')), [])
  assert.deepEqual(said(documentOf(3, '/home'), documentOf(0, '/data')), [])
  assert.deepEqual(said(undefined, documentOf(0, '/data')), [])
})
