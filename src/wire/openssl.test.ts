import assert from 'node:assert/strict'
import { createCipheriv, createMac, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { openOpenSsl } from './openssl.ts'

const openSsl = openOpenSsl()
assert.ok(openSsl, 'The Node that VML pins can be asked for its OpenSSL')

test('AES-256-CTR and Poly1305 are those of Node', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 9000 }), (data) => {
      const [key, iv, into, tag] = [
        randomBytes(32),
        randomBytes(16),
        Buffer.alloc(data.length),
        Buffer.alloc(16),
      ]
      assert.ok(openSsl.aes256Ctr(key, iv, data, into))
      assert.deepEqual(into, createCipheriv('aes-256-ctr', key, iv).update(data))
      assert.ok(openSsl.poly1305(key, data, tag))
      assert.deepEqual(tag, createMac('poly1305', key).update(data).final())
    }),
  )
})

test('what it cannot do is refused before a byte is written', () => {
  const [key, iv, data] = [randomBytes(32), randomBytes(16), randomBytes(100)]
  const into = Buffer.alloc(100)
  assert.equal(openSsl.aes256Ctr(key.subarray(1), iv, data, into), false)
  assert.equal(openSsl.aes256Ctr(key, iv.subarray(1), data, into), false)
  assert.equal(openSsl.aes256Ctr(key, iv, data.subarray(0, 0), into), false)
  assert.equal(openSsl.aes256Ctr(key, iv, data, into.subarray(1)), false)
  const before = Buffer.from(data)
  assert.equal(openSsl.aes256Ctr(key, iv, data.subarray(0, 50), data.subarray(7)), false)
  assert.equal(openSsl.aes256Ctr(key, iv, data.subarray(7, 57), data), false)
  assert.deepEqual(data, before)
  assert.equal(openSsl.poly1305(key.subarray(1), data, into), false)
  assert.equal(openSsl.poly1305(key, data, into.subarray(0, 15)), false)
  assert.equal(openSsl.poly1305(key, data.subarray(0, 0), into), false)
  assert.deepEqual(into, Buffer.alloc(100))
})
