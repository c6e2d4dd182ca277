// restic's locks: many may share, one may exclude (restic, doc/design.rst, "Locks"; internal/repository/lock_file.go).
import { hostname as readHostname, userInfo } from 'node:os'
import { type Clock, systemClock } from '../base/clock.ts'
import { isFailure, systemErrorCode, VmlError } from '../base/failure.ts'
import { jsonCount, jsonObject, jsonOptionalText, jsonText } from './json-fields.ts'
import { readSealedJson, type Vault, writeSealedJson } from './sealed-file.ts'
import type { CallOptions } from './store.ts'

/** Who holds a lock, as it stands in the lock file. */
export interface LockOwner {
  readonly hostname: string
  readonly username: string
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

export interface HeldLock extends AsyncDisposable {
  readonly exclusive: boolean
  /** Whether another lock was there when this one was taken. */
  readonly shared: boolean
  /** Before what must not happen without the lock: fails with `store.locked` when it was lost, as after a long sleep of this computer. */
  ensureHeld(): Promise<void>
}

export interface LockFile extends LockOwner {
  readonly id: string
  readonly time: string
  readonly exclusive: boolean
}

// All four numbers are restic's, which acts on our locks as we do on its own.
const staleAfterMs = 30 * 60 * 1000
const refreshEveryMs = 5 * 60 * 1000
/** Held for sure only up to here: a refresh that comes later may find that another program took the lock for stale. */
const sureForMs = staleAfterMs - 1.5 * refreshEveryMs
/** Two programs that lock at once both see the other's file after this. */
const settleMs = 200
const retryRefreshMs = 20 * 1000
const lockFilesMax = 10_000

export function thisProcess(): LockOwner {
  return { hostname: readHostname(), pid: process.pid, ...readUser() }
}

/** A user id without a name is usual in containers. */
function readUser(): Pick<LockOwner, 'username' | 'uid' | 'gid'> {
  try {
    const { username, uid, gid } = userInfo()
    return { username, uid: Math.max(uid, 0), gid: Math.max(gid, 0) }
  } catch {
    return { username: '', uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  }
}

/**
 * Look, write, wait, look again: as restic does. Locks of dead processes of this host, and of anybody after half an
 * hour without a refresh, are removed on the way.
 */
export async function acquireLock(
  vault: Vault,
  kind: 'shared' | 'exclusive',
  {
    owner = thisProcess(),
    clock = systemClock,
    signal,
  }: CallOptions & { readonly owner?: LockOwner; readonly clock?: Clock } = {},
): Promise<HeldLock> {
  const exclusive = kind === 'exclusive'
  await refuseConflict(vault, { exclusive, owner, clock, except: undefined, signal })
  let id = await writeLock(vault, { owner, exclusive, now: clock.now(), signal })
  let shared = false
  try {
    await clock.sleep(settleMs, { signal })
    shared = await refuseConflict(vault, { exclusive, owner, clock, except: id, signal })
  } catch (error) {
    await vault.backend.remove({ kind: 'lock', name: id })
    throw error
  }

  const ended = new AbortController()
  let refreshedAt = clock.now()
  let lost = false
  const isThere = async () => (await vault.backend.size({ kind: 'lock', name: id })) !== undefined
  const refresh = async () => {
    // A lock that is no longer there was taken for stale, and what it protects may be gone.
    if (!(await isThere())) lost = true
    if (lost) return
    const at = clock.now()
    const next = await writeLock(vault, { owner, exclusive, now: at, signal: undefined })
    if (at - refreshedAt > sureForMs) {
      // Somebody may have taken it for stale just now: then they have removed it by the end of this pause.
      await clock.sleep(settleMs)
      if (!(await isThere())) lost = true
    }
    const old = lost ? next : id
    if (!lost) {
      id = next
      refreshedAt = at
    }
    await vault.backend.remove({ kind: 'lock', name: old })
  }
  let refreshing: Promise<void> | undefined
  const refreshOnce = async () => {
    refreshing ??= refresh().finally(() => {
      refreshing = undefined
    })
    await refreshing
  }
  /** However young it is: a forced unlock, or a computer whose clock is ahead of ours, may have removed it. */
  const isStillThere = async () => {
    for (;;) {
      await refreshing?.catch(() => {})
      const asked = id
      if (await isThere()) return true
      // Otherwise it was refreshed just now, under another name.
      if (id === asked) return false
    }
  }
  const keepFresh = async () => {
    let wait = refreshEveryMs
    while (!lost) {
      await clock.sleep(wait, { signal: ended.signal })
      // A failure here is not the end: there are a quarter of an hour of tries left, and ensureHeld tells.
      wait = await refreshOnce().then(
        () => refreshEveryMs,
        () => retryRefreshMs,
      )
    }
  }
  const keeping = keepFresh().catch(() => {})

  return {
    exclusive,
    shared,
    async ensureHeld() {
      if (!lost && clock.now() - refreshedAt > sureForMs) await refreshOnce()
      if (!lost && (await isStillThere())) return
      lost = true
      throw new VmlError(
        'store.locked',
        `Cannot go on writing to "${vault.backend.location}": the lock was lost`,
        {
          hint: 'Run the command again: what was stored so far is reused',
        },
      )
    },
    async [Symbol.asyncDispose]() {
      ended.abort()
      await keeping
      await refreshing?.catch(() => {})
      // A lock that cannot be removed goes stale by itself; it must not turn a finished save into a failure.
      await vault.backend.remove({ kind: 'lock', name: id }).catch(() => {})
    },
  }
}

/** Every lock file; undefined content for one that cannot be read. */
export async function* listLocks(
  vault: Vault,
  options: CallOptions = {},
): AsyncIterable<{ readonly id: string; readonly lock?: LockFile; readonly error?: unknown }> {
  let count = 0
  for await (const { name, size } of vault.backend.list('lock', options)) {
    if (++count > lockFilesMax)
      throw new VmlError('integrity.format', `More than ${lockFilesMax} locks are there`)
    // Storage without atomic writes leaves empty files behind when a write was cut off; restic passes over them too.
    if (size === 0) continue
    try {
      const json = await readSealedJson(vault, { kind: 'lock', name }, { ...options, sizeBytes: size })
      yield { id: name, lock: parseLock(name, json) }
    } catch (error) {
      if (!isFailure(error, 'not-found')) yield { id: name, error }
    }
  }
}

export function isStale(
  lock: LockFile,
  { owner, now }: { readonly owner: LockOwner; readonly now: number },
): boolean {
  if (now - Date.parse(lock.time) > staleAfterMs) return true
  return lock.hostname === owner.hostname && !processExists(lock.pid)
}

interface ConflictSearch {
  readonly exclusive: boolean
  readonly owner: LockOwner
  readonly clock: Clock
  readonly except: string | undefined
  readonly signal: AbortSignal | undefined
}

/** Fails with `store.locked`, or tells whether somebody else holds a lock that does not conflict. */
async function refuseConflict(
  vault: Vault,
  { exclusive, owner, clock, except, signal }: ConflictSearch,
): Promise<boolean> {
  let others = false
  for await (const { id, lock, error } of listLocks(vault, { signal })) {
    if (id === except) continue
    if (!lock) throw unreadable(vault, id, error)
    if (isStale(lock, { owner, now: clock.now() })) {
      await vault.backend.remove({ kind: 'lock', name: id }, { signal })
      continue
    }
    if (exclusive || lock.exclusive) throw conflict(vault, lock)
    others = true
  }
  return others
}

async function writeLock(
  vault: Vault,
  {
    owner,
    exclusive,
    now,
    signal,
  }: {
    readonly owner: LockOwner
    readonly exclusive: boolean
    readonly now: number
    readonly signal: AbortSignal | undefined
  },
): Promise<string> {
  return await writeSealedJson(
    vault,
    'lock',
    {
      time: new Date(now).toISOString(),
      exclusive,
      hostname: owner.hostname,
      username: owner.username,
      pid: owner.pid,
      uid: owner.uid,
      gid: owner.gid,
    },
    { signal },
  )
}

function parseLock(id: string, value: unknown): LockFile {
  const json = jsonObject(value, 'lock')
  return {
    id,
    time: jsonText(json['time'], 'time'),
    exclusive: json['exclusive'] === true,
    hostname: jsonOptionalText(json['hostname'], 'hostname') ?? '',
    username: jsonOptionalText(json['username'], 'username') ?? '',
    pid: jsonCount(json['pid'] ?? 0, 'pid', 0xffff_ffff),
    uid: jsonCount(json['uid'] ?? 0, 'uid', 0xffff_ffff),
    gid: jsonCount(json['gid'] ?? 0, 'gid', 0xffff_ffff),
  }
}

function processExists(pid: number): boolean {
  if (pid < 1 || pid > 0x7fff_ffff) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return systemErrorCode(error) !== 'ESRCH'
  }
}

function conflict(vault: Vault, lock: LockFile): VmlError {
  const { hostname, username, pid, time, exclusive } = lock
  return new VmlError(
    'store.locked',
    `Cannot lock "${vault.backend.location}": process ${pid} of "${username}" on "${hostname}" ${exclusive ? 'holds it alone' : 'uses it'} since ${time}`,
    {
      details: { lock: { hostname, username, pid, time, exclusive } },
      hint: `Wait until it is done; if "${hostname}" or that process is gone, run restic unlock`,
    },
  )
}

function unreadable(vault: Vault, id: string, cause: unknown): VmlError {
  return new VmlError(
    'store.locked',
    `Cannot lock "${vault.backend.location}": lock ${id.slice(0, 8)} cannot be read`,
    {
      cause,
      hint: 'If no other program uses the repository, run restic unlock --remove-all',
    },
  )
}
