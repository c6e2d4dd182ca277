// Opens and makes restic repositories. See store.ts for what they promise, docs/format.md for what lies on disk.
import { randomBytes } from 'node:crypto'
import type { Backend } from '../backend/backend.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import { type Reporter, silentReporter } from '../base/progress.ts'
import { parseId, type RepositoryId, type SnapshotId } from '../model/ids.ts'
import type { BlobReader } from './blob-reader.ts'
import { isDamage } from './damage.ts'
import { type MasterKey, openCipher, randomMasterKey } from './cipher.ts'
import { type Config, parseConfig } from './config.ts'
import { createKey, listKeys, openKeys } from './keys.ts'
import { beginRepository } from './begin-repository.ts'
import type { IndexCache } from './index-cache.ts'
import type { LoadedIndex, LoadedIndexOptions } from './loaded-index.ts'
import type { HeldLock } from './lock.ts'
import { randomPolynomial } from './polynomial.ts'
import { readSealedJson, type Vault } from './sealed-file.ts'
import { readSnapshotFile } from './snapshot-file.ts'
import type { CallOptions, LockWatch, NewKey, Repository } from './store.ts'
import type { decodeTree } from './tree-codec.ts'
import type { WriterLimits } from './writer.ts'

export interface OpenOptions extends CallOptions, WriterLimits {
  /** Disposed with the repository. */
  readonly backend: Backend
  /** Passwords to try, as bytes. */
  readonly secrets: readonly Uint8Array[]
  /** Where this computer keeps a copy of the repository's index. */
  readonly indexCache?: ((id: RepositoryId) => IndexCache) | undefined
  /** The key file to try first. */
  readonly keyHint?: string | undefined
  /** Names of all key files, where the caller has seen the config and then listed them: storage elsewhere is asked once. */
  readonly keyNames?: readonly string[] | undefined
  /** Hears of locks that stand in the way and are watched for some minutes, since they look as if they were left behind. */
  readonly onLockWatch?: LockWatch | undefined
  /** Told of each index file that cannot be read; reading goes on without it. */
  readonly onIndexDamage?: LoadedIndexOptions['onDamage']
  readonly clock?: Clock | undefined
  /** Hears that a writer waits for its lock. */
  readonly reporter?: Reporter | undefined
}

export interface InitOptions extends CallOptions, WriterLimits {
  readonly backend: Backend
  /** 64 random hex digits chosen by the caller, who keeps a key under that name before the repository exists. */
  readonly id?: RepositoryId | undefined
  /** At least one; `keyId` of the result is the first. */
  readonly keys: readonly NewKey[]
  /** Taken over from another repository, so that content is cut alike. */
  readonly polynomial?: bigint | undefined
  /** `rabin` for copies of a repository that stock restic began; it goes with that one's polynomial. */
  readonly chunker?: Config['chunker'] | undefined
  readonly clock?: Clock | undefined
}

/** `store.missing` without a config, `auth.key` when no secret fits, `integrity.*` naming the damaged file. */
export async function openRepository(options: OpenOptions): Promise<Repository> {
  const { backend, secrets, keyHint, keyNames, signal } = options
  if (keyNames === undefined) await requireConfig(backend, { signal })
  let unreadable: unknown
  for await (const { keyId, masterKey } of openKeys(
    { backend, passwords: secrets, hint: keyHint, listed: keyNames },
    { signal },
  )) {
    const cipher = openCipher(masterKey)
    try {
      const json = await readSealedJson({ backend, cipher }, { kind: 'config', name: '' }, { signal })
      return assemble({ ...options, config: parseConfig(json), masterKey, keyId })
    } catch (error) {
      // The key of an `init` that was broken off opens with its password, but not this config.
      if (!isFailure(error, 'integrity.mac')) throw error
      unreadable = new VmlError(error.code, error.message, {
        cause: error,
        details: error.details,
        hint: `${error.hint ?? ''}. Where another logbook was made here at the same time as yours, it is that one's: its own recovery key opens it`,
      })
    }
  }
  if (unreadable !== undefined) throw unreadable
  throw new VmlError('auth.key', `Cannot open "${backend.location}": no key fits`, {
    hint: 'Give its password with --password-file or VML_PASSWORD_FILE',
  })
}

