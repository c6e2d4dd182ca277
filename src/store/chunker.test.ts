import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createCipheriv, hash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { openResticPeer, type ResticPeer } from '../../test/restic-peer.ts'
import { chunkBytesAverage, chunkBytesMax, chunkBytesMin, openChunker, type Chunker } from './chunker.ts'
import { parsePolynomial } from './polynomial.ts'
import { decodeTree } from './tree-codec.ts'

const min = chunkBytesMin
const max = chunkBytesMax
/** The polynomial of the test vectors in docs/format.md. */
const polynomial = parsePolynomial('3da3358b4dc173')

/** The data of the test vectors: AES-256-CTR over zeros, with a key of `seed` 32 times and a counter from 0. */
function stream(length: number, seed = 0): Buffer {
  return createCipheriv('aes-256-ctr', Buffer.alloc(32, seed), Buffer.alloc(16)).update(Buffer.alloc(length))
}

const chunkers = {
  gear: openChunker({ algorithm: 'gear', polynomial }),
  rabin: openChunker({ algorithm: 'rabin', polynomial }),
}

/** Lengths of all chunks, read through the buffer as a writer does. */
function cutAll(data: Uint8Array, chunker = chunkers.gear): number[] {
  const lengths: number[] = []
  for (let at = 0; at < data.length;) {
    const room = Math.min(chunker.buffer.length, data.length - at)
    chunker.buffer.set(data.subarray(at, at + room))
    for (let offset = 0; offset < room;) {
      if (room - offset < max && at + room - offset < data.length) break
      const length = chunker.cut(offset, room - offset)
      lengths.push(length)
      offset += length
      at += length
    }
  }
  return lengths
}

const u64 = (value: bigint) => BigInt.asUintN(64, value)

