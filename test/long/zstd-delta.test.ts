// Deltas of contents up to the limit: all of the base is found, and the zstd program opens each.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createCipheriv } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { applyDelta, deltaBytesMax, makeDelta } from '../../src/wire/zstd-delta.ts'
import { seeded } from '../damage.ts'

const mebibyte = 1024 * 1024

/** The same each time, and without repeats. */
function noise(length: number): Buffer {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16))
  return cipher.update(Buffer.alloc(length))
}

/** Pieces of `content` in another order, some left out, with something new between them. */
function shuffled(content: Buffer, seed: number, length: number): Buffer {
  const random = seeded(seed)
  const out = Buffer.alloc(length)
  for (let at = 0; at < length;) {
    const piece = Math.min(length - at, 1000 + Math.floor(random() * 400_000))
    const from = Math.floor(random() * Math.max(1, content.length - piece))
    at += content.copy(out, at, from, Math.min(from + piece, content.length))
    if (at < length) out[at++] = Math.floor(random() * 256)
  }
  return out
}

const sizes: readonly (readonly [number, number])[] = [
  [3 * mebibyte, 5 * mebibyte],
  [16 * mebibyte, 17 * mebibyte],
  [40 * mebibyte, 33 * mebibyte],
  [mebibyte, deltaBytesMax],
  [deltaBytesMax, mebibyte],
  [deltaBytesMax, deltaBytesMax],
]

for (const [oldBytes, baseBytes] of sizes)
  test(`a content of ${oldBytes} bytes is found in one of ${baseBytes}, and opened by us and by zstd`, (context) => {
    const folder = mkdtempSync(join(tmpdir(), 'vml-delta-'))
    try {
      const base = noise(baseBytes)
      const old = shuffled(base, oldBytes + baseBytes, oldBytes)
      const delta = makeDelta({ old, base })
      assert.ok(delta)
      context.diagnostic(`${delta.length} bytes`)
      assert.ok(delta.length < oldBytes / 100)
      assert.ok(applyDelta({ delta, base, sizeBytes: oldBytes }).equals(old))
      assert.ok(applyDelta({ delta, base, sizeBytes: oldBytes }, { direct: false }).equals(old))
      const [baseFile, deltaFile] = [join(folder, 'base'), join(folder, 'delta.zst')]
      writeFileSync(baseFile, base)
      writeFileSync(deltaFile, delta)
      const words = ['-d', '--long=27', '-q', '-c', `--patch-from=${baseFile}`, deltaFile]
      assert.ok(execFileSync('zstd', words, { maxBuffer: 2 * deltaBytesMax }).equals(old))
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