/**
 * Folders, keys, config: there is no repository before its config, which is written once. A second `init` at the same
 * time, and one where a repository lies, fail with `exists` and change nothing.
 */
export async function initRepository(options: InitOptions): Promise<Repository> {
  const { backend, keys, polynomial, signal } = options
  if (keys.length === 0) throw new TypeError('A repository needs a key')
  await backend.create({ signal })
  for (const kind of ['snapshot', 'index', 'pack'] as const) {
    for await (const { name } of backend.list(kind, { signal })) {
      throw new VmlError(
        'exists',
        `Cannot make a logbook in "${backend.location}": ${kind} ${name} is there`,
        {
          hint: 'Its config may have been lost: restore that file, or choose an empty place',
        },
      )
    }
  }
  const leftKeys: string[] = []
  for await (const { name } of backend.list('key', { signal })) leftKeys.push(name)

  const masterKey = randomMasterKey(randomBytes)
  const config: Config = {
    version: 2,
    id: options.id ?? (randomBytes(32).toString('hex') as RepositoryId),
    polynomial: polynomial ?? randomPolynomial(randomBytes),
    chunker: options.chunker ?? 'gear',
  }
  const keyIds = await beginRepository({ backend, masterKey, config, keys, leftKeys }, { signal })
  return assemble({ ...options, config, masterKey, keyId: keyIds[0] ?? '' })
}

interface Parts extends WriterLimits {
  readonly backend: Backend
  readonly config: Config
  readonly masterKey: MasterKey
  readonly keyId: string
  readonly indexCache?: ((id: RepositoryId) => IndexCache) | undefined
  readonly clock?: Clock | undefined
  readonly onLockWatch?: LockWatch | undefined
  /** Told of each index file that cannot be read; reading goes on without it. */
  readonly onIndexDamage?: LoadedIndexOptions['onDamage']
  readonly reporter?: Reporter | undefined
}

/** A prune holds the logbook alone for as long as it deletes what an earlier one marked: mostly that is over within this. */
const writeWaitMs = 5000

