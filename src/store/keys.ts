// Key files: each holds the repository's keys under one password (restic, doc/design.rst, "Keys, Encryption and MAC").
import { hash, randomBytes, scrypt } from 'node:crypto'
import type { Backend } from '../backend/backend.ts'
import { isFailure, messageOf, VmlError } from '../base/failure.ts'
import { shortId } from '../model/ids.ts'
import { type MasterKey, openCipher } from './cipher.ts'
import { jsonBytes, jsonCount, jsonObject } from './json-fields.ts'
import type { CallOptions, KeyDescription, NewKey } from './store.ts'

export interface OpenedKey {
  readonly keyId: string
  readonly masterKey: MasterKey
}

/** The cost of scrypt. */
interface Stretching {
  readonly N: number
  readonly r: number
  readonly p: number
}

export interface KeyFile extends Stretching {
  readonly salt: Buffer
  readonly data: Buffer
  readonly username: string
  readonly hostname: string
  readonly created: string
}

// Stretching adds nothing to 32 random bytes; `strong` takes 64 MiB and a third of a second.
const costs: Readonly<Record<NewKey['cost'], Stretching>> = {
  cheap: { N: 1024, r: 8, p: 1 },
  strong: { N: 65536, r: 8, p: 1 },
}
const saltBytes = 64
const keyHint =
  'Nothing was changed. Another key of the logbook opens it too; else put that file back from a copy'
const keyFileBytesMax = 64 * 1024
// More key files than this are not tried: each costs a scrypt.
const keyFilesMax = 64
// A forged key file must not be able to eat this host: restic's own calibration stays below 60 MiB and half a second.
const scryptBytesMax = 512 * 1024 * 1024
const scryptWorkMax = 2 ** 25

/** Makes a key file and returns its id. */
export async function createKey(
  { backend, cost, ...key }: NewKey & { readonly backend: Backend; readonly masterKey: MasterKey },
  options: CallOptions & { readonly now?: Date } = {},
): Promise<string> {
  const created = (options.now ?? new Date()).toISOString()
  const file = await encodeKeyFile({ ...key, created, stretching: costs[cost] })
  const keyId = hash('sha256', file)
  await backend.put({ kind: 'key', name: keyId }, file, options)
  return keyId
}

/** The master key under a password that is stretched by so much, as the content of a key file. */
export async function encodeKeyFile({
  masterKey,
  password,
  stretching: { N, r, p },
  created,
  username,
  hostname,
}: Pick<KeyFile, 'created' | 'username' | 'hostname'> & {
  readonly masterKey: MasterKey
  readonly password: Uint8Array
  readonly stretching: Stretching
}): Promise<Buffer> {
  const salt = randomBytes(saltBytes)
  const plain = JSON.stringify({
    mac: { k: masterKey.macK.toString('base64'), r: masterKey.macR.toString('base64') },
    encrypt: masterKey.encrypt.toString('base64'),
  })
  const user = await deriveKey(password, { N, r, p, salt })
  return Buffer.from(
    JSON.stringify({
      created,
      username,
      hostname,
      kdf: 'scrypt',
      N,
      r,
      p,
      salt: salt.toString('base64'),
      data: openCipher(user).seal(Buffer.from(plain)).toString('base64'),
    }),
  )
}

/**
 * Every key that one of the passwords opens, best guess first: the hinted key file, then all others. A caller takes
 * the first that also opens the config, since a broken-off `init` may have left a key of its own.
 */
export async function* openKeys(
  {
    backend,
    passwords,
    hint,
    listed,
  }: {
    readonly backend: Backend
    readonly passwords: readonly Uint8Array[]
    readonly hint?: string | undefined
    /** Names of all key files, where the caller has just listed them. */
    readonly listed?: readonly string[] | undefined
  },
  options: CallOptions = {},
): AsyncIterable<OpenedKey> {
  const names: string[] = [...(listed ?? [])]
  if (listed === undefined) for await (const { name } of backend.list('key', options)) names.push(name)
  if (names.length === 0) {
    throw new VmlError('integrity.missing', `Cannot open "${backend.location}": it has no key file`, {
      hint: keyHint,
    })
  }
  names.sort((left, right) => Number(right === hint) - Number(left === hint))
  let damage: unknown
  for (const keyId of names.slice(0, keyFilesMax)) {
    options.signal?.throwIfAborted()
    try {
      const file = await readKeyFile(backend, keyId, options)
      for (const password of passwords) {
        const masterKey = await unlock(file.key, password)
        if (masterKey) yield { keyId, masterKey }
      }
      if (!file.intact) {
        damage ??= new VmlError('integrity.hash', `Cannot use ${keyTitle(keyId)}: its content was changed`, {
          hint: keyHint,
        })
      }
    } catch (error) {
      if (!isFailure(error, 'integrity.format', 'integrity.hash')) throw error
      damage ??= error
    }
  }
  if (damage !== undefined) throw damage
}

