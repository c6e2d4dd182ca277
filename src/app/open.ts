// From configuration to an open logbook: the backend by its address, the key by what this computer and the user have.
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Backend } from '../backend/backend.ts'
import { shownLocation } from '../backend/location.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import { printableText } from '../base/raw-text.ts'
import { type Catalog, openCatalog } from '../catalog/catalog.ts'
import { openRepository, requireConfig } from '../store/repository.ts'
import type { LockWatch, Repository } from '../store/store.ts'
import type { Config, Setting } from './config.ts'
import { findComputerKeys, noteComputerKey } from './keyring.ts'
import { openIndexCache } from './index-cache.ts'
import { openStorage } from './storage.ts'
import { systemLogbook, withSystemKeys } from './system-logbook.ts'

export interface Logbook extends AsyncDisposable {
  readonly repository: Repository
  readonly catalog: Catalog
  readonly location: string
}

export interface OpenOptions {
  readonly signal?: AbortSignal | undefined
  /** Hears of storage that is asked again. */
  readonly reporter?: Reporter | undefined
  /** Asks a person; undefined without a terminal. */
  readonly askSecret: (question: string) => Promise<string | undefined>
}

/** The logbook that the configuration names. Fails with `store.missing`, `auth.key`. */
export async function openLogbook(user: Config, options: OpenOptions): Promise<Logbook> {
  const setting = requireLogbook(user)
  const config = withSystemKeys(user, setting.value)
  const { backend, keepCopies } = await openStorage(config, setting.value, options)
  const shown = { ...setting, value: shownLocation(setting.value) }
  try {
    const repository = await unlock(config, shown, backend, options)
    keepCopies(repository.id)
    return await attachCatalog(config, repository, shown.value)
  } catch (error) {
    await backend[Symbol.asyncDispose]()
    throw error
  }
}

/** A repository that was opened by other means (a share, one just made), with its catalogue. */
export async function attachCatalog(
  config: Config,
  repository: Repository,
  location: string,
  options: { readonly memory?: boolean } = {},
): Promise<Logbook> {
  const folder = join(config.folders.cache, 'catalog')
  // Where it cannot be made, the catalogue lives in memory.
  if (!options.memory) await mkdir(folder, { recursive: true, mode: 0o700 }).catch(() => {})
  const catalog = openCatalog(options.memory ? ':memory:' : join(folder, `${repository.id}.sqlite`))
  return {
    repository,
    catalog,
    location,
    async [Symbol.asyncDispose]() {
      catalog[Symbol.dispose]()
      await repository[Symbol.asyncDispose]()
    },
  }
}

export function requireLogbook(config: Config): Setting<string> {
  if (config.logbook) return config.logbook
  throw new VmlError('store.missing', 'Cannot tell which logbook: none is configured', {
    hint: `Make one with vml init DIR, or name one with --logbook DIR or VML_LOGBOOK${existsSync(systemLogbook) ? `; transactions of this machine: --logbook ${systemLogbook}` : ''}`,
  })
}

async function unlock(
  config: Config,
  logbook: Setting<string>,
  backend: Backend,
  options: OpenOptions,
): Promise<Repository> {
  const { signal } = options
  await requireConfig(backend, { signal }).catch((error: unknown) => {
    const isFile = isFailure(error, 'not-found') && error.details['code'] === 'ENOTDIR'
    if (!isFile && !isFailure(error, 'store.missing')) throw error
    throw new VmlError(
      'store.missing',
      `Cannot open "${logbook.value}" (${logbook.from}): ${isFile ? 'it is a file, not a folder' : 'no logbook is there'}`,
      {
        cause: error,
        details: { location: logbook.value },
        hint: isFile
          ? 'Name the folder of the logbook'
          : `See whether that is the right place. To make a new one there: vml init ${logbook.value}`,
      },
    )
  })
  const tried: string[] = []
  let damage: VmlError | undefined
  const attempt: Attempt = async (what, secrets, keys) => {
    tried.push(what)
    try {
      return await openRepository({
        backend,
        secrets,
        ...keys,
        signal,
        onLockWatch: tellWatch(options),
        reporter: options.reporter,
        indexCache: (id) => openIndexCache(config, id),
        onIndexDamage: (id) =>
          options.reporter?.warn({
            warning: `Index ${id.slice(0, 8)} of the logbook is damaged; going on without it. See vml check, then vml check --repair`,
          }),
      })
    } catch (error) {
      if (isFailure(error, 'auth.key')) return undefined
      // A damaged key file is told only when no other one opens.
      if (!isFailure(error, 'integrity.format', 'integrity.hash', 'integrity.mac')) throw error
      damage ??= error
      return undefined
    }
  }
  // A password that was named for this one call is meant; all other sources come after this computer's own key.
  const named = config.passwordFile?.from.startsWith('--') ?? false
  if (!named) {
    const opened = await byComputerKey(config, backend, attempt, signal)
    if (opened) return opened
  }
  const { configuredPassword } = await import('./secrets.ts')
  const configured = await configuredPassword(config, signal)
  if (configured) {
    const opened = await attempt(`the password of ${configured.from}`, [configured.password])
    if (opened) return opened
  }
  if (!named) {
    const typed = await options.askSecret(`Password of the logbook ${logbook.value}`)
    const opened = typed ? await attempt('the password that was typed', [Buffer.from(typed)]) : undefined
    if (opened) return opened
  }
  if (damage !== undefined) throw damage
  throw new VmlError('auth.key', `Cannot open "${logbook.value}": ${describeTried(tried)}`, {
    details: { location: logbook.value, tried },
    hint: 'Give the recovery key: --password-file FILE, VML_PASSWORD_FILE or VML_PASSWORD_COMMAND. vml key add with it makes this computer one of its own',
  })
}

type Attempt = (
  what: string,
  secrets: readonly Uint8Array[],
  keys?: Pick<Parameters<typeof openRepository>[0], 'keyHint' | 'keyNames'>,
) => Promise<Repository | undefined>

function tellWatch({ reporter }: OpenOptions): LockWatch {
  return (watched, ms) => {
    for (const { hostname, pid, time } of watched)
      reporter?.warn({
        warning: `A lock of process ${pid} on "${printableText(hostname)}", last refreshed ${printableText(time)}, looks as if it was left behind. Watching it for ${Math.ceil(ms / 60_000)} minutes to be sure; vml unlock --remove-all does not wait`,
      })
  }
}

async function byComputerKey(
  config: Config,
  backend: Backend,
  attempt: Attempt,
  signal: AbortSignal | undefined,
): Promise<Repository | undefined> {
  const names: string[] = []
  for await (const { name } of backend.list('key', { signal })) names.push(name)
  const keys = await findComputerKeys(config.folders, names)
  if (keys.length === 0) return undefined
  const repository = await attempt(
    "this computer's key",
    keys.map((key) => key.secret),
    { keyHint: keys[0]?.keyId, keyNames: names },
  )
  if (!repository) return undefined
  // Only a hint for next time: a data folder that cannot be written is no reason not to open.
  if (keys[0]?.keyId !== repository.keyId)
    await noteComputerKey(config.folders, repository.id, repository.keyId).catch(() => {})
  return repository
}

function describeTried(tried: readonly string[]): string {
  return tried.length === 0
    ? 'this computer has no key for it, and no password was given'
    : `it does not open with ${tried.join(', nor with ')}`
}
