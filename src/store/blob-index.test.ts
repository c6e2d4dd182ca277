import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import * as fc from 'fast-check'
import { type BlobId, type PackId, parseId } from '../model/ids.ts'
import { openBlobIndex } from './blob-index.ts'
import { openBlobClaims } from './blob-table.ts'
import { type PackedBlob, packHeaderBytes } from './pack-format.ts'

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
  const { slots, segments } = index.share(0)
  const bytes = slots.byteLength + segments.reduce((sum, { byteLength }) => sum + byteLength, 0)
  assert.ok(bytes / count < 80)
  assert.equal([...index.packContents()].length, count / 100)
})

test('of many threads that meet the same blobs exactly one is told to store each', async () => {
  const index = openBlobIndex()
  const known = Array.from({ length: 1000 }, (_, number) => idOf(`known ${number}`))
  index.add(
    packOf('known'),
    known.map((id, at) => ({ type: 'data', id, offset: at * 100, length: 100 })),
  )
  const fresh = Array.from({ length: 20_000 }, (_, number) => idOf(`fresh ${number}`))
  const shared = index.share(fresh.length)
  const claimants = Array.from({ length: 3 }, () => {
    const worker = new Worker(new URL('../../test/claimant.ts', import.meta.url), {
      workerData: { shared, ids: [...fresh, ...known] },
    })
    return once(worker, 'message').then(([claimed]: unknown[]) => claimed)
  })
  const own = fresh.filter((id) => index.claim('data', id))
  const claimed = [own, ...(await Promise.all(claimants))].flat()
  assert.equal(claimed.length, fresh.length)
  assert.deepEqual(new Set(claimed), new Set(fresh))
  index.endSharing()
  assert.ok(fresh.every((id) => index.isKnown('data', id) && !index.has('data', id)))
  assert.equal(index.blobs, known.length)
  // Stored at last: half of them; the writer ends, and the other half is as if nobody had ever asked.
  index.add(
    packOf('fresh'),
    fresh.slice(0, 10_000).map((id, at) => ({ type: 'data', id, offset: at * 100, length: 100 })),
  )
  index.dropClaims()
  assert.equal(index.blobs, known.length + 10_000)
  for (const [at, id] of fresh.entries()) {
    assert.equal(index.has('data', id), at < 10_000)
    assert.equal(index.isKnown('data', id), at < 10_000)
  }
  assert.equal(
    [...index.packContents()].reduce((sum, { blobs }) => sum + blobs.length, 0),
    index.blobs,
  )
})

test('what one thread adds while others claim beyond their memory is stored, be it twice', () => {
  const index = openBlobIndex()
  const shared = index.share(100)
  const lane = openBlobClaims(shared)
  const ids = Array.from({ length: 40_000 }, (_, number) => idOf(String(number)))
  const before = ids.slice(0, 50)
  for (const id of before) assert.ok(lane.claim('tree', id))
  // Another program's index comes in: the table grows, and what was claimed is still known.
  index.add(
    packOf('theirs'),
    ids.slice(100).map((id, at) => ({ type: 'data', id, offset: at * 100, length: 100 })),
  )
  for (const id of before) assert.ok(index.isKnown('tree', id) && !index.claim('tree', id))
  for (const id of before) assert.ok(!lane.claim('tree', id))
  const other = openBlobClaims({ ...shared, segments: [] })
  assert.ok(other.claim('tree', idOf('no memory for it')))
})

test('a pack that several indexes name, whole and in parts, has the bytes of all its blobs', () => {
  const blobs = Array.from({ length: 10 }, (_, at): PackedBlob => ({
    type: at % 2 === 0 ? 'data' : 'tree',
    id: idOf(`part ${at}`),
    offset: at * 100,
    length: 100,
    ...(at % 3 === 0 ? { plainLength: 300 } : {}),
  }))
  const whole = openBlobIndex()
  whole.add(packOf('whole'), blobs)
  const parts = openBlobIndex()
  for (const part of [blobs.slice(0, 3), blobs.slice(3), blobs, blobs.slice(2, 7)])
    parts.add(packOf('whole'), part)
  assert.equal(whole.packBytes(packOf('whole')), 1000 + packHeaderBytes(blobs))
  assert.equal(parts.packBytes(packOf('whole')), whole.packBytes(packOf('whole')))
})