/** `intact` is false when the content does not have the hash in the name. */
export async function readKeyFile(
  backend: Backend,
  keyId: string,
  options: CallOptions = {},
): Promise<{ readonly key: KeyFile; readonly intact: boolean }> {
  const file = { kind: 'key', name: keyId } as const
  const size = await backend.size(file, options)
  if (size !== undefined && size > keyFileBytesMax) {
    throw new VmlError('integrity.format', `Cannot use ${keyTitle(keyId)}: it is too large`, {
      hint: keyHint,
    })
  }
  const data = await backend.get(file, undefined, options)
  try {
    return {
      key: parseKeyFile(JSON.parse(data.toString('utf8')) as unknown),
      intact: hash('sha256', data) === keyId,
    }
  } catch (error) {
    throw new VmlError('integrity.format', `Cannot use ${keyTitle(keyId)}: ${messageOf(error)}`, {
      cause: error,
      hint: keyHint,
    })
  }
}

/** Every key file. A damaged one is told of and stops nobody. */
export async function* listKeys(
  backend: Backend,
  current: string,
  options: CallOptions = {},
): AsyncIterable<KeyDescription> {
  for await (const { name: id } of backend.list('key', options)) {
    const of = { id, current: id === current }
    const nothing = { username: '', hostname: '', created: '', cost: 'strong' } as const
    try {
      const { key, intact } = await readKeyFile(backend, id, options)
      const { username, hostname, created } = key
      const cost = key.N <= costs.cheap.N ? 'cheap' : 'strong'
      yield {
        ...of,
        username,
        hostname,
        created,
        cost,
        ...(intact ? {} : { damage: 'its content was changed' }),
      }
    } catch (error) {
      // Removed since it was listed.
      if (isFailure(error, 'not-found')) continue
      if (!isFailure(error, 'integrity.format', 'integrity.truncated')) throw error
      yield { ...of, ...nothing, damage: error.message }
    }
  }
}

function parseKeyFile(value: unknown): KeyFile {
  const json = jsonObject(value, 'key')
  if (json['kdf'] !== 'scrypt') throw new VmlError('integrity.format', 'its key derivation is not scrypt')
  const N = jsonCount(json['N'], 'N', scryptWorkMax)
  const r = jsonCount(json['r'], 'r', 1024)
  const p = jsonCount(json['p'], 'p', 1024)
  const powerOfTwo = N > 1 && Number.isInteger(Math.log2(N))
  if (!powerOfTwo || r < 1 || p < 1 || 128 * N * r > scryptBytesMax || N * r * p > scryptWorkMax) {
    throw new VmlError('integrity.format', `its scrypt cost (N=${N}, r=${r}, p=${p}) is out of bounds`)
  }
  return {
    N,
    r,
    p,
    salt: jsonBytes(json['salt'], 'salt'),
    data: jsonBytes(json['data'], 'data'),
    username: typeof json['username'] === 'string' ? json['username'] : '',
    hostname: typeof json['hostname'] === 'string' ? json['hostname'] : '',
    created: typeof json['created'] === 'string' ? json['created'] : '',
  }
}

/** Undefined when this is not the password. */
async function unlock(file: KeyFile, password: Uint8Array): Promise<MasterKey | undefined> {
  const user = await deriveKey(password, file)
  let plain: Buffer
  try {
    plain = openCipher(user).open(file.data)
  } catch (error) {
    if (isFailure(error, 'integrity.mac')) return undefined
    throw new VmlError('integrity.format', `its sealed keys are too short`, { cause: error })
  }
  const json = jsonObject(JSON.parse(plain.toString('utf8')) as unknown, 'master key')
  const mac = jsonObject(json['mac'], 'mac')
  const masterKey = {
    encrypt: jsonBytes(json['encrypt'], 'encrypt'),
    macK: jsonBytes(mac['k'], 'mac.k'),
    macR: jsonBytes(mac['r'], 'mac.r'),
  }
  if (masterKey.encrypt.length !== 32 || masterKey.macK.length !== 16 || masterKey.macR.length !== 16) {
    throw new VmlError('integrity.format', 'its master key has the wrong length')
  }
  return masterKey
}

/** 64 bytes of scrypt: 32 for AES-256, then k and r of Poly1305-AES. */
async function deriveKey(
  password: Uint8Array,
  { N, r, p, salt }: Stretching & Pick<KeyFile, 'salt'>,
): Promise<MasterKey> {
  const bytes = await new Promise<Buffer>((resolve, reject) => {
    const maxmem = 128 * N * r + 128 * r * p + 1024 * 1024
    scrypt(password, salt, 64, { N, r, p, maxmem }, (error, key) => (error ? reject(error) : resolve(key)))
  })
  return { encrypt: bytes.subarray(0, 32), macK: bytes.subarray(32, 48), macR: bytes.subarray(48, 64) }
}

function keyTitle(keyId: string): string {
  return `key file ${shortId(keyId)}`
}
