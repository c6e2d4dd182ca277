// Blobs opened in memory that is used again: the same bytes as the usual way gives, and the same refusals.
import assert from 'node:assert/strict'
import { hash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { openBlobDecoder, type SealedBlob } from './blob-decoder.ts'
import { openCipher, randomMasterKey } from './cipher.ts'

const key = randomMasterKey(randomBytes)
const cipher = openCipher(key)

function sealed(plain: Uint8Array, compressed: boolean): SealedBlob {
  return {
    id: hash('sha256', plain),
    sealed: cipher.seal(compressed ? zstdCompressSync(plain) : plain),
    plainLength: compressed ? plain.length : undefined,
  }
}

const content = fc.oneof(
  fc.uint8Array({ maxLength: 5000 }),
  fc
    .tuple(fc.uint8Array({ minLength: 1, maxLength: 50 }), fc.integer({ min: 1, max: 20_000 }))
    .map(([part, times]) => Buffer.alloc(part.length * times, part)),
)

for (const reuse of [true, false]) {
  test(`any blobs one after the other come out as they went in, ${reuse ? 'in one decoder' : 'in one each'} (property)`, () => {
    const decoder = openBlobDecoder(key, { reuse })
    fc.assert(
      fc.property(fc.array(fc.tuple(content, fc.boolean()), { maxLength: 8 }), (blobs) => {
        for (const [plain, compressed] of blobs)
          assert.ok(decoder.open(sealed(plain, compressed)).equals(Buffer.from(plain)))
      }),
    )
  })

  test(`what was changed, cut or has another length or id is refused, and the next one opens, ${reuse ? 'in one decoder' : 'in one each'} (property)`, () => {
    const decoder = openBlobDecoder(key, { reuse })
    const fine = sealed(Buffer.from('whole and sound '.repeat(40)), true)
    const copy = () => ({ ...fine, sealed: Buffer.from(fine.sealed) })
    const refuse = (blob: SealedBlob) =>
      assert.throws(
        () => decoder.open(blob),
        (error) => isFailure(error) && error.code.startsWith('integrity.'),
      )
    fc.assert(
      fc.property(
        content,
        fc.boolean(),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (plain, compressed, at, bits) => {
          const flipped = sealed(plain, compressed)
          const bytes = Buffer.from(flipped.sealed)
          const place = at % bytes.length
          bytes[place] = (bytes[place] ?? 0) ^ bits
          refuse({ ...flipped, sealed: bytes })
          refuse({ ...sealed(plain, compressed), sealed: cipher.seal(plain).subarray(0, 20) })
          refuse({ ...sealed(plain, compressed), id: hash('sha256', `${plain.length}, another one`) })
          refuse({ ...sealed(plain, true), plainLength: plain.length + 1 + (at % 1000) })
          if (plain.length > 0) refuse({ ...sealed(plain, true), plainLength: at % plain.length })
          assert.equal(decoder.open(copy()).length, fine.plainLength)
        },
      ),
      { numRuns: 60 },
    )
  })
}

test('a blob above what is held for one is opened in memory of its own', () => {
  const decoder = openBlobDecoder(key)
  const large = Buffer.alloc(9 * 1024 * 1024, 'large ')
  assert.ok(decoder.open(sealed(large, true)).equals(large))
  assert.ok(decoder.open(sealed(large, false)).equals(large))
})
