import assert from 'node:assert/strict'
import { createCipheriv, createMac, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { openOpenSsl } from '../wire/openssl.ts'
import { openCipher, randomMasterKey, sealBytes } from './cipher.ts'

const key = randomMasterKey(randomBytes)

test('what was sealed opens again, whatever its length', () => {
  const cipher = openCipher(key)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (plain) => {
      const sealed = cipher.seal(plain)
      assert.equal(sealed.length, plain.length + sealBytes)
      assert.deepEqual(cipher.open(sealed), Buffer.from(plain))
    }),
  )
  for (const length of [65_535, 65_536, 65_537, 1_000_000]) {
    const plain = randomBytes(length)
    const sealed = cipher.seal(plain)
    assert.ok(cipher.open(sealed).equals(plain))
    // In place, as blobs are opened.
    assert.ok(cipher.openInto(sealed.subarray(16), sealed).equals(plain))
  }
})

test('a change of any bit, a cut and another key are told', () => {
  const cipher = openCipher(key)
  const sealed = cipher.seal(Buffer.from('a secret of the logbook'))
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const changed = Buffer.from(sealed)
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    assert.throws(() => cipher.open(changed), { code: 'integrity.mac' })
  }
  assert.throws(() => cipher.open(sealed.subarray(0, -1)), { code: 'integrity.mac' })
  assert.throws(() => cipher.open(sealed.subarray(0, 31)), { code: 'integrity.truncated' })
  assert.throws(() => openCipher(randomMasterKey(randomBytes)).open(sealed), { code: 'integrity.mac' })
})

test('the same bytes are never sealed alike', () => {
  const cipher = openCipher(key)
  const seals = new Set(
    Array.from({ length: 1000 }, () => cipher.seal(Buffer.alloc(8)).toString('hex', 0, 16)),
  )
  assert.equal(seals.size, 1000)
})

// Bernstein, "The Poly1305-AES message-authentication code" (2005), appendix B: r and k, nonce, message, result.
const vectors = [
  [
    '851fc40c3467ac0be05cc20404f3f700',
    'ec074c835580741701425b623235add6',
    'fb447350c4e868c52ac3275cf9d4327e',
    'f3f6',
    'f4c633c3044fc145f84f335cb81953de',
  ],
  [
    'a0f3080000f46400d0c7e9076c834403',
    '75deaa25c09f208e1dc4ce6b5cad3fbf',
    '61ee09218d29b0aaed7e154a2c5509cc',
    '',
    'dd3fab2251f11ac759f0887129cc2ee7',
  ],
  [
    '48443d0bb0d21109c89a100b5ce2c208',
    '6acb5f61a7176dd320c5c1eb2edcdc74',
    'ae212a55399729595dea458bc621ff0e',
    '663cea190ffb83d89593f3f476b6bc24d7e679107ea26adb8caf6652d0656136',
    '0ee1c16bb73f0f4fd19881753c01cdbe',
  ],
  [
    '12976a08c4426d0ce8a82407c4f48207',
    'e1a5668a4d5b66a5f68cc5424ed5982d',
    '9ae831e743978d3a23527c7128149e3a',
    'ab0812724a7f1e342742cbed374d94d136c6b8795d45b3819830f2c04491faf0990c62e48b8018b2c3e4a0fa3134cb67fa83e158c994d961c4cb21095c1bf9',
    '5154ad0d2cb26e01274fc51148491f1b',
  ],
] as const

test('the MAC is Poly1305-AES as its paper has it', () => {
  for (const [r, k, nonce, message, mac] of vectors) {
    const aes = createCipheriv('aes-128-ecb', Buffer.from(k, 'hex'), null).setAutoPadding(false)
    const oneTime = Buffer.concat([Buffer.from(r, 'hex'), aes.update(Buffer.from(nonce, 'hex'))])
    assert.equal(
      createMac('poly1305', oneTime).update(Buffer.from(message, 'hex')).final().toString('hex'),
      mac,
    )
    // And the seal with that key and nonce: CTR of nothing is nothing, so the MAC of the ciphertext must be this one.
    const cipher = openCipher({
      encrypt: randomBytes(32),
      macR: Buffer.from(r, 'hex'),
      macK: Buffer.from(k, 'hex'),
    })
    const sealed = Buffer.from(nonce + message + mac, 'hex')
    assert.equal(cipher.open(sealed).length, message.length / 2)
  }
})

test('bits of r that Poly1305 clears may be set in a stored key', () => {
  const loose = { ...key, macR: Buffer.alloc(16, 0xff) }
  const clamped = { ...key, macR: Buffer.from('ffffff0ffcffff0ffcffff0ffcffff0f', 'hex') }
  assert.deepEqual(openCipher(clamped).open(openCipher(loose).seal(Buffer.from('x'))), Buffer.from('x'))
})

test('OpenSSL without Node and Node seal and open alike, in place, shifted and of any length', () => {
  const direct = openCipher(key, { openSsl: openOpenSsl, directAfter: -1 })
  const plainly = openCipher(key)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 5000 }), fc.nat({ max: 40 }), (plain, shift) => {
      for (const [sealer, opener] of [
        [direct, plainly],
        [plainly, direct],
        [direct, direct],
      ] as const) {
        const sealed = sealer.seal(plain)
        assert.deepEqual(opener.open(sealed), Buffer.from(plain))
        // The result begins before, at or after what is opened.
        const memory = Buffer.alloc(sealed.length + 40)
        memory.set(sealed, 16)
        const opened = opener.openInto(memory.subarray(shift), memory.subarray(16, 16 + sealed.length))
        if (shift <= 32) assert.deepEqual(Buffer.from(opened), Buffer.from(plain))
      }
    }),
  )
})

test('OpenSSL tells a change of any bit', () => {
  const cipher = openCipher(key, { openSsl: openOpenSsl, directAfter: -1 })
  const sealed = cipher.seal(Buffer.from('a secret of the logbook'))
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const changed = Buffer.from(sealed)
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    assert.throws(() => cipher.open(changed), { code: 'integrity.mac' })
  }
})
