import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { type BlobId, type PackId, parseId } from '../model/ids.ts'
import { openBlobIndex } from './blob-index.ts'
import type { PackedBlob } from './pack-format.ts'

function idOf(text: string): BlobId {
  const id = parseId<BlobId>(createHash('sha256').update(text).digest('hex'))
  assert.ok(id)
  return id
}
const packOf = (text: string) => idOf(`pack ${text}`) as string as PackId

test('finds exactly what was added, by type and id, with every number', () => {
  const blob = fc.record({
    id: fc.integer({ min: 0, max: 60 }).map((number) => idOf(String(number))),
    type: fc.constantFrom('data' as const, 'tree' as const),
    offset: fc.integer({ min: 0, max: 0xffff_fff }),
    length: fc.integer({ min: 32, max: 0xffff_fff }),
    plainLength: fc.option(fc.integer({ min: 1, max: 0xffff_ffff }), { nil: undefined }),
  })
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), blob)), (added) => {
      const index = openBlobIndex()
      const places = new Map<string, string[]>()
      for (const [pack, { plainLength, ...rest }] of added) {
        const packed: PackedBlob = { ...rest, ...(plainLength === undefined ? {} : { plainLength }) }
        const name = `${rest.type} ${rest.id}`
        const known = places.get(name) ?? []
        // The same place again is the same blob.
        const again = known.some((place) => place.startsWith(`${packOf(pack)} ${rest.offset} `))
        index.add(packOf(pack), [packed])
        if (!again)
          places.set(name, [...known, `${packOf(pack)} ${rest.offset} ${rest.length} ${plainLength}`])
      }
      assert.equal(index.blobs, places.size)
      for (let number = 0; number <= 60; number++) {
        for (const type of ['data', 'tree'] as const) {
          const found = index.findAll(type, idOf(String(number)))
          const expected = places.get(`${type} ${idOf(String(number))}`) ?? []
          assert.deepEqual(
            found.map((place) => `${place.pack} ${place.offset} ${place.length} ${place.plainLength}`),
            expected,
          )
          assert.equal(index.has(type, idOf(String(number))), expected.length > 0)
        }
      }
      const contents = [...index.packContents()].flatMap(({ pack, blobs }) =>
        blobs.map((inner) => `${pack} ${inner.type} ${inner.id} ${inner.offset}`),
      )
      assert.equal(contents.length, [...places.values()].flat().length)
    }),
    { numRuns: 50 },
  )
})

test('grows past many segments and takes less than 80 bytes a blob', () => {
  const index = openBlobIndex()
  const count = 100_000
  const before = process.memoryUsage().arrayBuffers
  for (let number = 0; number < count; number += 100) {
    const blobs = Array.from({ length: 100 }, (_, at): PackedBlob => ({
      type: 'data',
      id: idOf(String(number + at)),
      offset: at * 100,
      length: 100,
    }))
    index.add(packOf(String(number)), blobs)
  }
  assert.equal(index.blobs, count)
  for (let number = 0; number < count; number += 7) {
    assert.equal(index.findAll('data', idOf(String(number)))[0]?.offset, (number % 100) * 100)
    assert.ok(!index.has('tree', idOf(String(number))))
  }
  assert.ok((process.memoryUsage().arrayBuffers - before) / count < 80)
  assert.equal([...index.packContents()].length, count / 100)
})
