// A password's key made anew with little stretching: restic tries every key at each call, and takes half a second of CPU time for a strong one.
import { hash, randomBytes, scryptSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openLocal } from '../src/backend/local.ts'
import { openCipher } from '../src/store/cipher.ts'
import { openKeys } from '../src/store/keys.ts'

/** Twice what keys of random bytes have: `vml key list` still takes it for one of a person. */
const stretching = { N: 2048, r: 8, p: 1 }

/** Replaces the key file that this password opens. Only for logbooks of tests: such a key is quickly guessed. */
export async function lightenKey(repository: string, password: Uint8Array): Promise<void> {
  const backend = openLocal(repository)
  for await (const { keyId, masterKey } of openKeys({ backend, passwords: [password] })) {
    const before: unknown = JSON.parse(readFileSync(join(repository, 'keys', keyId), 'utf8'))
    const salt = randomBytes(64)
    const user = scryptSync(password, salt, 64, stretching)
    const cipher = openCipher({
      encrypt: user.subarray(0, 32),
      macK: user.subarray(32, 48),
      macR: user.subarray(48),
    })
    const plain = JSON.stringify({
      mac: { k: masterKey.macK.toString('base64'), r: masterKey.macR.toString('base64') },
      encrypt: masterKey.encrypt.toString('base64'),
    })
    const data = cipher.seal(Buffer.from(plain)).toString('base64')
    const file = JSON.stringify(
      Object.assign({}, before, { ...stretching, salt: salt.toString('base64'), data }),
    )
    await backend.put({ kind: 'key', name: hash('sha256', file) }, Buffer.from(file))
    await backend.remove({ kind: 'key', name: keyId })
    return
  }
  throw new Error(`No key of ${repository} has this password`)
}
