import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { parseIndexFile } from '../../test/index-oracle.ts'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { type BlobId, parseId } from '../model/ids.ts'
import { openCipher, randomMasterKey } from './cipher.ts'
import {
  decodePackHeader,
  encodePackHeader,
  headerLengthBytes,
  type PackedBlob,
  packHeaderBytes,
  parseHeaderLength,
} from './pack-format.ts'

const cipher = openCipher(randomMasterKey(randomBytes))

const someBlobs = fc.array(
  fc.record({
    type: fc.constantFrom('data' as const, 'tree' as const),
    id: fc
      .nat()
      .map(
        (seed) => parseId<BlobId>(createHash('sha256').update(String(seed)).digest('hex')) ?? assert.fail(),
      ),
    length: fc.integer({ min: 32, max: 0xffff }),
    plainLength: fc.option(fc.integer({ min: 1, max: 0xffff_ffff }), { nil: undefined }),
  }),
  { minLength: 1, maxLength: 50 },
)

function place(
  list: readonly (Omit<PackedBlob, 'offset' | 'plainLength'> & { plainLength: number | undefined })[],
): PackedBlob[] {
  let offset = 0
  return list.map(({ plainLength, ...blob }) => {
    const packed = { ...blob, offset, ...(plainLength === undefined ? {} : { plainLength }) }
    offset += blob.length
    return packed
  })
}

test('a header tells the blobs that it was made of, and its size beforehand', () => {
  fc.assert(
    fc.property(someBlobs, (list) => {
      const blobs = place(list)
      const tail = encodePackHeader(cipher, blobs)
      assert.equal(tail.length, packHeaderBytes(blobs))
      const packBytes = blobs.reduce((sum, { length }) => sum + length, tail.length)
      const length = parseHeaderLength(tail.subarray(-headerLengthBytes), packBytes)
      assert.equal(length, tail.length - headerLengthBytes)
      assert.deepEqual(decodePackHeader(cipher, tail.subarray(0, length), packBytes), blobs)
      assert.throws(() => decodePackHeader(cipher, tail.subarray(0, length), packBytes - 1), {
        code: 'integrity.truncated',
      })
    }),
  )
})

test('any bytes in place of a header are refused as damage', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (plain) => {
      // Sealed with the right key, as a careless program might.
      const sealed = cipher.seal(plain)
      assert.throws(
        () => decodePackHeader(cipher, sealed, 1_000_000_007),
        (error) => isFailure(error, 'integrity.format', 'integrity.truncated'),
      )
    }),
  )
  for (const [length, packBytes] of [
    [0, 100],
    [68, 100],
    [0xffff_ffff, 2 ** 40],
    [200, 203],
  ] as const) {
    const tail = Buffer.alloc(4)
    tail.writeUInt32LE(length)
    assert.throws(() => parseHeaderLength(tail, packBytes), { code: 'integrity.format' })
  }
})

test('any JSON in place of an index is read or refused as damage', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      for (const json of [value, { packs: value }, { packs: [{ id: 'ab'.repeat(32), blobs: value }] }]) {
        try {
          parseIndexFile(json)
        } catch (error) {
          assert.ok(isFailure(error, 'integrity.format'))
        }
      }
    }),
  )
})
