// Locks that were left behind, and how that is proved without trusting anybody's clock.
import { type Clock, systemClock } from '../base/clock.ts'
import { describeLocks, type LockFile } from './lock-file.ts'
import { judgeHolder, type LockOwner, refreshEveryMs, staleAfterMs, thisProcess } from './lock-holder.ts'
import type { Vault } from './sealed-file.ts'
import type { CallOptions, LockDescription, LockWatch } from './store.ts'

/** Whoever lives refreshes in this time, whatever its clock says, as long as it reaches the storage. */
const watchMs = 1.3 * refreshEveryMs
const watchEveryMs = 20 * 1000

/** What restic's `unlock` would take for left behind: worth a notice, no proof. */
export function isStale(lock: LockFile, when: { readonly owner: LockOwner; readonly now: number }): boolean {
  return when.now - Date.parse(lock.time) > staleAfterMs || judgeHolder(lock, when) !== 'held'
}

/**
 * Removes locks that nobody holds any more: at once where the holder's process is not on this computer, which is restic's rule
 * too; after a watch where a lock was not refreshed for half an hour.
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
    readonly onWatch?: LockWatch | undefined
  } = {},
): Promise<readonly LockDescription[]> {
  const found = await Array.fromAsync(describeLocks(vault, { owner, now: clock.now(), signal }))
  const gone = found.filter(({ state }) => state === 'ended' || state === 'missing')
  await remove(vault, gone, signal)
  const silent = found.filter(({ state }) => state === 'silent')
  return [...gone, ...(await removeUnchanged(vault, silent, { clock, signal, onWatch }))]
}

/**
 * Whoever holds a lock writes it anew under another name every five minutes. One that stays the same all the while we look is left
 * behind, whatever any clock says: those are removed and returned.
 */
export async function removeUnchanged(
  vault: Vault,
  locks: readonly LockDescription[],
  {
    clock,
    signal,
    onWatch,
  }: CallOptions & { readonly clock: Clock; readonly onWatch?: LockWatch | undefined },
): Promise<readonly LockDescription[]> {
  if (locks.length === 0) return []
  onWatch?.(locks, watchMs)
  let watched = locks
  for (let waited = 0; waited < watchMs && watched.length > 0; waited += watchEveryMs) {
    await clock.sleep(watchEveryMs, { signal })
    const there = new Set<string>()
    for await (const { name } of vault.backend.list('lock', { signal })) there.add(name)
    watched = watched.filter(({ id }) => there.has(id))
  }
  await remove(vault, watched, signal)
  return watched
}

async function remove(
  vault: Vault,
  locks: readonly LockDescription[],
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const { id } of locks) await vault.backend.remove({ kind: 'lock', name: id }, { signal })
}
