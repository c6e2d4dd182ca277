import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { hash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { applyDelta, deltaBytesMax, makeDelta, openDeltaWorkspace } from './zstd-delta.ts'

/** Without repeats of its own: what a delta saves comes from the base alone. */
function noise(length: number, name: string): Buffer {
  return hash('shake256', name, { outputEncoding: 'buffer', outputLength: length })
}

/** As a new version of a program: most of the old one, some of it at another place, some of it new. */
function next(old: Buffer): Buffer {
  const third = Math.floor(old.length / 3)
  return Buffer.concat([
    old.subarray(0, third),
    noise(500, 'inserted'),
    old.subarray(2 * third),
    old.subarray(third, 2 * third),
  ])
}

test('tables of earlier deltas serve the next ones, whatever their sizes, and change nothing that comes out', () => {
  using workspace = openDeltaWorkspace()
  const sizes = fc.integer({ min: 0, max: 300_000 })
  fc.assert(
    fc.property(sizes, fc.nat(9), (length, name) => {
      const old = noise(length, `${name}`)
      const base = next(old)
      const delta = makeDelta({ old, base }, { workspace })
      assert.equal(delta === undefined, old.length < 128)
      if (delta) assert.deepEqual(applyDelta({ delta, base, sizeBytes: old.length }), old)
    }),
    { numRuns: 40 },
  )
})

for (const direct of [true, false]) {
  const how = direct ? 'through the library' : 'through Node alone'

  test(`${how}: an old version is kept as what the new one does not have`, () => {
    const old = noise(600_000, 'old')
    const base = next(old)
    const delta = makeDelta({ old, base }, { direct })
    assert.ok(delta && delta.length < 1000, `${delta?.length} bytes`)
    assert.deepEqual(applyDelta({ delta, base }, { direct }), old)
    assert.deepEqual(applyDelta({ delta, base, sizeBytes: old.length }, { direct }), old)
  })

  test(`${how}: the zstd program opens what was made, whatever the contents`, () => {
    withFolder((folder) => {
      const [baseFile, deltaFile] = [join(folder, 'new'), join(folder, 'delta.zst')]
      const piece = fc
        .tuple(fc.nat(30), fc.integer({ min: 1, max: 9000 }))
        .map(([name, length]) => noise(length, `${name}`))
      const content = fc.array(piece, { minLength: 1, maxLength: 12 }).map((pieces) => Buffer.concat(pieces))
      fc.assert(
        fc.property(content, content, (old, base) => {
          const delta = makeDelta({ old, base }, { direct })
          if (old.length < 128 || base.length < 128) return assert.equal(delta, undefined)
          assert.ok(delta)
          assert.deepEqual(applyDelta({ delta, base, sizeBytes: old.length }, { direct: !direct }), old)
          writeFileSync(baseFile, base)
          writeFileSync(deltaFile, delta)
          const words = ['-d', '--long=27', '-q', '-c', `--patch-from=${baseFile}`, deltaFile]
          return assert.deepEqual(execFileSync('zstd', words), old)
        }),
        { numRuns: 25 },
      )
    })
  })
}

test('what the zstd program made is opened', () => {
  withFolder((folder) => {
    const old = noise(200_000, 'old')
    const base = next(old)
    const [oldFile, baseFile, deltaFile] = [
      join(folder, 'old'),
      join(folder, 'new'),
      join(folder, 'delta.zst'),
    ]
    writeFileSync(oldFile, old)
    writeFileSync(baseFile, base)
    execFileSync('zstd', ['-3', '--long=27', '-q', `--patch-from=${baseFile}`, oldFile, '-o', deltaFile])
    const delta = readFileSync(deltaFile)
    for (const direct of [true, false])
      assert.deepEqual(applyDelta({ delta, base, sizeBytes: old.length }, { direct }), old)
  })
})

test('another base, a changed one, a cut-off delta and a wrong size are refused', () => {
  const old = noise(5000, 'old')
  const base = next(old)
  const delta = makeDelta({ old, base }) ?? Buffer.alloc(0)
  const changed = Buffer.from(base)
  changed[100] = (changed[100] ?? 0) ^ 1
  const refused = (given: Parameters<typeof applyDelta>[0]) => {
    for (const direct of [true, false])
      for (const sized of [given, { sizeBytes: old.length, ...given }])
        assert.throws(
          () => applyDelta(sized, { direct }),
          (error) => isFailure(error, 'integrity.format'),
        )
  }
  refused({ delta, base: noise(5000, 'other') })
  refused({ delta, base: changed })
  refused({ delta: delta.subarray(0, -1), base })
  refused({ delta: Buffer.concat([delta, Buffer.of(0)]), base })
  refused({ delta: Buffer.alloc(0), base })
  refused({ delta, base: Buffer.alloc(0) })
  refused({ delta, base, sizeBytes: 0 })
  refused({ delta, base, sizeBytes: deltaBytesMax + 1 })
  refused({ delta, base, sizeBytes: old.length - 1 })
  refused({ delta, base, sizeBytes: old.length + 1 })
})

test('a base that begins as a dictionary of zstd, and what is too small or too large, gets no delta', () => {
  const old = noise(5000, 'old')
  const dictionary = Buffer.concat([Buffer.from('37a430ec', 'hex'), old])
  assert.equal(makeDelta({ old, base: dictionary }), undefined)
  assert.equal(makeDelta({ old: old.subarray(0, 127), base: old }), undefined)
  assert.equal(makeDelta({ old, base: Buffer.alloc(0) }), undefined)
  assert.equal(makeDelta({ old, base: Buffer.alloc(deltaBytesMax + 1) }), undefined)
})

function withFolder(run: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'vml-delta-'))
  try {
    run(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
