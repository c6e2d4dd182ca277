import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { type BlobId, parseId } from '../model/ids.ts'
import { openCipher, randomMasterKey } from './cipher.ts'
import { decodePackHeader, headerLengthBytes, parseHeaderLength } from './pack-format.ts'
import { type FullPack, openPacker } from './packer.ts'
import { noise } from '../../test/store-fixture.ts'

const packBytes = 100_000

function blobOf(name: string, bytes: number): { type: 'data'; id: BlobId; payload: Buffer } {
  const payload = noise(bytes, name)
  const id = parseId<BlobId>(createHash('sha256').update(payload).digest('hex'))
  return { type: 'data', id: id ?? assert.fail(), payload }
}

test('packs are filled, never larger than asked for, and hold every blob once', () => {
  const cipher = openCipher(randomMasterKey(randomBytes))
  const stored: FullPack[] = []
  const packer = openPacker({
    cipher,
    packBytes,
    takeBuffer: () => Buffer.alloc(packBytes),
    onFull: (pack) => void stored.push(pack),
  })
  const blobs = Array.from({ length: 100 }, (_, at) => blobOf(`blob ${at}`, 1 + ((at * 7919) % 9000)))
  // Two larger than a pack have one each.
  const large = [blobOf('large', 150_000), blobOf('larger', 900_000)]
  for (const blob of [...blobs, ...large]) packer.add(blob)
  packer.flush()
  assert.deepEqual(
    stored.flatMap((pack) => pack.blobs.map(({ id }) => id)).sort(),
    [...blobs, ...large].map(({ id }) => id).sort(),
  )
  for (const { pack, content, blobs: inside } of stored) {
    assert.ok(content.length <= packBytes || inside.length === 1)
    assert.equal(createHash('sha256').update(content).digest('hex'), pack)
    const header = content.length - headerLengthBytes
    const headerBytes = parseHeaderLength(Buffer.from(content.subarray(header)), content.length)
    assert.deepEqual(
      decodePackHeader(cipher, Buffer.from(content.subarray(header - headerBytes, header)), content.length),
      inside,
    )
  }
  assert.ok(stored.length <= 8)
})
