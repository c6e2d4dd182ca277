// AES-256-CTR with Poly1305-AES over `IV || ciphertext || MAC` (restic, doc/design.rst, "Keys, Encryption and MAC").
import { createCipheriv, createMac, randomFillSync, timingSafeEqual } from 'node:crypto'
import { VmlError } from '../base/failure.ts'
import type { OpenSsl } from '../wire/openssl.ts'

// Missing in @types/node 26; there since Node 26 as OpenSSL's EVP_MAC.
declare module 'node:crypto' {
  interface Mac {
    update(data: Uint8Array): Mac
    final(): Buffer
  }
  function createMac(algorithm: 'poly1305', key: Uint8Array): Mac
}

/** The repository's keys, or those that a password gives. */
export interface MasterKey {
  /** 32 bytes, AES-256. */
  readonly encrypt: Buffer
  /** 16 bytes, AES-128. */
  readonly macK: Buffer
  /** 16 bytes; the bits that Poly1305 ignores may be set, as restic stores it. */
  readonly macR: Buffer
}

export interface Cipher {
  /** Writes IV, ciphertext and MAC into `target` from `offset` and returns how many bytes that is. */
  sealInto(target: Buffer, offset: number, plain: Uint8Array): number
  seal(plain: Uint8Array): Buffer
  /** The plain bytes in a buffer of their own. `integrity.mac` when the bytes are not what was sealed. */
  open(sealed: Uint8Array): Buffer
  /** The same into `target`, from its start; returns that part of it. */
  openInto(target: Buffer, sealed: Uint8Array): Buffer
}

/** Bytes that sealing adds. */
export const sealBytes = 32
const ivBytes = 16
const macBytes = 16
// AES runs from cache in pieces of this size; one fresh output buffer per MiB would cost more than the cipher.
const pieceBytes = 64 * 1024
/** So much goes Node's way before it pays to open OpenSSL itself. */
const directAfterBytes = 4 * 1024 * 1024

export interface CipherOptions {
  /** `openOpenSsl`, where much is to come: not every command should load it. */
  readonly openSsl?: () => OpenSsl | undefined
  readonly directAfter?: number
}

export function openCipher(key: MasterKey, options: CipherOptions = {}): Cipher {
  const { openSsl, directAfter = directAfterBytes } = options
  if (key.encrypt.length !== 32 || key.macK.length !== 16 || key.macR.length !== 16) {
    throw new TypeError('A key has 32 + 16 + 16 bytes')
  }
  const nonceCipher = createCipheriv('aes-128-ecb', key.macK, null).setAutoPadding(false)
  const nextIv = openNonces()
  let passedBytes = 0
  const findDirect = (bytes: number): OpenSsl | undefined => {
    passedBytes += bytes
    return passedBytes > directAfter ? openSsl?.() : undefined
  }
  /** The same for both ways. `into` may be `from`. */
  const encrypt = (iv: Uint8Array, from: Uint8Array, into: Buffer) => {
    if (findDirect(from.length)?.aes256Ctr(key.encrypt, iv, from, into)) return
    pour(createCipheriv('aes-256-ctr', key.encrypt, iv), from, into)
  }
  /**
   * Poly1305-AES (Bernstein 2005): the one-time key is r || AES_k(nonce). OpenSSL clears the bits of r that the
   * paper says to clear, so r goes in as it is stored.
   */
  const authenticate = (iv: Uint8Array, body: Uint8Array): Buffer => {
    const oneTimeKey = Buffer.concat([key.macR, nonceCipher.update(iv)], 32)
    const mac = Buffer.allocUnsafe(macBytes)
    if (findDirect(0)?.poly1305(oneTimeKey, body, mac)) return mac
    return createMac('poly1305', oneTimeKey).update(body).final()
  }

  const sealInto = (target: Buffer, offset: number, plain: Uint8Array) => {
    const iv = target.subarray(offset, offset + ivBytes)
    iv.set(nextIv())
    const body = target.subarray(offset + ivBytes, offset + ivBytes + plain.length)
    encrypt(iv, plain, body)
    target.set(authenticate(iv, body), offset + ivBytes + plain.length)
    return plain.length + sealBytes
  }
  const openInto = (target: Buffer, sealed: Uint8Array) => {
    if (sealed.length < sealBytes) throw new VmlError('integrity.truncated', 'Cannot decrypt: too few bytes')
    const iv = sealed.subarray(0, ivBytes)
    const body = sealed.subarray(ivBytes, sealed.length - macBytes)
    const mac = sealed.subarray(sealed.length - macBytes)
    if (!timingSafeEqual(authenticate(iv, body), mac)) {
      throw new VmlError('integrity.mac', 'Cannot decrypt: the bytes were changed, or belong to another key')
    }
    const plain = target.subarray(0, body.length)
    encrypt(iv, body, plain)
    return plain
  }
  return {
    sealInto,
    seal(plain) {
      const sealed = Buffer.allocUnsafeSlow(plain.length + sealBytes)
      sealInto(sealed, 0, plain)
      return sealed
    },
    open: (sealed) => openInto(Buffer.allocUnsafeSlow(Math.max(sealed.length - sealBytes, 0)), sealed),
    openInto,
  }
}

export function randomMasterKey(randomBytes: (length: number) => Uint8Array): MasterKey {
  return {
    encrypt: Buffer.from(randomBytes(32)),
    macK: Buffer.from(randomBytes(16)),
    macR: Buffer.from(randomBytes(16)),
  }
}

function pour(stream: { update(data: Uint8Array): Buffer }, from: Uint8Array, to: Buffer): void {
  for (let at = 0; at < from.length; at += pieceBytes) {
    to.set(stream.update(from.subarray(at, at + pieceBytes)), at)
  }
}

/** Random bytes come from the kernel 256 nonces at a time; one of only zeros is invalid for restic. */
function openNonces(): () => Buffer {
  const stock = Buffer.alloc(256 * ivBytes)
  let next = stock.length
  return function nextIv(): Buffer {
    if (next === stock.length) {
      randomFillSync(stock)
      next = 0
    }
    const iv = stock.subarray(next, next + ivBytes)
    next += ivBytes
    return iv.some((byte) => byte !== 0) ? iv : nextIv()
  }
}
