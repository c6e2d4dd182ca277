import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import { type RawPath, rootPath } from '../model/raw-path.ts'
import { openFolderReader } from '../wire/folder-reader.ts'
import { openLibc } from '../wire/libc.ts'
import { scanRoot } from './scan-root.ts'

test("VML's own folder is known by device and inode where its path does not tell", () => {
  const root = mkdtempSync(join(tmpdir(), 'vml-scan-'))
  try {
    mkdirSync(join(root, 'data/vml/logbook'), { recursive: true })
    writeFileSync(join(root, 'data/mine'), '')
    const [libc, reader] = [openLibc(tmpdir()), openFolderReader(tmpdir())]
    assert.ok(libc && reader)
    const scan = (own: readonly string[]) =>
      scanRoot(
        {
          root: rawFromString(root) as RawPath,
          tops: [rootPath],
          closed: new Set(),
          own: own.map((path) => rawFromString(path) as RawPath),
        },
        { libc, reader },
      ).index.paths
    assert.deepEqual(scan(['/none']), ['/', '/data', '/data/mine', '/data/vml', '/data/vml/logbook'])
    assert.deepEqual(scan(['/none', '/data/vml']), ['/', '/data', '/data/mine'])
  } finally {
    rmSync(root, { recursive: true })
  }
})
