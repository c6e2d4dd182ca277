// AES-256-CTR and Poly1305 of the OpenSSL that Node carries, from given memory into given memory, through node:ffi.
import { createCipheriv, createMac } from 'node:crypto'
import { loadFfi } from './libc.ts'

/** Each says whether it was done. False: this is no work for it, and nothing was written. */
export interface OpenSsl {
  /** Encrypts or decrypts, which is the same. `into` may begin where `from` does, but not elsewhere within it. */
  aes256Ctr(key: Uint8Array, iv: Uint8Array, from: Uint8Array, into: Uint8Array): boolean
  /** 16 bytes over `data`, with a one-time key of 32 bytes. */
  poly1305(key: Uint8Array, data: Uint8Array, into: Uint8Array): boolean
}

/** EVP_EncryptInit(3), EVP_MAC(3). Node offers OpenSSL's functions to add-ons under these names (its manual, "C++ addons"). */
const signatures = {
  EVP_CIPHER_CTX_new: { arguments: [], return: 'pointer' },
  EVP_aes_256_ctr: { arguments: [], return: 'pointer' },
  EVP_EncryptInit_ex: { arguments: ['pointer', 'pointer', 'pointer', 'buffer', 'buffer'], return: 'i32' },
  EVP_EncryptUpdate: { arguments: ['pointer', 'buffer', 'buffer', 'buffer', 'i32'], return: 'i32' },
  EVP_MAC_fetch: { arguments: ['pointer', 'buffer', 'pointer'], return: 'pointer' },
  EVP_MAC_CTX_new: { arguments: ['pointer'], return: 'pointer' },
  EVP_MAC_init: { arguments: ['pointer', 'buffer', 'u64', 'pointer'], return: 'i32' },
  EVP_MAC_update: { arguments: ['pointer', 'buffer', 'u64'], return: 'i32' },
  EVP_MAC_final: { arguments: ['pointer', 'buffer', 'buffer', 'u64'], return: 'i32' },
} as const

/** What lies beyond goes Node's way; a chunk has 8 MiB. */
const dataBytesMax = 1024 * 1024 * 1024
const keyBytes = 32
const blockBytes = 16

/** One for each thread, never freed. Null where it was found not to work. */
let opened: OpenSsl | null | undefined

/**
 * Node's own cipher gives out fresh memory for every piece, which costs three times as much as the cipher itself. Undefined
 * where this cannot be called or does not do what Node's does: it is tried out before it is relied on. It takes some
 * milliseconds to open. `VML_NO_FFI` keeps it closed.
 */
export function openOpenSsl(): OpenSsl | undefined {
  opened ??= tryOpen() ?? null
  return opened ?? undefined
}

function tryOpen(): OpenSsl | undefined {
  // oxlint-disable-next-line node/no-process-env -- threads that seal are not told of settings, and inherit this
  if (process.env['VML_NO_FFI']) return undefined
  try {
    const openSsl = bind()
    return openSsl && passesTrial(openSsl) ? openSsl : undefined
  } catch {
    return undefined
  }
}

function bind(): OpenSsl | undefined {
  const { functions: c } = loadFfi().dlopen(null, signatures)
  const none = 0n
  const cipher = c.EVP_CIPHER_CTX_new()
  const algorithm = c.EVP_aes_256_ctr()
  const method = c.EVP_MAC_fetch(none, Buffer.from('POLY1305\0'), none)
  const mac = method === none ? none : c.EVP_MAC_CTX_new(method)
  if (cipher === none || algorithm === none || mac === none) return undefined
  // A `size_t` at most; OpenSSL writes here how many bytes came out.
  const length = Buffer.alloc(8)
  const macBytes = BigInt(blockBytes)
  return {
    aes256Ctr(key, iv, from, into) {
      if (key.length !== keyBytes || iv.length !== blockBytes || !fits(from)) return false
      if (into.length < from.length || isShifted(from, into)) return false
      assertDone(c.EVP_EncryptInit_ex(cipher, algorithm, none, key, iv) === 1)
      assertDone(c.EVP_EncryptUpdate(cipher, into, length, from, from.length) === 1)
      assertDone(length.readInt32LE() === from.length)
      return true
    },
    poly1305(key, data, into) {
      if (key.length !== keyBytes || !fits(data) || into.length < blockBytes) return false
      assertDone(c.EVP_MAC_init(mac, key, BigInt(keyBytes), none) === 1)
      assertDone(c.EVP_MAC_update(mac, data, BigInt(data.length)) === 1)
      assertDone(c.EVP_MAC_final(mac, into, length, macBytes) === 1)
      assertDone(length.readBigUInt64LE() === macBytes)
      return true
    },
  }
}

/** After it began nobody knows what was written: there is no other way round then. */
function assertDone(done: boolean): void {
  if (!done) throw new Error('OpenSSL gave up on what it can do')
}

function isShifted(from: Uint8Array, into: Uint8Array): boolean {
  if (from.buffer !== into.buffer || from.byteOffset === into.byteOffset) return false
  return from.byteOffset < into.byteOffset + into.length && into.byteOffset < from.byteOffset + from.length
}

/** Of no bytes there may be no address. */
function fits(data: Uint8Array): boolean {
  return data.length > 0 && data.length <= dataBytesMax
}

/** Twice each, with other keys and lengths, into and over what is given, against Node's own. */
function passesTrial({ aes256Ctr, poly1305 }: OpenSsl): boolean {
  return [1, 16, 1000, 4099].every((bytes, round) => {
    const key = Buffer.alloc(keyBytes, round + 1)
    const iv = Buffer.alloc(blockBytes, 0xff - round)
    const plain = Buffer.from(Array.from({ length: bytes }, (_, at) => (at * 31) & 0xff))
    const sealed = Buffer.alloc(bytes)
    const tag = Buffer.alloc(blockBytes)
    return (
      aes256Ctr(key, iv, plain, sealed) &&
      sealed.equals(createCipheriv('aes-256-ctr', key, iv).update(plain)) &&
      poly1305(key, sealed, tag) &&
      tag.equals(createMac('poly1305', key).update(sealed).final()) &&
      aes256Ctr(key, iv, sealed, sealed) &&
      sealed.equals(plain)
    )
  })
}
