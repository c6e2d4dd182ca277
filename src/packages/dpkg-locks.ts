// dpkg's two locks, so that apt and dpkg stay out while VML changes what is theirs.
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { VmlError, messageOf, systemErrorCode } from '../base/failure.ts'
import { tryRecordLock, type LockHolder } from '../wire/record-lock.ts'

export interface DpkgLocks extends AsyncDisposable {
  /** For every program that VML starts meanwhile: dpkg and apt then know that the frontend's lock is held for them (dpkg(1)). */
  readonly environment: Readonly<Record<string, string>>
  /** dpkg takes the lock of the database by itself, also when it is called by who holds the frontend's: it is free for that time. */
  withDatabaseFree<Result>(work: () => Promise<Result>): Promise<Result>
}

export interface DpkgLockRequest {
  /** dpkg's `--admindir`. */
  readonly database?: string
  readonly clock: Clock
  /** 0: not at all. */
  readonly waitMs?: number
  /** Called by apt, which holds the frontend's lock itself (`DPKG_FRONTEND_LOCKED` is set). */
  readonly frontendHeld?: boolean
  readonly signal?: AbortSignal | undefined
  /** Told once, when the wait begins. */
  readonly onWait?: (holder: LockHolder) => void
}

const pollMs = 200
const environment = { DPKG_FRONTEND_LOCKED: 'true' }

/** First the frontend's, then the database's, in the order of apt and dpkg. `store.locked` when the wait was in vain. */
export async function takeDpkgLocks({
  database = '/var/lib/dpkg',
  frontendHeld = false,
  ...request
}: DpkgLockRequest): Promise<DpkgLocks> {
  const frontend = frontendHeld ? undefined : await takeFileLock(join(database, 'lock-frontend'), request)
  const path = join(database, 'lock')
  let inner: AsyncDisposable | undefined
  try {
    inner = await takeFileLock(path, request)
  } catch (error) {
    await frontend?.[Symbol.asyncDispose]()
    throw error
  }
  return {
    environment,
    async withDatabaseFree(work) {
      await inner?.[Symbol.asyncDispose]()
      inner = undefined
      try {
        return await work()
      } finally {
        inner = await takeFileLock(path, request)
      }
    },
    async [Symbol.asyncDispose]() {
      await inner?.[Symbol.asyncDispose]()
      inner = undefined
      await frontend?.[Symbol.asyncDispose]()
    },
  }
}

/** One of them, or another that is taken in the same way. */
export async function takeFileLock(
  path: string,
  { clock, waitMs = 0, signal, onWait }: Omit<DpkgLockRequest, 'database' | 'frontendHeld'>,
): Promise<AsyncDisposable> {
  const started = clock.now()
  for (let tries = 0; ; tries++) {
    signal?.throwIfAborted()
    const attempt = await tryRecordLock(path).catch((error: unknown) => {
      throw cannotLock(path, error)
    })
    if (attempt.taken) return attempt.lock
    if (clock.now() - started >= waitMs) throw locked(path, attempt.holder)
    if (tries === 0) onWait?.(attempt.holder)
    await clock.sleep(pollMs, { signal })
  }
}

function locked(path: string, holder: LockHolder): VmlError {
  const { pid, program } = holder
  const who = pid === 0 ? 'a process of another container' : `"${program ?? '?'}" (process ${pid})`
  return new VmlError('store.locked', `Cannot change packages: ${who} holds the lock "${path}"`, {
    details: { path, pid, ...(program === undefined ? {} : { program }) },
    hint: 'Wait until it has ended, then repeat',
  })
}

function cannotLock(path: string, error: unknown): VmlError {
  const code = systemErrorCode(error)
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return new VmlError('unsupported', `Cannot change packages: there is no "${path}"`, {
      cause: error,
      hint: 'This machine has no database of dpkg',
    })
  return new VmlError('failed', `Cannot lock "${path}": ${messageOf(error)}`, {
    cause: error,
    ...(code === 'EACCES' || code === 'EPERM' ? { hint: 'Repeat as root' } : {}),
  })
}
