// restic's locks: many may share, one may exclude (restic, doc/design.rst, "Locks"; internal/repository/lock_file.go).
import { type Clock, systemClock } from '../base/clock.ts'
import { VmlError } from '../base/failure.ts'
import { describeLock, listLocks, writeLock } from './lock-file.ts'
import { type LockOwner, refreshEveryMs, staleAfterMs, thisProcess } from './lock-holder.ts'
import type { Vault } from './sealed-file.ts'
import { removeUnchanged } from './stale-locks.ts'
import type { CallOptions, LockDescription, LockWatch } from './store.ts'

export interface HeldLock extends AsyncDisposable {
  readonly exclusive: boolean
  /** Whether another lock was there when this one was taken. */
  readonly shared: boolean
  /** Before what must not happen without the lock: fails with `store.locked` when it was lost, as after a long sleep of this computer. */
  ensureHeld(): Promise<void>
}

// restic's numbers, as `staleAfterMs`.
/** Held for sure only up to here: a refresh that comes later may find that another program took the lock for stale. */
const sureForMs = staleAfterMs - 1.5 * refreshEveryMs
/** Two programs that lock at once both see the other's file after this. */
const settleMs = 200
const retryRefreshMs = 20 * 1000
/**
 * Look, write, wait, look again: as restic does. Locks of processes that are proved to have ended on this computer are removed
 * on the way. One that stands in the way and looks as if it was left behind (not refreshed for half an hour, or by a process that a host of this
 * name does not have) is watched for some minutes first: a clock may be wrong, here or there, and a clone has our name.
 */
export async function acquireLock(
  vault: Vault,
  kind: 'shared' | 'exclusive',
  {
    owner = thisProcess(),
    clock = systemClock,
    signal,
    watch = true,
    onWatch,
  }: CallOptions & {
    readonly owner?: LockOwner
    readonly clock?: Clock
    /** False refuses at once where it would watch. */
    readonly watch?: boolean
    /** Hears of locks that are watched for some minutes, since they look as if they were left behind. */
    readonly onWatch?: LockWatch | undefined
  } = {},
): Promise<HeldLock> {
  const exclusive = kind === 'exclusive'
  await refuseConflict(vault, { exclusive, owner, clock, except: undefined, signal, watch, onWatch })
  let id = await writeLock(vault, { owner, exclusive, now: clock.now(), signal })
  let shared = false
  try {
    await clock.sleep(settleMs, { signal })
    shared = await refuseConflict(vault, { exclusive, owner, clock, except: id, signal, watch, onWatch })
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

interface ConflictSearch {
  readonly exclusive: boolean
  readonly owner: LockOwner
  readonly clock: Clock
  readonly except: string | undefined
  readonly signal: AbortSignal | undefined
  readonly watch: boolean
  readonly onWatch: LockWatch | undefined
}

/** Fails with `store.locked`, or tells whether somebody else holds a lock that does not conflict. */
async function refuseConflict(vault: Vault, search: ConflictSearch): Promise<boolean> {
  const { exclusive, owner, clock, except, signal, onWatch } = search
  let others = false
  const doubtful: LockDescription[] = []
  for await (const { id, lock, error } of listLocks(vault, { signal })) {
    if (id === except) continue
    if (!lock) throw unreadable(vault, id, error)
    const found = describeLock(id, lock, { owner, now: clock.now() })
    const conflicts = exclusive || found.exclusive
    if (found.state === 'ended') await vault.backend.remove({ kind: 'lock', name: id }, { signal })
    else if (!conflicts) others = true
    else if (found.state === 'held' || !search.watch) throw conflict(vault, found, owner)
    else doubtful.push(found)
  }
  const removed = await removeUnchanged(vault, doubtful, { clock, signal, onWatch })
  // Refreshed or released while we looked: somebody is there, or was.
  const alive = doubtful.find((lock) => !removed.includes(lock))
  if (alive) throw conflict(vault, { ...alive, state: 'held' }, owner)
  return others
}

function conflict(vault: Vault, lock: LockDescription, owner: LockOwner): VmlError {
  const { hostname, username, pid, time, exclusive, state } = lock
  return new VmlError(
    'store.locked',
    `Cannot lock "${vault.backend.location}": process ${pid} of "${username}" on "${hostname}" ${exclusive ? 'holds it alone' : 'uses it'} since ${time}`,
    {
      details: { lock: { hostname, username, pid, time, exclusive, state } },
      hint:
        state === 'held'
          ? hostname === owner.hostname
            ? 'Wait until it is done; vml unlock tells whether it is still at work'
            : `Wait until it is done; if "${hostname}" was switched off meanwhile, vml unlock can tell half an hour later, after a watch of seven minutes`
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
