// UTF-8 character by character over RawText, as Go's utf8 package reads and writes it.

export interface Sequence {
  /** Undefined for a byte that starts no well-formed sequence (Unicode, table 3-7). */
  readonly codePoint: number | undefined
  /** Bytes; 1 where it is not well-formed. */
  readonly length: number
}

export function decodeUtf8(raw: string, at: number): Sequence {
  const lead = raw.charCodeAt(at)
  if (lead < 0x80) return { codePoint: lead, length: 1 }
  const length =
    lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 0
  if (length === 0) return notWellFormed
  let codePoint = lead & (0x7f >> length)
  for (let index = 1; index < length; index++) {
    const next = raw.charCodeAt(at + index)
    // Beyond the end this is NaN, which is no continuation byte either.
    if ((next & 0xc0) !== 0x80) return notWellFormed
    codePoint = (codePoint << 6) | (next & 0x3f)
  }
  const overlong = codePoint < (smallestOf[length] ?? 0)
  const surrogate = codePoint >= 0xd800 && codePoint <= 0xdfff
  return overlong || surrogate || codePoint > 0x10ffff ? notWellFormed : { codePoint, length }
}

const notWellFormed: Sequence = { codePoint: undefined, length: 1 }
/** By length: what is smaller must be written shorter. */
const smallestOf = [0, 0, 0x80, 0x800, 0x10000]

/** One character per byte; a surrogate becomes U+FFFD, as Go writes it. */
export function encodeUtf8(codePoint: number): string {
  return Buffer.from(String.fromCodePoint(codePoint), 'utf8').toString('latin1')
}
