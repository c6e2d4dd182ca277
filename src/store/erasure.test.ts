import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { noise } from '../../test/store-fixture.ts'
import { coefficient, columnsMax, openErasureArena, rowsMax, solve } from './erasure.ts'

/** Multiplication as it is defined: bit by bit, modulo x^8 + x^4 + x^3 + x^2 + 1. */
function slowProduct(left: number, right: number): number {
  let product = 0
  for (let bit = 0; bit < 8; bit++) if (right & (1 << bit)) product ^= left << bit
  for (let bit = 14; bit >= 8; bit--) if (product & (1 << bit)) product ^= 0x11d << (bit - 8)
  return product
}

test('every product of two bytes is what the definition of the field gives', () => {
  const memory = openErasureArena().take(2, 256)
  const [target, source] = memory.buffers
  assert.ok(target && source)
  for (let byte = 0; byte < 256; byte++) source[byte] = byte
  for (let factor = 0; factor < 256; factor++) {
    target.fill(0)
    memory.addProduct(0, 1, factor, { offset: 0, length: 256 })
    assert.deepEqual(
      [...target],
      [...source].map((byte) => slowProduct(byte, factor)),
      `times ${factor}`,
    )
  }
})

test('a product is added to its range alone, whatever its length and whatever was there before', () => {
  const arena = openErasureArena()
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 300 }),
      fc.integer({ min: 0, max: 9 }),
      fc.nat(255),
      (bytes, step, factor) => {
        const memory = arena.take(3, bytes)
        const [before, target, source] = memory.buffers
        assert.ok(before && target && source)
        source.set(noise(bytes, 'source'))
        target.set(noise(bytes, 'target'))
        const offset = Math.min(step * 32, Math.floor((bytes - 1) / 32) * 32)
        const expected = [...target].map((byte, at) =>
          at < offset ? byte : byte ^ slowProduct(source[at] ?? 0, factor),
        )
        memory.addProduct(1, 2, factor, { offset, length: bytes - offset })
        assert.deepEqual([...target], expected)
        assert.ok(before.every((byte) => byte === 0))
      },
    ),
  )
})

test('no coefficient is zero, and each is the inverse of its row and column', () => {
  for (let row = 0; row < rowsMax; row++)
    for (let column = 0; column < columnsMax; column++)
      assert.equal(slowProduct(coefficient(row, column), row ^ (16 + column)), 1)
})

test('whichever columns are missing, as many rows bring them back', () => {
  const shape = fc
    .record({ columns: fc.integer({ min: 1, max: columnsMax }), rows: fc.integer({ min: 1, max: rowsMax }) })
    .chain(({ columns, rows }) =>
      fc.integer({ min: 1, max: Math.min(rows, columns) }).chain((missing) =>
        fc.record({
          lost: fc.uniqueArray(fc.nat(columns - 1), { minLength: missing, maxLength: missing }),
          by: fc.uniqueArray(fc.nat(rows - 1), { minLength: missing, maxLength: missing }),
        }),
      ),
    )
  fc.assert(
    fc.property(shape, ({ lost, by }) => {
      const inverse = solve(by, lost)
      const identity = inverse.map((row) =>
        lost.map((column) =>
          row.reduce((sum, factor, at) => sum ^ slowProduct(factor, coefficient(by[at] ?? 0, column)), 0),
        ),
      )
      assert.deepEqual(
        identity,
        lost.map((_, at) => lost.map((__, other) => (at === other ? 1 : 0))),
      )
    }),
  )
})

test('gf256.wasm is what the source builds', () => {
  const root = join(import.meta.dirname, '../..')
  const source = readFileSync(new URL('gf256.as.ts', import.meta.url), 'utf8')
  const [, command = ''] = /^\/\/ {3}(node_modules\/\.bin\/asc .*)$/m.exec(source) ?? []
  const folder = mkdtempSync(join(tmpdir(), 'vml-wasm-'))
  try {
    const built = join(folder, 'gf256.wasm')
    const [, ...args] = command.replace('src/store/gf256.wasm', built).split(' ')
    execFileSync(process.execPath, [join(root, 'node_modules/assemblyscript/bin/asc.js'), ...args], {
      cwd: root,
    })
    assert.deepEqual(readFileSync(built), readFileSync(new URL('gf256.wasm', import.meta.url)))
  } finally {
    rmSync(folder, { recursive: true })
  }
})
