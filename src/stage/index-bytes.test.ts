import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RawPath } from '../model/raw-path.ts'
import { bytesOfIndex } from './index-bytes.ts'
import { withRows } from './index-rows.ts'
import { type IndexEntry, makeColumns } from './root-index.ts'

test('the files of a root count, one of two names once, links and other file systems not (issue 4)', () => {
  const row: IndexEntry = {
    mode: 0o100644,
    uid: 0,
    gid: 0,
    links: 1,
    inode: 1n,
    deviceId: 1n,
    size: 0,
    mtimeNs: 0n,
    ctimeNs: 0n,
  }
  const folder = { ...row, mode: 0o040755, size: 4096 }
  const rows: Readonly<Record<string, IndexEntry>> = {
    '/': folder,
    '/file': { ...row, size: 1000 },
    '/home': { ...folder, deviceId: 2n },
    '/home/file': { ...row, deviceId: 2n, size: 500 },
    '/link': { ...row, mode: 0o120777, size: 7 },
    '/one': { ...row, inode: 2n, links: 2, size: 30 },
    // An overlay gives files another number of a device than folders.
    '/other': { ...row, deviceId: 3n, size: 200 },
    '/two': { ...row, inode: 2n, links: 2, size: 30 },
  }
  const index = { paths: [], columns: makeColumns(0) }
  const known = new Map(Object.entries(rows).map(([path, each]) => [path as RawPath, each]))
  assert.equal(bytesOfIndex(withRows(index, known)), 1230)
})
