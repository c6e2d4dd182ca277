// The chunker polynomial of a repository: irreducible over GF(2), of degree 53, as restic makes and expects it.
import { VmlError } from '../base/failure.ts'

/** The largest prime below 64 - 8, so that a digest and the byte shifted in fit 64 bits. */
const degree = 53
/** Of an integer that is taken in two halves. */
const halfBits = 27
const halfMask = 2n ** BigInt(halfBits) - 1n
/** About one in 27 candidates is irreducible: so many misses mean that the random source is broken. */
const candidatesMax = 10_000

/** Rabin's test: x^(2^degree) is x, and no factor has a degree that divides this one. Not for degrees above 53. */
export function isIrreducible(polynomial: bigint): boolean {
  const own = bitLength(polynomial) - 1
  if (own < 1 || own > degree) return false
  const squares = squaresOf(polynomial, own)
  const x = remainder(2n, polynomial)
  // x^(2^i) mod polynomial, from i = 0. Every opening of a logbook waits for this: integers of two halves take a tenth of the time.
  let low = Number(x)
  let high = 0
  for (let i = 1; i <= own; i++) {
    let nextLow = 0
    let nextHigh = 0
    // The square of a sum over GF(2) is the sum of the squares.
    for (let at = 0; at < own; at++) {
      const bit = at < halfBits ? (low >>> at) & 1 : (high >>> (at - halfBits)) & 1
      if (bit === 0) continue
      nextLow ^= squares.low[at] ?? 0
      nextHigh ^= squares.high[at] ?? 0
    }
    low = nextLow
    high = nextHigh
    if (i === own || own % i !== 0) continue
    const power = (BigInt(high) << BigInt(halfBits)) | BigInt(low)
    if (commonDivisor(polynomial, power ^ x) !== 1n) return false
  }
  return low === Number(x) && high === 0
}

/** A new polynomial, drawn as restic does: 64 random bits little-endian, degree and constant term forced. */
export function randomPolynomial(randomBytes: (count: number) => Uint8Array): bigint {
  for (let tries = 0; tries < candidatesMax; tries++) {
    const bytes = randomBytes(8)
    const drawn = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true)
    const candidate = BigInt.asUintN(degree, drawn) | (1n << BigInt(degree)) | 1n
    if (isIrreducible(candidate)) return candidate
  }
  throw new Error(`No irreducible polynomial among ${candidatesMax} random ones`)
}

/** Reads `chunker_polynomial` of the configuration file; `integrity.format` for anything a chunker cannot work with. */
export function parsePolynomial(hex: string): bigint {
  const polynomial = /^[0-9a-fA-F]{1,16}$/.test(hex) ? BigInt(`0x${hex}`) : 0n
  if (bitLength(polynomial) !== degree + 1 || !isIrreducible(polynomial)) {
    throw new VmlError(
      'integrity.format',
      `Cannot use the chunker polynomial of the logbook: it is not an irreducible polynomial of degree ${degree}`,
    )
  }
  return polynomial
}

export function formatPolynomial(polynomial: bigint): string {
  return polynomial.toString(16)
}

function bitLength(value: bigint): number {
  return value === 0n ? 0 : value.toString(2).length
}

/** x^0, x^2, x^4, …, each mod polynomial, in halves. */
function squaresOf(polynomial: bigint, own: number): { readonly low: Int32Array; readonly high: Int32Array } {
  const low = new Int32Array(own)
  const high = new Int32Array(own)
  const top = 1n << BigInt(own)
  let power = 1n
  for (let at = 0; at < 2 * own; at++) {
    if (at % 2 === 0) {
      low[at / 2] = Number(power & halfMask)
      high[at / 2] = Number(power >> BigInt(halfBits))
    }
    power <<= 1n
    if ((power & top) !== 0n) power ^= polynomial
  }
  return { low, high }
}

function remainder(value: bigint, divisor: bigint): bigint {
  const length = bitLength(divisor)
  let rest = value
  for (let over = bitLength(rest) - length; over >= 0; over = bitLength(rest) - length) {
    rest ^= divisor << BigInt(over)
  }
  return rest
}

function commonDivisor(left: bigint, right: bigint): bigint {
  while (right !== 0n) [left, right] = [right, remainder(left, right)]
  return left
}
