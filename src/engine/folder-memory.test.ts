import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { parseId, type TreeId } from '../model/ids.ts'
import type { RawPath } from '../model/raw-path.ts'
import { decodeFolderMemory, encodeFolderMemory, type FolderMemory } from './folder-memory.ts'

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const treeId = (text: string): TreeId => parseId<TreeId>(sha256(text)) ?? assert.fail()

const memories = fc
  .record({
    root: fc.string(),
    indexes: fc.array(fc.string(), { maxLength: 5 }),
    programs: fc.option(fc.string()),
    folders: fc.array(
      fc.record({
        path: fc.uint8Array({ maxLength: 40 }),
        fingerprint: fc.option(fc.string()),
        tree: fc.string(),
      }),
      { maxLength: 20 },
    ),
  })
  .map(({ root, indexes, programs, folders }): FolderMemory => ({
    tree: treeId(root),
    indexes: new Set(indexes.map(sha256)),
    programs: programs === null ? '' : sha256(programs),
    folders: new Map(
      folders.map(({ path, fingerprint, tree }) => [
        `/${Buffer.from(path).toString('latin1')}` as RawPath,
        { fingerprint: fingerprint === null ? '' : sha256(fingerprint).slice(0, 32), tree: treeId(tree) },
      ]),
    ),
  }))

test('what was remembered comes back as it was, with any byte in a name', () => {
  fc.assert(
    fc.property(memories, (memory) => {
      assert.deepEqual(decodeFolderMemory(encodeFolderMemory(memory)), memory)
    }),
  )
})

test('a memory with any byte changed, cut or added is none', () => {
  fc.assert(
    fc.property(memories, fc.nat(), fc.integer({ min: 1, max: 255 }), (memory, place, change) => {
      const bytes = encodeFolderMemory(memory)
      const at = place % bytes.length
      const changed = Buffer.from(bytes)
      changed[at] = (changed[at] ?? 0) ^ change
      assert.equal(decodeFolderMemory(changed), undefined)
      assert.equal(decodeFolderMemory(bytes.subarray(0, at)), undefined)
      assert.equal(decodeFolderMemory(Buffer.concat([bytes, bytes.subarray(0, 1)])), undefined)
    }),
  )
})
