// Who signed an rpm package, as its signatures say of themselves. Whether they are right is for `rpmkeys --checksig` to tell.
import { badRpm, type RpmHeader } from './rpm-header.ts'
import { signatureTag } from './rpm-tags.ts'

export interface RpmSignature {
  readonly covers: 'header' | 'header and payload'
  /** As `rpm -K -v` names them; a number where it is none of these. */
  readonly algorithm: string
  /** The last 8 bytes of the key's fingerprint, lower-case hex; absent where the signature does not name its key. */
  readonly keyId?: string
}

/** OpenPGP signatures have some hundred bytes; those of quantum-safe algorithms some ten thousand. */
const signatureBytesMax = 1024 * 1024
const signaturesMax = 100

/** In the order in which rpm looks at them. Those of rpm 6 lie as base64 in a list. */
export function readSignatures(signatures: RpmHeader): readonly RpmSignature[] {
  const found: RpmSignature[] = []
  for (const [tag, covers] of signatureTags) {
    const bytes = signatures.binary(tag)
    if (bytes !== undefined) found.push({ covers, ...describeSignature(bytes) })
  }
  const listed = signatures.texts(signatureTag.openPgp)
  if (listed.length > signaturesMax) throw badRpm(`it has more than ${signaturesMax} signatures`)
  for (const text of listed)
    found.push({ covers: 'header', ...describeSignature(Buffer.from(text, 'base64')) })
  return found
}

const signatureTags: readonly (readonly [number, RpmSignature['covers']])[] = [
  [signatureTag.rsaHeader, 'header'],
  [signatureTag.dsaHeader, 'header'],
  [signatureTag.pgp, 'header and payload'],
  [signatureTag.gpg, 'header and payload'],
]

/** Public-key algorithms of RFC 9580, section 9.1. */
const algorithms: Readonly<Record<number, string>> = {
  1: 'RSA',
  3: 'RSA',
  17: 'DSA',
  19: 'ECDSA',
  22: 'EdDSA',
  27: 'Ed25519',
  28: 'Ed448',
}

type Described = Pick<RpmSignature, 'algorithm' | 'keyId'>

/** The first packet of an OpenPGP signature (RFC 9580, sections 4.2 and 5.2). */
function describeSignature(bytes: Buffer): Described {
  if (bytes.length > signatureBytesMax) throw badRpm('a signature is too long')
  const body = packetBody(bytes)
  const version = body[0]
  if (version === 3 && body.length >= 17)
    return { algorithm: algorithmOf(body[15]), keyId: body.toString('hex', 7, 15) }
  if ((version === 4 || version === 6) && body.length >= 6) return describeModern(body, version)
  throw badRpm('a signature is none of OpenPGP')
}

/** Version 6 has longer counts and names the key by its whole fingerprint only. */
function describeModern(body: Buffer, version: 4 | 6): Described {
  const algorithm = algorithmOf(body[2])
  const countBytes = version === 4 ? 2 : 4
  let at = 4
  for (let part = 0; part < 2; part++) {
    if (at + countBytes > body.length) break
    const end = at + countBytes + body.readUIntBE(at, countBytes)
    const keyId = issuerOf(body.subarray(at + countBytes, end))
    if (keyId !== undefined) return { algorithm, keyId }
    at = end
  }
  return { algorithm }
}

/** Subpackets 16, a key id, and 33, a fingerprint behind its version (RFC 9580, sections 5.2.3.12 and 5.2.3.35). */
function issuerOf(area: Buffer): string | undefined {
  for (let at = 0; at < area.length;) {
    const [length, header] = subpacketLength(area, at)
    const start = at + header
    const type = (area[start] ?? 0) & 0x7f
    const content = area.subarray(start + 1, start + length)
    if (type === 16 && content.length === 8) return content.toString('hex')
    if (type === 33 && content[0] === 4 && content.length === 21) return content.toString('hex', 13)
    if (type === 33 && content[0] === 6 && content.length === 33) return content.toString('hex', 1, 9)
    at = start + Math.max(length, 1)
  }
  return undefined
}

function subpacketLength(area: Buffer, at: number): readonly [number, number] {
  const first = area[at] ?? 0
  if (first < 192) return [first, 1]
  if (first < 255) return [((first - 192) << 8) + (area[at + 1] ?? 0) + 192, 2]
  return [at + 5 <= area.length ? area.readUInt32BE(at + 1) : 0, 5]
}

function packetBody(bytes: Buffer): Buffer {
  const tag = bytes[0] ?? 0
  if ((tag & 0x80) === 0) throw badRpm('a signature is none of OpenPGP')
  if ((tag & 0x40) !== 0) {
    if ((tag & 0x3f) !== 2) throw badRpm('a signature is none of OpenPGP')
    const [, header] = subpacketLength(bytes, 1)
    return bytes.subarray(1 + header)
  }
  if (((tag >> 2) & 0x0f) !== 2) throw badRpm('a signature is none of OpenPGP')
  // The old form: 1, 2 or 4 bytes of length, or none and all that follows.
  return bytes.subarray(1 + ([1, 2, 4, 0][tag & 3] ?? 0))
}

function algorithmOf(number: number | undefined): string {
  return algorithms[number ?? 0] ?? String(number ?? 0)
}
