import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { joinPath, parentPath, type RawName, type RawPath, rootPath } from '../model/raw-path.ts'
import { largestFolders } from './largest-folders.ts'

const file = (path: string, bytes: number) => ({ path: path as RawPath, bytes })

test('the deepest folder that is large enough is named, and what is small counts for the one around it', () => {
  const small = Array.from({ length: 30 }, (_, index) => file(`/home/lab/src/${index}/main.c`, 1))
  assert.deepEqual(
    largestFolders([...small, file('/home/lab/data/run/a', 60), file('/home/lab/data/run/b', 10)], 5),
    [
      { path: '/home/lab/data/run', files: 2, bytes: 70 },
      { path: '/home/lab/src', files: 30, bytes: 30 },
    ],
  )
  assert.deepEqual(largestFolders([file('/a/b', 0), file('/c', 0)], 5), [])
})

test('each file counts once: the sums of all folders are the sum of all files', () => {
  const name = fc.constantFrom('a', 'b', 'c')
  const path = fc.array(name, { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(fc.array(fc.record({ path, bytes: fc.integer({ min: 1, max: 1000 }) })), (drawn) => {
      const files = drawn.map(({ path: parts, bytes }) => ({
        path: parts.reduce<RawPath>((at, part) => joinPath(at, part as RawName), rootPath),
        bytes,
      }))
      const found = largestFolders(files, Number.POSITIVE_INFINITY)
      const total = files.reduce((sum, { bytes }) => sum + bytes, 0)
      // What is too little even at the root is not named.
      const told = found.reduce((sum, { bytes }) => sum + bytes, 0)
      assert.ok(told <= total && total - told <= total * 0.05)
      const parents = new Set(files.map((each) => parentPath(each.path)))
      for (const each of found) assert.ok([...parents].some((at) => at.startsWith(each.path)))
    }),
  )
})
