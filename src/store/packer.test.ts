import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type BlobId, parseId } from '../model/ids.ts'
import { openCipher, randomMasterKey } from './cipher.ts'
import { decodePackHeader, headerLengthBytes, parseHeaderLength } from './pack-format.ts'
import { type FullPack, openPacker, type StagedPack } from './packer.ts'
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

test('a pack that is written as it grows is the one that it would be in memory', (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-packer-'))
  context.after(() => rmSync(folder, { recursive: true, force: true }))
  const cipher = openCipher(randomMasterKey(randomBytes))
  const large = 6 * 1024 * 1024
  const files = new Map<number, string>()
  const staged: StagedPack[] = []
  const whole: FullPack[] = []
  const packer = openPacker({
    cipher,
    packBytes: large,
    takeBuffer: () => Buffer.alloc(large),
    onFull: (pack) => void whole.push(pack),
    staging: {
      takeFile() {
        const path = join(folder, `${files.size}`)
        const descriptor = openSync(path, 'w')
        files.set(descriptor, path)
        return descriptor
      },
      onWritten: (pack) => void staged.push(pack),
    },
  })
  const blobs = Array.from({ length: 30 }, (_, at) => blobOf(`blob ${at}`, 1 + ((at * 104_729) % 1_000_000)))
  // Beyond a pack, and small enough for the last one to stay in memory.
  const others = [blobOf('large', large + 1), blobOf('small', 1000)]
  for (const blob of [...blobs, ...others]) packer.add(blob)
  packer.flush()
  assert.ok(staged.length >= 3)
  assert.equal(whole.length, 1)
  const found = [
    ...whole,
    ...staged.map((pack) => {
      const content = readFileSync(files.get(pack.descriptor) ?? assert.fail())
      closeSync(pack.descriptor)
      assert.equal(content.length, pack.bytes)
      return { ...pack, content }
    }),
  ]
  const opened = new Map<string, Buffer>()
  for (const { pack, content, blobs: inside } of found) {
    const bytes = Buffer.from(content)
    assert.equal(createHash('sha256').update(bytes).digest('hex'), pack)
    assert.ok(bytes.length <= large || inside.length === 1)
    const header = bytes.length - headerLengthBytes
    const headerBytes = parseHeaderLength(bytes.subarray(header), bytes.length)
    assert.deepEqual(
      decodePackHeader(cipher, bytes.subarray(header - headerBytes, header), bytes.length),
      inside,
    )
    for (const { id, offset, length } of inside)
      opened.set(id, cipher.open(bytes.subarray(offset, offset + length)))
  }
  for (const { id, payload } of [...blobs, ...others]) assert.ok(opened.get(id)?.equals(payload))
})
