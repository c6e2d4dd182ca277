// A password's key made anew with little stretching: restic tries every key at each call, and takes half a second of CPU time for a strong one.
import { hash } from 'node:crypto'
import { openLocal } from '../src/backend/local.ts'
import { encodeKeyFile, openKeys, readKeyFile } from '../src/store/keys.ts'

/** Twice what keys of random bytes have: `vml key list` still takes it for one of a person. */
const stretching = { N: 2048, r: 8, p: 1 }

/** Replaces the key file that this password opens. Only for logbooks of tests: such a key is quickly guessed. */
export async function lightenKey(repository: string, password: Uint8Array): Promise<void> {
  const backend = openLocal(repository)
  for await (const { keyId, masterKey } of openKeys({ backend, passwords: [password] })) {
    const { key } = await readKeyFile(backend, keyId)
    const file = await encodeKeyFile({ ...key, masterKey, password, stretching })
    await backend.put({ kind: 'key', name: hash('sha256', file) }, file)
    await backend.remove({ kind: 'key', name: keyId })
    return
  }
  throw new Error(`No key of ${repository} has this password`)
}
