import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createCipheriv } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import * as fc from 'fast-check'
import { decompress, decompressedBytesMax, decompressUnknown, openCompressor } from './zstd.ts'

const reusing = openCompressor()
const fresh = openCompressor({ reuse: false })
const thorough = openCompressor({ thorough: true })
const text = Buffer.from(
  Array.from({ length: 20_000 }, (_, line) => `line ${line * 7919} of a log\n`).join(''),
)
const noise = createCipheriv('aes-256-ctr', Buffer.alloc(32), Buffer.alloc(16)).update(Buffer.alloc(2 ** 20))

/** Data as it comes: parts that repeat, parts that do not. */
const content = fc
  .array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 100_000 }), fc.integer({ min: 0, max: 100_000 })), {
    maxLength: 4,
  })
  .map((parts) =>
    Buffer.concat(parts.map(([random, at, length]) => (random ? noise : text).subarray(at, at + length))),
  )

test('every frame of every way holds its data, whatever was compressed before', () => {
  fc.assert(
    fc.property(content, (data) => {
      for (const compressor of [reusing, thorough, fresh, reusing]) {
        const frame = compressor.compress(data)
        if (frame === undefined) continue
        assert.ok(frame.length < data.length)
        assert.deepEqual(decompress(frame, data.length), data)
        assert.deepEqual(zstdDecompressSync(frame), data)
      }
    }),
    { numRuns: 100 },
  )
})

test('what is compressed thoroughly is never larger, and smaller where the slower level finds more', () => {
  fc.assert(
    fc.property(content, (data) => {
      const plain = fresh.compress(data)?.length ?? data.length
      assert.ok((thorough.compress(data)?.length ?? data.length) <= plain)
    }),
    { numRuns: 30 },
  )
  const source = readFileSync(import.meta.filename)
  assert.ok((thorough.compress(source)?.length ?? 0) < (fresh.compress(source)?.length ?? 0))
})

test('the encoder that is reused writes what a fresh one writes', () => {
  for (const data of [
    text,
    text.subarray(0, 1000),
    Buffer.alloc(8 * 2 ** 20),
    text.subarray(0, 65_537),
    text,
  ]) {
    assert.deepEqual(reusing.compress(data), fresh.compress(data))
  }
})

test('the zstd program and we read each other', () => {
  const frame = reusing.compress(text)
  assert.ok(frame)
  assert.deepEqual(execFileSync('zstd', ['-dc'], { input: frame, maxBuffer: 2 ** 30 }), text)
  const theirs = execFileSync('zstd', ['-19', '-c'], {
    input: text,
    maxBuffer: 2 ** 30,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  assert.deepEqual(decompress(theirs, text.length), text)
})

test('what does not get smaller is left as it is', () => {
  for (const data of [noise, Buffer.alloc(0), Buffer.from('short'), Buffer.alloc(63)]) {
    assert.equal(reusing.compress(data), undefined)
    assert.equal(fresh.compress(data), undefined)
  }
})

test('data larger than any chunk is compressed too', () => {
  const data = Buffer.alloc(20 * 2 ** 20, text)
  const frame = reusing.compress(data)
  assert.ok(frame)
  assert.deepEqual(decompress(frame, data.length), data)
})

test('another length than the index says is integrity.format', () => {
  const frame = reusing.compress(text)
  assert.ok(frame)
  for (const length of [0, 1, text.length - 1, text.length + 1, decompressedBytesMax + 1, -1, Number.NaN]) {
    assert.throws(() => decompress(frame, length), { code: 'integrity.format' }, String(length))
  }
})

test('a frame that is cut off anywhere, or followed by something, is integrity.format', () => {
  const short = text.subarray(0, 300)
  const frame = fresh.compress(short)
  assert.ok(frame)
  for (let length = 0; length < frame.length; length++) {
    assert.throws(() => decompress(frame.subarray(0, length), short.length), { code: 'integrity.format' })
    assert.throws(() => decompressUnknown(frame.subarray(0, length), 1000), { code: 'integrity.format' })
  }
  const withTail = Buffer.concat([frame, Buffer.from('tail')])
  assert.throws(() => decompressUnknown(withTail, 1000), { code: 'integrity.format' })
})

test('what is no frame is integrity.format', () => {
  for (const data of [Buffer.alloc(0), Buffer.from('no frame at all'), Buffer.alloc(100)]) {
    assert.throws(() => decompressUnknown(data, 1000), { code: 'integrity.format' })
    assert.throws(() => decompress(data, 0), { code: 'integrity.format' })
  }
})

test('an empty frame is empty data', () => {
  assert.equal(decompress(zstdCompressSync(Buffer.alloc(0)), 0).length, 0)
})

test('a frame that would fill the memory stops at the limit', () => {
  const bomb = zstdCompressSync(Buffer.alloc(256 * 2 ** 20))
  assert.ok(bomb.length < 32 * 1024)
  const before = process.memoryUsage.rss()
  assert.throws(() => decompressUnknown(bomb, 2 ** 20), {
    code: 'integrity.format',
    message: /more than 1048576 bytes/,
  })
  assert.throws(() => decompress(bomb, 100), { code: 'integrity.format' })
  assert.ok(process.memoryUsage.rss() - before < 128 * 2 ** 20)
})

test('a window larger than the decoder sets aside is integrity.format', () => {
  const params = { [constants.ZSTD_c_windowLog]: 28, [constants.ZSTD_c_contentSizeFlag]: 0 }
  const frame = zstdCompressSync(text, { params })
  // The window descriptor of a frame without content size: exponent 18 stands for 2^28 (RFC 8878, 3.1.1.1.2).
  const wide = Buffer.from(frame)
  assert.equal((wide[4] ?? 0) & 0x20, 0)
  wide[5] = 18 << 3
  assert.throws(() => decompressUnknown(wide, 2 ** 20), { code: 'integrity.format' })
})
