// The plan of what to read from packs: every chunk of every file once, pieces that stay small.
import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import type { BlobId, PackId } from '../model/ids.ts'
import { openBlobIndex } from './blob-index.ts'
import { openContentPlan } from './content-plan.ts'

const idOf = (number: number) => hash('sha256', `blob ${number}`) as BlobId
const packOf = (number: number) => hash('sha256', `pack ${number}`) as PackId

/** Blobs of so many bytes, packed in their order, so many to a pack; every third is stored as it is. */
function indexOf(lengths: readonly number[], perPack: number) {
  const index = openBlobIndex()
  const places = new Map<BlobId, { pack: PackId; offset: number; length: number; plain: number }>()
  for (let first = 0; first < lengths.length; first += perPack) {
    let offset = 0
    const pack = packOf(first)
    const blobs = lengths.slice(first, first + perPack).map((length, at) => {
      const id = idOf(first + at)
      const isPlain = (first + at) % 3 === 0
      const plain = isPlain ? length : length * 2
      places.set(id, { pack, offset, length: length + 32, plain })
      const blob = { type: 'data' as const, id, offset, length: length + 32 }
      offset += length + 32
      return isPlain ? blob : { ...blob, plainLength: plain }
    })
    index.add(pack, blobs)
  }
  return { loaded: { blobs: async () => index, refresh: async () => index }, places }
}

test('every chunk of every file comes once, from where it lies, to where it belongs (property)', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.integer({ min: 1, max: 3000 }), fc.integer({ min: 100_000, max: 5_000_000 })), {
        minLength: 1,
        maxLength: 60,
      }),
      fc.integer({ min: 1, max: 20 }),
      fc.array(fc.array(fc.nat(), { maxLength: 12 }), { maxLength: 20 }),
      async (lengths, perPack, picks) => {
        const { loaded, places } = indexOf(lengths, perPack)
        const files = picks.map((file) => file.map((pick) => idOf(pick % lengths.length)))
        const plan = openContentPlan(loaded)
        for (const [number, content] of files.entries()) {
          const expected = content.map((id) => places.get(id)?.plain ?? -1)
          assert.equal(
            await plan.add(content),
            expected.reduce((sum, length) => sum + length, 0),
          )
          assert.deepEqual(plan.chunkLengths(number), expected)
        }
        const seen = new Set<string>()
        const blobs = new Map<string, number>()
        for (const piece of plan.pieces()) {
          assert.ok(piece.length <= 4 * 1024 * 1024 || piece.blobs.length === 1)
          for (const { id, start, length, plainLength, targets } of piece.blobs) {
            const place = places.get(id)
            assert.deepEqual(
              [piece.pack, piece.offset + start, length, plainLength ?? length - 32],
              [place?.pack, place?.offset, place?.length, place?.plain],
            )
            assert.ok(start >= 0 && start + length <= piece.length)
            blobs.set(id, (blobs.get(id) ?? 0) + 1)
            for (const { file, chunk, at } of targets) {
              assert.equal(files[file]?.[chunk], id)
              const before = plan.chunkLengths(file).slice(0, chunk)
              assert.equal(
                at,
                before.reduce((sum, each) => sum + each, 0),
              )
              assert.ok(!seen.has(`${file}/${chunk}`))
              seen.add(`${file}/${chunk}`)
            }
          }
        }
        assert.equal(seen.size, files.flat().length)
        assert.deepEqual([...new Set(blobs.values())], seen.size === 0 ? [] : [1])
      },
    ),
    { numRuns: 60 },
  )
})

test('a chunk of a file beyond 4 GiB is placed to the byte, and one of very many places comes in parts', async () => {
  const { loaded } = indexOf([1_000_000], 1)
  const plan = openContentPlan(loaded)
  const content = Array.from({ length: 10_000 }, () => idOf(0))
  assert.equal(await plan.add(content), 10_000_000_000)
  const pieces = [...plan.pieces()]
  assert.ok(pieces.length > 1)
  const places = pieces.flatMap(({ blobs }) => blobs.flatMap(({ targets }) => targets.map(({ at }) => at)))
  assert.deepEqual(
    places.toSorted((a, b) => a - b),
    content.map((_, chunk) => chunk * 1_000_000),
  )
})

test('a blob that no index names is missing before anything is read', async () => {
  const { loaded } = indexOf([10], 1)
  await assert.rejects(openContentPlan(loaded).add([idOf(0), idOf(7)]), (error) =>
    isFailure(error, 'integrity.missing'),
  )
})
