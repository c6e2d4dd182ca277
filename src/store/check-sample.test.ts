import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import type { PackId } from '../model/ids.ts'
import { parsePackSample, samplePacks } from './check-sample.ts'

const packs = new Map(
  Array.from({ length: 400 }, (_, at) => [hash('sha256', String(at)) as PackId, 1000 + at]),
)
const bytesOf = (some: ReadonlyMap<PackId, number>) =>
  [...some.values()].reduce((sum, bytes) => sum + bytes, 0)

test('all parts together are all packs, each once', () => {
  const parts = [1, 2, 3, 4, 5, 6, 7].map((part) =>
    samplePacks(packs, { kind: 'part', part, of: 7 }, Math.random),
  )
  assert.deepEqual(parts.flatMap((part) => [...part.keys()]).sort(), [...packs.keys()].sort())
})

test('a share and a size read at least so many bytes, and little more', () => {
  const total = bytesOf(packs)
  const tenth = bytesOf(samplePacks(packs, { kind: 'percent', percent: 10 }, Math.random))
  assert.ok(tenth >= total / 10 && tenth < total / 10 + 1400)
  const sized = bytesOf(samplePacks(packs, { kind: 'bytes', bytes: 5000 }, Math.random))
  assert.ok(sized >= 5000 && sized < 6400)
  assert.equal(samplePacks(packs, { kind: 'bytes', bytes: 10 ** 9 }, Math.random).size, packs.size)
  assert.equal(samplePacks(packs, { kind: 'percent', percent: 0.001 }, Math.random).size, 1)
})

test('samples are written as for restic', () => {
  assert.deepEqual(parsePackSample('2.5%'), { kind: 'percent', percent: 2.5 })
  assert.deepEqual(parsePackSample('3/7'), { kind: 'part', part: 3, of: 7 })
  assert.deepEqual(parsePackSample('500M'), { kind: 'bytes', bytes: 500 * 2 ** 20 })
  assert.deepEqual(parsePackSample('2GiB'), { kind: 'bytes', bytes: 2 * 2 ** 30 })
  for (const text of ['0%', '100.5%', '0/7', '8/7', '1/257', '0', '10 %', '1e3', 'M', ''])
    assert.equal(parsePackSample(text), undefined, text)
})
