// Who holds a lock, and what this computer can prove about a holder that may be gone.
import { hostname as readHostname, userInfo } from 'node:os'
import { isRunning, markOf, processExists, type ProcessMark } from '../base/process-mark.ts'
import type { LockState } from './store.ts'

/** Who holds a lock, as it stands in the lock file. */
export interface LockOwner {
  readonly hostname: string
  readonly username: string
  readonly pid: number
  readonly uid: number
  readonly gid: number
  /** VML's own field, which restic reads over; undefined for locks of other programs, and where the system does not tell. */
  readonly process?: ProcessMark | undefined
}

/** restic's, which acts on our locks as we do on its own (internal/repository/lock_file.go, `staleLockTimeout`). */
export const staleAfterMs = 30 * 60 * 1000
/** How often whoever holds a lock writes it anew, under another name. */
export const refreshEveryMs = 5 * 60 * 1000

export function thisProcess(): LockOwner {
  const mark = markOf(process.pid)
  return { hostname: readHostname(), pid: process.pid, ...readUser(), ...(mark ? { process: mark } : {}) }
}

/** What can be told of the holder of a lock that was last refreshed at `time`, without waiting. */
export function judgeHolder(
  lock: LockOwner & { readonly time: string },
  { owner, now }: { readonly owner: LockOwner; readonly now: number },
): Exclude<LockState, 'unreadable'> {
  const mark = lock.process
  const here = owner.process
  if (mark && here && mark.boot === here.boot && mark.pids === here.pids) {
    // The one case in which everything is known: the same kernel, the same numbers.
    return isRunning(lock.pid, mark) ? 'held' : 'ended'
  }
  // restic's rule, for its own locks: the name of this host, and no such process.
  if (!mark && lock.hostname === owner.hostname && !processExists(lock.pid)) return 'missing'
  return now - Date.parse(lock.time) > staleAfterMs ? 'silent' : 'held'
}

export function encodeMark(mark: ProcessMark | undefined): Readonly<Record<string, unknown>> {
  return mark ? { vml: mark } : {}
}

/** Undefined for what another version may have written. */
export function parseMark(value: unknown): ProcessMark | undefined {
  const json: Readonly<Record<string, unknown>> =
    typeof value === 'object' && value !== null ? { ...value } : {}
  const { boot, pids, started } = json
  return typeof boot === 'string' && typeof pids === 'string' && typeof started === 'string'
    ? { boot, pids, started }
    : undefined
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
