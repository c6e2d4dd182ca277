import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openCommitDisk } from '../stage/commit-disk.ts'
import { openLibc } from '../wire/libc.ts'
import { rawFromString } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { writtenAtOnce } from './written-at-once.ts'

test('what was written since in the folders that no stage holds is found, the journal of systemd left out', () => {
  const root = mkdtempSync(join(tmpdir(), 'vml-written-'))
  try {
    for (const folder of ['tmp/deep', 'var/tmp', 'var/log/journal', 'etc'])
      mkdirSync(join(root, folder), { recursive: true })
    const files = ['tmp/out', 'tmp/deep/ä', 'var/log/b', 'var/log/journal/system', 'etc/a']
    for (const file of files) writeFileSync(join(root, file), 'x')
    symlinkSync('nowhere', join(root, 'var/tmp/link'))
    const libc = openLibc(tmpdir())
    assert.ok(libc)
    const state = rawFromString(join(root, 'state')) as RawPath
    const place = { root: rawFromString(root) as RawPath, state, disk: openCommitDisk(libc) }
    const paths = ['/tmp/deep/ä', '/tmp/out', '/var/log/b', '/var/tmp/link'].map(rawFromString)
    assert.deepEqual(writtenAtOnce(place, Date.now() - 60_000), paths)
    assert.deepEqual(writtenAtOnce(place, Date.now() + 60_000), [])
  } finally {
    rmSync(root, { recursive: true })
  }
})
