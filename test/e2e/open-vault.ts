// The files of a test's logbook with its key, to write what no program of ours would.
import { readFile } from 'node:fs/promises'
import { openLocal } from '../../src/backend/local.ts'
import { openCipher } from '../../src/store/cipher.ts'
import { openKeys } from '../../src/store/keys.ts'
import type { Vault } from '../../src/store/sealed-file.ts'

export async function vaultOf(place: { logbook: string; passwordFile: string }): Promise<Vault> {
  const backend = openLocal(place.logbook)
  const password = Buffer.from((await readFile(place.passwordFile, 'utf8')).trimEnd())
  for await (const { masterKey } of openKeys({ backend, passwords: [password] }))
    return { backend, cipher: openCipher(masterKey), version: 2 }
  throw new Error('The password of the test does not open its logbook')
}