function assemble(parts: Parts): Repository {
  const { backend, config, masterKey, keyId, packBytes, ownBytesMax, clock = systemClock } = parts
  const { version } = config
  const vault: Vault = { backend, cipher: openCipher(masterKey), version }
  let opened: Promise<Content> | undefined
  const content = (): Promise<Content> =>
    (opened ??= openContent(vault, { cache: parts.indexCache?.(config.id), onDamage: parts.onIndexDamage }))
  const readOnly = version === 1 || backend.traits.readOnly
  const refuseWrite = () => {
    if (!readOnly) return
    throw new VmlError('unsupported', `Cannot write to "${backend.location}": it is read only`, {
      hint:
        version === 1
          ? 'It has version 1 of the format; restic migrate upgrade_repo_v2 makes it version 2'
          : 'It was opened to read: leave --read-only, VML_READ_ONLY or read_only of config.toml out',
    })
  }
  let exclusiveLocks = 0
  const take = async (
    kind: 'shared' | 'exclusive',
    signal: AbortSignal | undefined,
    watch = true,
  ): Promise<HeldLock> => {
    const { acquireLock } = await import('./lock.ts')
    const lock = await acquireLock(vault, kind, { clock, signal, watch, onWatch: parts.onLockWatch })
    let counted = kind === 'exclusive'
    if (counted) exclusiveLocks++
    return {
      ...lock,
      async [Symbol.asyncDispose]() {
        if (counted) exclusiveLocks--
        counted = false
        await lock[Symbol.asyncDispose]()
      },
    }
  }
  return {
    id: config.id,
    version,
    location: backend.location,
    readOnly,
    keyId,
    chunker: { algorithm: config.chunker, polynomial: config.polynomial },

    async *snapshots({ signal, onDamage } = {}) {
      for await (const { name, size } of backend.list('snapshot', { signal })) {
        const id = parseId<SnapshotId>(name)
        if (id === undefined) continue
        try {
          yield await readSnapshotFile(vault, id, { signal, sizeBytes: size })
        } catch (error) {
          // Another program may remove one between the list and the read.
          if (isFailure(error, 'not-found')) continue
          if (!onDamage || !isDamage(error)) throw error
          onDamage(id, error)
        }
      }
    },
    async *snapshotIds(options) {
      for await (const { name } of backend.list('snapshot', options)) {
        const id = parseId<SnapshotId>(name)
        if (id !== undefined) yield id
      }
    },
    readSnapshot: async (id, options) => await readSnapshotFile(vault, id, options),
    async readTree(id, options) {
      const { reader, decodeTree } = await content()
      return decodeTree(await reader.readBlob('tree', id, options))
    },
    readBlob: async (id, options) => await (await content()).reader.readBlob('data', id, options),
    readTreeBytes: async (id, options) => await (await content()).reader.readBlob('tree', id, options),
    async indexView(options) {
      const table = await (await content()).index.refresh(options)
      return {
        has: (type, id) => table.has(type, id),
        storedBytes: (type, id) => table.findAll(type, id)[0]?.length ?? 0,
      }
    },
    async openContents(options) {
      const [{ openContentAccess }, { index, reader }] = await Promise.all([
        import('./content-access.ts'),
        content(),
      ])
      reader.pause()
      return openContentAccess({ backend, masterKey, index }, options)
    },
    async *readFile(ids, options) {
      yield* (await content()).reader.readFile(ids, options)
    },
    blobLength: async (type, id) => await (await content()).reader.blobLength(type, id),

    async beginWrite({ signal, lock: kind = 'shared', thorough } = {}) {
      refuseWrite()
      const { waitForLock } = await import('./wait-for-lock.ts')
      const lock = await waitForLock(async () => await take(kind, signal), {
        waitMs: writeWaitMs,
        clock,
        reporter: parts.reporter ?? silentReporter,
        signal,
      })
      try {
        const [{ openWriter }, { index }] = await Promise.all([import('./writer.ts'), content()])
        return await openWriter(
          { vault, masterKey, index, lock, config, packBytes, ownBytesMax, clock, thorough },
          { signal },
        )
      } catch (error) {
        await lock[Symbol.asyncDispose]()
        throw error
      }
    },
    async lock(kind, { signal, watch } = {}) {
      // Where nothing can be written, no prune can pull the ground away; restic reads there with --no-lock.
      if (backend.traits.readOnly && kind === 'shared') return { async [Symbol.asyncDispose]() {} }
      if (backend.traits.readOnly) refuseWrite()
      return await take(kind, signal, watch)
    },
    async removeSnapshot(id, { signal } = {}) {
      refuseWrite()
      if (exclusiveLocks === 0) throw new Error('Removing a snapshot needs an exclusive lock')
      await backend.remove({ kind: 'snapshot', name: id }, { signal })
    },
    async beginPrune(options) {
      refuseWrite()
      const [{ beginPrune }, { waitForLock }, { packBytesDefault }] = await Promise.all([
        import('./prune.ts'),
        import('./wait-for-lock.ts'),
        import('./writer.ts'),
      ])
      const { signal, reporter, waitMs = 0 } = options
      const lock = async (kind: 'shared' | 'exclusive') =>
        await waitForLock(async () => await take(kind, signal), { waitMs, clock, reporter, signal })
      return await beginPrune({ vault, packBytes: packBytes ?? packBytesDefault, clock, lock }, options)
    },
    async check(options) {
      const { checkRepository } = await import('./check.ts')
      return await checkRepository(vault, { ...options, clock })
    },
    async openParity() {
      const [{ openParity }, { index }] = await Promise.all([import('./parity-keeper.ts'), content()])
      return openParity({
        vault,
        clock,
        index: async (options) => await index.refresh(options),
        async lock({ signal }) {
          refuseWrite()
          return await take('shared', signal)
        },
      })
    },
    async beginRepair(given) {
      const options = { ...given, heal: given.heal ?? (await this.openParity()).healer(given) }
      const lock = options.look ? await this.lock('shared', options) : await take('exclusive', options.signal)
      try {
        const { openRepair } = await import('./repair-run.ts')
        return await openRepair(vault, lock, options)
      } catch (error) {
        await lock[Symbol.asyncDispose]()
        throw error
      }
    },
    async addKey(key, { signal } = {}) {
      refuseWrite()
      return await createKey({ backend, masterKey, ...key }, { signal })
    },
    keys: (options) => listKeys(backend, keyId, options),
    async findKey(password, { signal, hint } = {}) {
      for await (const found of openKeys({ backend, passwords: [password], hint }, { signal })) {
        // The key of an `init` that was broken off opens with its password, but not this repository.
        if (found.masterKey.encrypt.equals(masterKey.encrypt)) return found.keyId
      }
      return undefined
    },
    async removeKey(id, { signal } = {}) {
      refuseWrite()
      if (exclusiveLocks === 0) throw new Error('Removing a key needs an exclusive lock')
      await backend.remove({ kind: 'key', name: id }, { signal })
    },
    async *locks({ signal } = {}) {
      const [{ describeLocks }, { thisProcess }] = await Promise.all([
        import('./lock-file.ts'),
        import('./lock-holder.ts'),
      ])
      yield* describeLocks(vault, { owner: thisProcess(), now: clock.now(), signal })
    },
    removeStaleLocks: async (options = {}) => {
      refuseWrite()
      const { removeStaleLocks } = await import('./stale-locks.ts')
      return await removeStaleLocks(vault, { ...options, clock })
    },
    async removeLocks(ids, options) {
      refuseWrite()
      for (const name of ids) await backend.remove({ kind: 'lock', name }, options)
    },
    async [Symbol.asyncDispose]() {
      await backend[Symbol.asyncDispose]()
    },
  }
}

