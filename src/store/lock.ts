// restic's locks: many may share, one may exclude (restic, doc/design.rst, "Locks"; internal/repository/lock_file.go).
import { type Clock, systemClock } from '../base/clock.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import { jsonCount, jsonObject, jsonOptionalText, jsonText } from './json-fields.ts'
import {
  encodeMark,
  judgeHolder,
  type LockOwner,
  parseMark,
  staleAfterMs,
  thisProcess,
} from './lock-holder.ts'
import { readSealedJson, type Vault, writeSealedJson } from './sealed-file.ts'
import type { CallOptions, LockDescription } from './store.ts'

export { thisProcess }

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

// restic's numbers, as `staleAfterMs`.
const refreshEveryMs = 5 * 60 * 1000
/** Held for sure only up to here: a refresh that comes later may find that another program took the lock for stale. */
const sureForMs = staleAfterMs - 1.5 * refreshEveryMs
/** Two programs that lock at once both see the other's file after this. */
const settleMs = 200
const retryRefreshMs = 20 * 1000
const lockFilesMax = 10_000
/** Whoever lives refreshes in this time, whatever its clock says, as long as it reaches the storage. */
const watchMs = 1.3 * refreshEveryMs
const watchEveryMs = 20 * 1000

/**
 * Look, write, wait, look again: as restic does. Locks of processes that are proved to have ended on this computer are removed
 * on the way, and no others: half an hour without a refresh may as well be a clock that is wrong, here or there, and what a
 * lock protects would be gone. `removeStaleLocks` takes the time to tell.
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

/** What restic's `unlock` would take for left behind: worth a notice, no proof. */
export function isStale(lock: LockFile, when: { readonly owner: LockOwner; readonly now: number }): boolean {
  return when.now - Date.parse(lock.time) > staleAfterMs || judgeHolder(lock, when) !== 'held'
}

/** Every lock with what can be told of its holder at once. */
export async function* describeLocks(
  vault: Vault,
  { owner, now, signal }: CallOptions & { readonly owner: LockOwner; readonly now: number },
): AsyncIterable<LockDescription> {
  for await (const { id, lock } of listLocks(vault, { signal })) yield describe(id, lock, { owner, now })
}

/**
 * Removes locks that nobody holds any more: at once where the holder's process is not on this computer, which is restic's rule
 * too; after a watch where a lock was not refreshed for half an hour. Whoever holds a lock writes it anew under another
 * name every five minutes, so one that stays the same all the while we look is left behind, whatever any clock says.
 */
export async function removeStaleLocks(
  vault: Vault,
  {
    owner = thisProcess(),
    clock = systemClock,
    signal,
    onWatch,
  }: CallOptions & {
    readonly owner?: LockOwner
    readonly clock?: Clock
    readonly onWatch?: ((watched: readonly LockDescription[], ms: number) => void) | undefined
  } = {},
): Promise<readonly LockDescription[]> {
  const removed: LockDescription[] = []
  const look = async () => await Array.fromAsync(describeLocks(vault, { owner, now: clock.now(), signal }))
  const remove = async (lock: LockDescription) => {
    await vault.backend.remove({ kind: 'lock', name: lock.id }, { signal })
    removed.push(lock)
  }
  const found = await look()
  for (const lock of found) if (lock.state === 'ended' || lock.state === 'missing') await remove(lock)
  let watched = found.filter(({ state }) => state === 'silent')
  if (watched.length === 0) return removed
  onWatch?.(watched, watchMs)
  for (let waited = 0; waited < watchMs && watched.length > 0; waited += watchEveryMs) {
    await clock.sleep(watchEveryMs, { signal })
    const there = new Set((await look()).map(({ id }) => id))
    watched = watched.filter(({ id }) => there.has(id))
  }
  for (const lock of watched) await remove(lock)
  return removed
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
    if (judgeHolder(lock, { owner, now: clock.now() }) === 'ended') {
      await vault.backend.remove({ kind: 'lock', name: id }, { signal })
      continue
    }
    if (exclusive || lock.exclusive) throw conflict(vault, describe(id, lock, { owner, now: clock.now() }))
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
      ...encodeMark(owner.process),
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
    process: parseMark(json['vml']),
  }
}

function describe(
  id: string,
  lock: LockFile | undefined,
  when: { readonly owner: LockOwner; readonly now: number },
): LockDescription {
  if (!lock)
    return { id, state: 'unreadable', exclusive: false, hostname: '', username: '', pid: 0, time: '' }
  const { exclusive, hostname, username, pid, time } = lock
  return { id, state: judgeHolder(lock, when), exclusive, hostname, username, pid, time }
}

function conflict(vault: Vault, lock: LockDescription): VmlError {
  const { hostname, username, pid, time, exclusive, state } = lock
  return new VmlError(
    'store.locked',
    `Cannot lock "${vault.backend.location}": process ${pid} of "${username}" on "${hostname}" ${exclusive ? 'holds it alone' : 'uses it'} since ${time}`,
    {
      details: { lock: { hostname, username, pid, time, exclusive, state } },
      hint:
        state === 'held'
          ? `Wait until it is done; if "${hostname}" was switched off meanwhile, vml unlock can tell half an hour later`
          : 'It looks as if it was left behind: vml unlock makes sure and removes it',
    },
  )
}

function unreadable(vault: Vault, id: string, cause: unknown): VmlError {
  return new VmlError(
    'store.locked',
    `Cannot lock "${vault.backend.location}": lock ${id.slice(0, 8)} cannot be read`,
    {
      cause,
      hint: 'If no other program uses the logbook, run vml unlock --remove-all',
    },
  )
}
