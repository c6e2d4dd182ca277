// What the package system leaves behind each time it runs, whether it changed anything or not. It is no part of a change.
import { isOwnCode } from './own-code.ts'
import type { RawPath } from './raw-path.ts'
import { type Fingerprint, type PathChange, sameState } from './transaction.ts'

/**
 * Locks, and books that dpkg, apt and rpm write anew though nothing in them is another. Nobody goes by their times but apt's own cache, which is made anew
 * then. Lists of a package's files are none of them: their time tells when it was installed.
 */
const writtenAnew =
  /^\/var\/lib\/dpkg\/(?:lock|lock-frontend|triggers\/Lock|triggers\/Unincorp|status|available)$|^\/var\/lib\/apt\/(?:extended_states|lists\/lock|daily_lock)$|^\/(?:var\/lib|usr\/lib\/sysimage)\/rpm\/(?:\.rpm\.lock|rpmdb\.sqlite-wal)$/

/** Copies of books before they were written, an update that dpkg had in hand, caches of apt, and the index of SQLite's log: written by each run, and made again by the next one. */
const scratch =
  /^\/var\/lib\/dpkg\/(?:[^/]+-old|updates\/tmp\.i)$|^\/var\/cache\/apt\/[^/]+\.bin$|^\/(?:var\/lib|usr\/lib\/sysimage)\/rpm\/rpmdb\.sqlite-shm$|^\/(?:var\/lib\/dnf\/|usr\/lib\/sysimage\/libdnf5\/transaction_)history\.sqlite-shm$/

/** A file that differs in nothing but its time of change. */
export function isTimeOnly({
  before,
  after,
}: {
  readonly before?: Fingerprint | undefined
  readonly after?: Fingerprint | undefined
}): boolean {
  return (
    before?.type === 'file' &&
    after !== undefined &&
    sameState(before, after) &&
    before.mtimeNs !== after.mtimeNs
  )
}

/**
 * To be left out of a change: the time alone of one of the package system's own books, and what VML that ran meanwhile wrote of its own code. Of every other
 * file the time counts, since make and others go by it. What is deleted was meant, and a folder can only go with all that is in it.
 */
export function isMereWriting(change: PathChange): boolean {
  if (isOwnCode(change.path)) return change.after?.type === 'file' || change.after?.type === 'dir'
  return writtenAnew.test(change.path) && isTimeOnly(change)
}

/** Nothing but that, and what each run makes again, was written: no transaction (A9). What is deleted was meant. */
export function isNothingMeant(changes: readonly PathChange[]): boolean {
  return changes.every(
    (change) => isMereWriting(change) || (change.after?.type === 'file' && isScratch(change.path)),
  )
}

function isScratch(path: RawPath): boolean {
  return scratch.test(path)
}
