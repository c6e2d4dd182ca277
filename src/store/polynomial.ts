// The chunker polynomial of a repository: irreducible over GF(2), of degree 53, as restic makes and expects it.
import { VmlError } from '../base/failure.ts'

/** The largest prime below 64 - 8, so that a digest and the byte shifted in fit 64 bits. */
const degree = 53
/** About one in 27 candidates is irreducible: so many misses mean that the random source is broken. */
const candidatesMax = 10_000

/** Ben-Or's test: no factor of degree i for any i up to half of the degree. */
export function isIrreducible(polynomial: bigint): boolean {
  const degreeOf = bitLength(polynomial) - 1
  if (degreeOf < 1) return false
  let power = 2n // x^(2^i) mod polynomial, from i = 0
  for (let i = 1; i <= degreeOf / 2; i++) {
    power = remainder(square(power), polynomial)
    if (commonDivisor(polynomial, power ^ 2n) !== 1n) return false
  }
  return true
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

/** Squaring over GF(2) spreads the bits: a zero goes between any two. */
function square(value: bigint): bigint {
  return BigInt(`0b${[...value.toString(2)].join('0')}`)
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
