import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { describe, test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { isFailure } from '../base/failure.ts'
import { unpackStream, type Packing } from './unpack-stream.ts'

const content = Buffer.from('what is packed and unpacked again\n'.repeat(20_000))

const packers: Readonly<Record<Exclude<Packing, 'none'>, (data: Buffer) => Buffer>> = {
  gzip: gzipSync,
  zstd: zstdCompressSync,
  xz: (input) => execFileSync('xz', ['-c'], { input }),
  lzma: (input) => execFileSync('xz', ['-c', '--format=lzma'], { input }),
  bzip2: (input) => execFileSync('bzip2', ['-c'], { input }),
}

async function* pieces(bytes: Buffer, pieceBytes = 1000): AsyncGenerator<Buffer, void> {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    await Promise.resolve()
    yield bytes.subarray(at, at + pieceBytes)
  }
}

async function unpack(bytes: Buffer, packing: Packing): Promise<Buffer> {
  const found = await Array.fromAsync(unpackStream(pieces(bytes), { packing, what: 'a test' }))
  return Buffer.concat(found)
}

for (const [packing, pack] of Object.entries(packers) as [Packing, (data: Buffer) => Buffer][])
  describe(packing, () => {
    const packed = pack(content)

    test('gives back what was packed', async () => {
      assert.ok((await unpack(packed, packing)).equals(content))
    })

    test('a stream that ends early or holds nonsense is a named failure, never a success', async () => {
      const half = packed.subarray(0, packed.length - 9)
      const other = Buffer.concat([packed.subarray(0, 20), Buffer.alloc(packed.length)])
      for (const bytes of [half, other, Buffer.alloc(0), Buffer.alloc(500, 1)])
        await assert.rejects(unpack(bytes, packing), (error) =>
          isFailure(error, 'integrity.format', 'integrity.truncated'),
        )
    })

    test('a failure of the source comes through as it is', async () => {
      async function* failing(): AsyncGenerator<Buffer, void> {
        yield* pieces(packed.subarray(0, 40))
        throw new RangeError('of the source')
      }
      await assert.rejects(Array.fromAsync(unpackStream(failing(), { packing, what: 'a test' })), RangeError)
    })

    test('whoever stops early leaves nothing running', async () => {
      for await (const piece of unpackStream(pieces(packed), { packing, what: 'a test' })) {
        assert.ok(piece.length > 0)
        break
      }
    })
  })
