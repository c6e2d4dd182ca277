import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { openMemory } from '../backend/memory.ts'
import { type BlobId, parseId } from '../model/ids.ts'
import { openCipher, randomMasterKey } from './cipher.ts'
import { type PackedBlob, packHeaderBytes } from './pack-format.ts'
import { openPacker } from './packer.ts'
import { noise } from '../../test/store-fixture.ts'

const packBytes = 100_000

function blobOf(name: string, bytes: number): { type: 'data'; id: BlobId; payload: Buffer } {
  const payload = noise(bytes, name)
  const id = parseId<BlobId>(createHash('sha256').update(payload).digest('hex'))
  return { type: 'data', id: id ?? assert.fail(), payload }
}

test('packs are filled, never larger than asked for, and hold every blob once', async () => {
  const cipher = openCipher(randomMasterKey(randomBytes))
  const stored: { bytes: number; blobs: readonly PackedBlob[] }[] = []
  const packer = openPacker({
    vault: { backend: openMemory(), cipher, version: 2 },
    packBytes,
    onStored: async (pack) => void stored.push(pack),
  })
  const blobs = Array.from({ length: 100 }, (_, at) => blobOf(`blob ${at}`, 1 + ((at * 7919) % 9000)))
  // Two larger than a pack have one each.
  const large = [blobOf('large', 150_000), blobOf('larger', 900_000)]
  await Promise.all([...blobs, ...large].map(async (blob) => await packer.add(blob)))
  await packer.flush()
  assert.deepEqual(
    stored.flatMap((pack) => pack.blobs.map(({ id }) => id)).sort(),
    [...blobs, ...large].map(({ id }) => id).sort(),
  )
  for (const { bytes, blobs: inside } of stored) {
    assert.ok(bytes <= packBytes || inside.length === 1)
    assert.equal(
      bytes,
      inside.reduce((sum, { length }) => sum + length, packHeaderBytes(inside)),
    )
  }
  assert.ok(stored.length <= 8)
})

test('a slow place holds the writer back instead of memory filling with packs', async () => {
  const cipher = openCipher(randomMasterKey(randomBytes))
  const memory = openMemory()
  const waiting: (() => void)[] = []
  const slow = {
    ...memory,
    put: async (...put: Parameters<typeof memory.put>) => {
      await new Promise<void>((resolve) => waiting.push(resolve))
      await memory.put(...put)
    },
  }
  let stored = 0
  const packer = openPacker({
    vault: { backend: slow, cipher, version: 2 },
    packBytes,
    onStored: async () => void stored++,
  })
  let added = 0
  const adding = Promise.all(
    Array.from({ length: 40 }, async (_, at) => {
      await packer.add(blobOf(String(at), 60_000))
      added++
    }),
  )
  await new Promise((resolve) => setTimeout(resolve, 50))
  // Two are on their way, one waits, and nothing else was sealed.
  assert.deepEqual([waiting.length, added], [2, 3])
  const release = setInterval(() => waiting.shift()?.(), 1)
  await adding
  await packer.flush()
  clearInterval(release)
  assert.equal(stored, 40)
})
