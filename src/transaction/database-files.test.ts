import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Fingerprint, RecordedChange } from '../model/transaction.ts'
import { databaseFileOf, isHistory, movedDatabases } from './database-files.ts'

const at = (text: string): RawPath => parseRawPath(rawFromString(text)) ?? rootPath
const file = (content: string): Fingerprint => ({
  type: 'file',
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtimeNs: 0n,
  size: content.length,
  sha256: content,
})
const change = (path: string, before: string, after: string): RecordedChange => ({
  path: at(path),
  before: file(before),
  after: file(after),
  owner: { kind: 'script' },
  preImage: { kind: 'blob' },
  afterKept: false,
})
const moved = (changes: readonly RecordedChange[], now: Readonly<Record<string, string>>) => [
  ...movedDatabases(changes, (path) => {
    const content = now[path]
    return content === undefined ? undefined : file(content)
  }),
]

test('a database is untouched only where its file, its log and its journal are what the transaction left', () => {
  const both = [change('/x/a.sqlite', '1', '2'), change('/x/a.sqlite-wal', 'p', 'q')]
  assert.deepEqual(moved(both, { '/x/a.sqlite': '2', '/x/a.sqlite-wal': 'q' }), [])
  assert.deepEqual(moved(both, { '/x/a.sqlite': '2', '/x/a.sqlite-wal': 'r' }), ['/x/a.sqlite'])
  assert.deepEqual(moved(both, { '/x/a.sqlite': '3', '/x/a.sqlite-wal': 'q' }), ['/x/a.sqlite'])
  assert.deepEqual(moved(both, { '/x/a.sqlite': '2' }), ['/x/a.sqlite'])
  const only = [change('/x/a.sqlite', '1', '2')]
  assert.deepEqual(moved(only, { '/x/a.sqlite': '2', '/x/a.sqlite-wal': 'later' }), ['/x/a.sqlite'])
  assert.deepEqual(moved(only, { '/x/a.sqlite': '2', '/x/a.sqlite-wal': '', '/x/a.sqlite-shm': 's' }), [])
})

test('what has only the name of a database is merged or told as any other file', () => {
  assert.deepEqual(moved([change('/etc/aliases.db', '1', '2')], { '/etc/aliases.db': '3' }), [])
  assert.deepEqual(moved([change('/etc/hosts', '1', '2')], { '/etc/hosts': '3' }), [])
})

test('the history of dnf is known with all its files', () => {
  const history = '/var/lib/dnf/history.sqlite'
  for (const one of [history, '/usr/lib/sysimage/libdnf5/transaction_history.sqlite'])
    for (const ending of ['', '-wal', '-shm', '-journal'])
      assert.ok(isHistory(at(one + ending)) && databaseFileOf(at(one + ending)) === one)
  assert.ok(!isHistory(at('/var/lib/other/history.sqlite')))
  assert.deepEqual(moved([change(history, '1', '2')], { [history]: '3' }), [history])
})
