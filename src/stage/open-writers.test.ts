import assert from 'node:assert/strict'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openBench, plain } from '../../test/commit-bench.ts'
import { findOpenWriters } from './open-writers.ts'

test('who has a file open for writing that a commit has replaced is found, and nobody who reads it, or whose file stayed', () => {
  using bench = openBench()
  const opened = [
    openSync(join(bench.root, 'changed'), 'a'),
    openSync(join(bench.root, 'twin'), 'r'),
    openSync(join(bench.root, 'rights'), 'a'),
  ]
  try {
    const journal = bench.run(plain)
    const all = { isAsked: () => true, mayGoOn: () => true }
    const found = findOpenWriters(plain, journal, all)
    assert.deepEqual(
      found.map(({ path, processId }) => [path, processId]),
      [['/changed', process.pid]],
    )
    assert.match(found[0]?.program ?? '', /node|Main/)
    assert.deepEqual(findOpenWriters(plain, journal, { ...all, isAsked: () => false }), [])
    assert.deepEqual(findOpenWriters(plain, journal, { ...all, mayGoOn: () => false }), [])
  } finally {
    for (const file of opened) closeSync(file)
  }
})
