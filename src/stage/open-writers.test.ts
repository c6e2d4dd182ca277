import assert from 'node:assert/strict'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openBench, plain } from '../../test/commit-bench.ts'
import { takeBack } from './commit.ts'
import { findOpenWriters } from './open-writers.ts'

test('who has a file open for writing that a commit has replaced or removed is found, and nobody who reads it, or whose file stayed', () => {
  using bench = openBench()
  const opened = [
    openSync(join(bench.root, 'changed'), 'a'),
    openSync(join(bench.root, 'twin'), 'r'),
    openSync(join(bench.root, 'rights'), 'a'),
    openSync(join(bench.root, 'gone/deep/file'), 'a'),
    openSync(join(bench.root, 'file-to-folder'), 'r+'),
    openSync(join(bench.root, '-odd\nname'), 'a'),
    // Its other name stays.
    openSync(join(bench.root, 'twin'), 'a'),
  ]
  try {
    const journal = bench.run(plain)
    const all = { aside: 'kept', mayGoOn: () => true } as const
    const found = findOpenWriters(plain, journal, all)
    assert.deepEqual(
      new Set(found.map(({ path, processId }) => `${path} ${processId}`)),
      new Set(
        ['/changed', '/gone/deep/file', '/file-to-folder', '/-odd\nname'].map(
          (path) => `${path} ${process.pid}`,
        ),
      ),
    )
    assert.match(found[0]?.program ?? '', /node|Main/)
    assert.deepEqual(findOpenWriters(plain, journal, { ...all, mayGoOn: () => false }), [])
    opened.push(
      openSync(join(bench.root, 'changed'), 'a'),
      openSync(join(bench.root, 'new-folder/deep/n'), 'a'),
    )
    takeBack(plain, journal)
    assert.deepEqual(
      new Set(findOpenWriters(plain, journal, { ...all, aside: 'made' }).map(({ path }) => path)),
      new Set(['/changed', '/new-folder/deep/n']),
    )
  } finally {
    for (const file of opened) closeSync(file)
  }
})
