import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { openResticPeer } from '../../test/restic-peer.ts'
import { formatPolynomial, isIrreducible, parsePolynomial, randomPolynomial } from './polynomial.ts'

/** Product over GF(2), by the school method. */
function multiply(left: bigint, right: bigint): bigint {
  let product = 0n
  for (let bit = 0n; right >> bit; bit++) if ((right >> bit) & 1n) product ^= left << bit
  return product
}

test('exactly the polynomials that are no product are irreducible, for all degrees up to 9', () => {
  const products = new Set<bigint>()
  for (let left = 2n; left < 512n; left++) {
    for (let right = 2n; right <= left && multiply(left, right) < 1024n; right++)
      products.add(multiply(left, right))
  }
  for (let left = 2n; left < 1024n; left++) {
    for (let right = 2n; right < 64n; right++) products.add(multiply(left, right))
  }
  for (let polynomial = 2n; polynomial < 1024n; polynomial++) {
    assert.equal(isIrreducible(polynomial), !products.has(polynomial), polynomial.toString(2))
  }
  assert.equal(isIrreducible(0n), false)
  assert.equal(isIrreducible(1n), false)
})

/** Bytes that are the same in every run. */
function counterBytes(): (count: number) => Uint8Array {
  let counter = 0
  return (count) => createHash('sha256').update(String(counter++)).digest().subarray(0, count)
}

test('a random polynomial has degree 53 and can be written and read again', () => {
  const random = counterBytes()
  const drawn = new Set<bigint>()
  for (let round = 0; round < 20; round++) {
    const polynomial = randomPolynomial(random)
    assert.equal(polynomial.toString(2).length, 54)
    assert.equal(parsePolynomial(formatPolynomial(polynomial)), polynomial)
    drawn.add(polynomial)
  }
  assert.equal(drawn.size, 20)
})

test('a random source that repeats itself is found out', () => {
  assert.throws(() => randomPolynomial(() => new Uint8Array(8)), /No irreducible polynomial/)
})

test('what restic draws is read', async () => {
  using restic = await openResticPeer('0.14')
  const config: unknown = JSON.parse(restic.run('cat', 'config').toString())
  assert.ok(typeof config === 'object' && config !== null && 'chunker_polynomial' in config)
  const hex = String(config.chunker_polynomial)
  assert.equal(formatPolynomial(parsePolynomial(hex)), hex)
})

test('text that is no irreducible polynomial of degree 53 is integrity.format', () => {
  const irreducible = randomPolynomial(counterBytes())
  const reducible = multiply(0b111n, 1n << 51n)
  for (const text of [
    '',
    'x',
    '-1',
    '0x25b468838dcb75',
    '3',
    (irreducible << 1n).toString(16),
    reducible.toString(16),
    'f'.repeat(17),
  ]) {
    assert.throws(() => parsePolynomial(text), { code: 'integrity.format' }, text)
  }
})