/** What reads trees and files. */
interface Content {
  readonly index: LoadedIndex
  readonly reader: BlobReader
  readonly decodeTree: typeof decodeTree
}

/** Loaded with the first tree or file that is read: who looks at the log reads none, and shall not wait for it. */
async function openContent(vault: Vault, options: LoadedIndexOptions): Promise<Content> {
  const [{ openLoadedIndex }, { openBlobReader }, { decodeTree }] = await Promise.all([
    import('./loaded-index.ts'),
    import('./blob-reader.ts'),
    import('./tree-codec.ts'),
  ])
  const index = openLoadedIndex(vault, options)
  return { index, reader: openBlobReader(vault, index), decodeTree }
}

/** Fails with `store.missing`, and with `integrity.missing` where everything but the config of a repository is there. */
export async function requireConfig(backend: Backend, { signal }: CallOptions = {}): Promise<void> {
  if ((await backend.size({ kind: 'config', name: '' }, { signal })) !== undefined) return
  for (const kind of ['snapshot', 'pack'] as const) {
    if (!(await hasFiles(backend, kind, signal))) continue
    throw new VmlError(
      'integrity.missing',
      `Cannot open "${backend.location}": its file "config" is missing`,
      {
        hint: 'Nothing was changed. Put that file back from a copy of the logbook: it cannot be made anew',
      },
    )
  }
  throw new VmlError('store.missing', `Cannot open "${backend.location}": no logbook is there`, {
    hint: 'vml init makes one',
  })
}

async function hasFiles(
  backend: Backend,
  kind: 'snapshot' | 'pack',
  signal: AbortSignal | undefined,
): Promise<boolean> {
  try {
    for await (const _ of backend.list(kind, { signal })) return true
  } catch (error) {
    if (!isFailure(error, 'not-found')) throw error
  }
  return false
}