/** As docs/format.md says it, with numbers that cannot overflow. */
function gearByTheBook(data: Uint8Array): number[] {
  const table: bigint[] = []
  let state = polynomial
  for (let byte = 0; byte < 256; byte++) {
    state = u64(state + 0x9e3779b97f4a7c15n)
    let z = state
    z = u64((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n)
    z = u64((z ^ (z >> 27n)) * 0x94d049bb133111ebn)
    table.push(z ^ (z >> 31n))
  }
  const value = (byte: number | undefined) => table[byte ?? 0] ?? 0n
  const lengths: number[] = []
  for (let start = 0; start < data.length;) {
    const rest = data.length - start
    let cut = Math.min(rest, 8 * 2 ** 20)
    if (rest > 2 ** 19 && data.subarray(start, start + 2 ** 19).every((byte) => byte === 0)) {
      lengths.push(2 ** 19)
      start += 2 ** 19
      continue
    }
    let fingerprint = 0n
    for (let length = rest > 2 ** 19 ? 2 ** 19 - 63 : cut + 1; length <= cut; length++) {
      fingerprint = u64(fingerprint * 2n + value(data[start + length - 1]))
      const zeros = length <= 2 ** 20 ? 22n : 18n
      if (length >= 2 ** 19 && fingerprint >> (64n - zeros) === 0n) cut = length
    }
    lengths.push(cut)
    start += cut
  }
  return lengths
}

test('Gear cuts where an implementation written from the format page cuts', () => {
  const zeros = Buffer.alloc(max + 3 * min)
  const repeated = Buffer.alloc(3 * 2 ** 20, stream(1000))
  for (const data of [stream(10 * 2 ** 20), zeros, repeated, stream(min), stream(min + 1), Buffer.alloc(0)]) {
    assert.deepEqual(cutAll(data), gearByTheBook(data))
  }
})

test('a run of zeros is one chunk of 512 KiB again and again, the one that restic makes holes of', () => {
  const lengths = cutAll(Buffer.concat([stream(3 * 2 ** 20), Buffer.alloc(20 * 2 ** 20), stream(100, 5)]))
  const inner = lengths.filter((length) => length === min)
  assert.ok(inner.length >= 22, `${inner.length} of ${lengths.length}`)
  for (const short of [1, 7, 8, 9]) {
    // One byte that is not zero, anywhere in the first 512 KiB, and it is content as any other.
    const data = Buffer.alloc(3 * min)
    data[min - short] = 1
    assert.deepEqual(cutAll(data), gearByTheBook(data))
    assert.notEqual(cutAll(data)[0], min)
  }
})

test('Gear changes its mask after the average, and takes a cut at the minimum', () => {
  // A window that made a cut is put where it ends just before, at and after the lengths at which the rule changes.
  const data = stream(10 * 2 ** 20)
  const [first = 0, second = 0] = gearByTheBook(data)
  for (const end of [first, first + second]) {
    const window = data.subarray(end - 64, end)
    for (const length of [min - 1, min, min + 1, chunkBytesAverage, chunkBytesAverage + 1]) {
      const file = Buffer.alloc(chunkBytesAverage + 2 * min)
      window.copy(file, length - 64)
      assert.deepEqual(cutAll(file), gearByTheBook(file))
    }
  }
})

test('the test vectors of the format page hold', () => {
  const page = readFileSync(new URL('../../docs/format.md', import.meta.url), 'utf8')
  for (const algorithm of ['gear', 'rabin'] as const) {
    const lengths = cutAll(stream(64 * 2 ** 20), chunkers[algorithm])
    const digest = hash('sha256', lengths.join('\n'))
    assert.ok(
      page.includes(`| ${algorithm} | ${lengths.length} | ${lengths[0]} | ${digest} |`),
      `${algorithm} ${lengths.length} ${lengths[0]} ${digest}`,
    )
  }
})

for (const algorithm of ['gear', 'rabin'] as const) {
  test(`${algorithm}: chunks keep the bounds, make up the file, and do not depend on where the data lies`, () => {
    const chunker = chunkers[algorithm]
    const pieces = fc.noBias(
      fc.array(
        fc.record({
          kind: fc.constantFrom('random', 'zero', 'repeated'),
          length: fc.integer({ min: 0, max: 3 * 2 ** 20 }),
          seed: fc.integer({ min: 0, max: 255 }),
        }),
        { maxLength: 5 },
      ),
    )
    fc.assert(
      fc.property(pieces, fc.integer({ min: 0, max: 1000 }), (parts, shift) => {
        const data = Buffer.concat(
          parts.map(({ kind, length, seed }) =>
            kind === 'random'
              ? stream(length, seed)
              : Buffer.alloc(length, kind === 'zero' ? 0 : stream(300, seed)),
          ),
        )
        const lengths = cutAll(data, chunker)
        assert.equal(
          lengths.reduce((sum, length) => sum + length, 0),
          data.length,
        )
        assert.ok(lengths.every((length) => length > 0 && length <= max))
        assert.ok(lengths.slice(0, -1).every((length) => length >= min))
        const [first = 0] = lengths
        if (first === 0) return
        const window = data.subarray(0, max)
        chunker.buffer.fill(0xaa)
        chunker.buffer.set(window, shift)
        assert.equal(chunker.cut(shift, window.length), first)
        // The same bytes as a file of their own are one chunk.
        chunker.buffer.set(data.subarray(0, first))
        assert.equal(chunker.cut(0, first), first)
      }),
      { numRuns: 15 },
    )
  })

  test(`${algorithm}: after an insertion the old chunks come again`, () => {
    const data = stream(24 * 2 ** 20, 7)
    const before = new Set(chunkIds(data, chunkers[algorithm]))
    const middle = 3 * 2 ** 20 + 12_345
    const after = chunkIds(
      Buffer.concat([data.subarray(0, middle), Buffer.from('x'), data.subarray(middle)]),
      chunkers[algorithm],
    )
    const fresh = after.filter((id) => !before.has(id))
    assert.ok(fresh.length <= 3, `${fresh.length} of ${after.length} chunks are new`)
  })
}

test('the average lies near the one that was asked for', () => {
  const lengths = cutAll(stream(128 * 2 ** 20, 3))
  const average = (128 * 2 ** 20) / lengths.length
  assert.ok(average > chunkBytesAverage && average < 1.35 * chunkBytesAverage, `${average}`)
})

test('what lies outside of the buffer is refused', () => {
  const { buffer, cut } = chunkers.gear
  assert.ok(buffer.length >= 2 * max)
  for (const [offset, length] of [
    [-1, 1],
    [0, buffer.length + 1],
    [buffer.length, 1],
    [Number.NaN, 1],
    [0, -1],
  ] as const) {
    assert.throws(() => cut(offset, length), RangeError)
  }
  assert.equal(cut(buffer.length, 0), 0)
})

/** Ids of the chunks of every file in a backup of one folder, by name, as restic stored them. */
function contentLists(restic: ResticPeer): Map<string, readonly string[]> {
  const [snapshot = ''] = restic.run('list', 'snapshots').toString().trim().split('\n').slice(-1)
  const parsed: unknown = JSON.parse(restic.run('cat', 'snapshot', snapshot).toString())
  assert.ok(typeof parsed === 'object' && parsed !== null && 'tree' in parsed)
  let nodes = decodeTree(restic.run('cat', 'blob', String(parsed.tree)))
  for (let below = nodes[0]?.subtree; below !== undefined; below = nodes[0]?.subtree) {
    nodes = decodeTree(restic.run('cat', 'blob', below))
  }
  return new Map(nodes.map((node) => [node.name, node.content ?? []]))
}

function chunkIds(data: Buffer, chunker: Chunker): string[] {
  let at = 0
  return cutAll(data, chunker).map((length) => hash('sha256', data.subarray(at, (at += length))))
}

for (const version of ['0.14', '0.19'] as const) {
  test(`Rabin makes the chunks that restic ${version} makes, so that nothing is stored twice`, async () => {
    using restic = await openResticPeer(version)
    const config: unknown = JSON.parse(restic.run('cat', 'config').toString())
    assert.ok(typeof config === 'object' && config !== null && 'chunker_polynomial' in config)
    const drawn = parsePolynomial(String(config.chunker_polynomial))
    const random = stream(12 * 2 ** 20, 9)
    const chunker = openChunker({ algorithm: 'rabin', polynomial: drawn })
    const [firstCut = 0] = cutAll(random, chunker)
    const sizes = [0, 1, 63, 64, 65, min - 1, min, min + 1, min + 64, firstCut - 1, firstCut, firstCut + 1]
    const files = new Map<string, Buffer>([
      ...[...sizes, firstCut + min - 1, firstCut + min, firstCut + min + 1, random.length].map(
        (size) => [`random-${size}`, random.subarray(0, size)] as const,
      ),
      ...[max - 1, max, max + 1, max + min].map((size) => [`zero-${size}`, Buffer.alloc(size)] as const),
      ['repeated-short', Buffer.alloc(3 * 2 ** 20, 'abc')],
      ['repeated-long', Buffer.alloc(5 * 2 ** 20, stream(70_000, 2))],
      ['one-byte', Buffer.alloc(max + 5, 0xff)],
      ['zero-then-random', Buffer.concat([Buffer.alloc(max - 10), random.subarray(0, 3 * 2 ** 20)])],
      ['text', Buffer.from(Array.from({ length: 150_000 }, (_, line) => `line ${line} of a log\n`).join(''))],
    ])
    const folder = join(restic.folder, 'data')
    mkdirSync(folder)
    for (const [name, data] of files) writeFileSync(join(folder, name), data)
    restic.run('backup', '--quiet', 'data')
    const lists = contentLists(restic)
    assert.deepEqual([...lists.keys()].toSorted(), [...files.keys()].toSorted())
    for (const [name, data] of files) assert.deepEqual(chunkIds(data, chunker), lists.get(name), name)
  })
}

test('chunker.wasm is what the source builds', () => {
  const root = join(import.meta.dirname, '../..')
  const source = readFileSync(new URL('chunker.as.ts', import.meta.url), 'utf8')
  const [, command = ''] = /^\/\/ {3}(node_modules\/\.bin\/asc .*)$/m.exec(source) ?? []
  const folder = mkdtempSync(join(tmpdir(), 'vml-wasm-'))
  try {
    const built = join(folder, 'chunker.wasm')
    const [, ...args] = command.replace('src/store/chunker.wasm', built).split(' ')
    execFileSync(process.execPath, [join(root, 'node_modules/assemblyscript/bin/asc.js'), ...args], {
      cwd: root,
    })
    assert.deepEqual(readFileSync(built), readFileSync(new URL('chunker.wasm', import.meta.url)))
  } finally {
    rmSync(folder, { recursive: true })
  }
})
