// Puts something new in the place of what stands there, or removes it, unless that is no longer what was seen there.
import { systemErrorCode } from '../base/failure.ts'
import type { RawText } from '../base/raw-text.ts'
import type { Libc } from '../wire/libc.ts'
import { asideName } from './restore-leftover.ts'
import { isAsSeen, type Standing, standingNow } from './standing.ts'

export interface Place {
  readonly folder: number
  readonly name: RawText
}

/** Both fail with `EEXIST` where something else stands there than was seen: that stays. */
export interface LocalReplacer {
  /** `temporary` is whole and lies in the same folder; it is not there afterwards, also where this fails. */
  replace(place: Place, temporary: RawText, seen: Standing): void
  /** A file, a link or an empty folder. Nothing happens where it is gone already. */
  remove(place: Place, seen: Standing): void
}

/** What renameat2(2) says where the file system, or the kernel, knows no such flags. */
const withoutFlags: ReadonlySet<string> = new Set(['EINVAL', 'ENOSYS', 'EOPNOTSUPP', 'ENOTSUP'])
const folderBits = 0o040000
const typeBits = 0o170000

/** What has this code was set aside while something came to its name: it stays beside it, under a name that begins with `.vml-aside-`. */
export const setAside = 'EASIDE'

export function openLocalReplacer(libc: Libc, options: { run: string; thread: number }): LocalReplacer {
  let made = 0
  const nextAside = (inode: bigint, seen: Standing) =>
    asideName(options.run, { number: `${options.thread}-${made++}`, inode, seen })

  const look = ({ folder, name }: Place): { standing: Standing; inode: bigint } | undefined => {
    try {
      const status = libc.statAt(folder, name)
      return { standing: standingNow(status), inode: status.inode }
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return undefined
      throw error
    }
  }
  const isStill = (place: Place, seen: Standing): boolean => {
    const found = look(place)
    return found !== undefined && isAsSeen(seen, found.standing, 'afterRename')
  }
  return {
    /**
     * Order: the new file gets the name under which the old one will lie, which tells both apart; they change places in one
     * call; what came out is looked at. If it is what was seen, which the safety entry has, it goes. If not, they change places
     * again. So the name always leads to the one or the other, and a kill leaves under the name aside the new one, the old one as
     * the safety entry has it, or what somebody wrote within these calls: that one is never swept (`judgeLeftover`).
     */
    replace(place, temporary, seen) {
      const { folder } = place
      const own = { folder, name: temporary }
      let found: ReturnType<typeof look>
      let aside: Place
      let fresh: bigint
      try {
        found = look(place)
        if (found && !isAsSeen(seen, found.standing, 'untouched')) throw failure('EEXIST')
        fresh = libc.statAt(folder, temporary).inode
        aside = { folder, name: nextAside(fresh, seen) }
        libc.renameAt(own, aside)
      } catch (error) {
        removeIfThere(libc, own)
        throw error
      }
      try {
        if (found) libc.exchangeAt(aside, place)
        else libc.renameNewAt(aside, place)
      } catch (error) {
        const code = systemErrorCode(error)
        // The look and the rename are two calls here.
        if (withoutFlags.has(code ?? '')) libc.renameAt(aside, place)
        // It is the new one, or, of two names of one file, the second (rename(2)).
        if (look(aside)?.inode === fresh) removeIfThere(libc, aside)
        if (withoutFlags.has(code ?? '')) return
        throw code === 'ENOENT' ? failure('EEXIST') : error
      }
      if (!found) return
      if (isStill(aside, seen)) {
        libc.removeAt(folder, aside.name, 'file')
        return
      }
      try {
        libc.exchangeAt(aside, place)
      } catch (error) {
        // The new one was removed meanwhile.
        if (systemErrorCode(error) !== 'ENOENT') throw failure(setAside)
        giveBack(libc, aside, place)
        throw failure('EEXIST')
      }
      if (look(aside)?.inode === fresh) {
        libc.removeAt(folder, aside.name, 'file')
        throw failure('EEXIST')
      }
      // The new one was replaced within these calls: the last that came keeps the name, the one before it is kept, too.
      libc.exchangeAt(aside, place)
      throw failure(setAside)
    },
    /** Order: aside, a look, and only then away; what is not as it was seen gets its name back, if nothing came there. */
    remove(place, seen) {
      const { folder, name } = place
      const found = look(place)
      if (!found) return
      if (!isAsSeen(seen, found.standing, 'untouched')) throw failure('EEXIST')
      // Only an empty one goes.
      if ((found.standing.mode & typeBits) === folderBits) {
        libc.removeAt(folder, name, 'folder')
        return
      }
      const aside = { folder, name: nextAside(0n, seen) }
      try {
        libc.renameNewAt(place, aside)
      } catch (error) {
        if (systemErrorCode(error) === 'ENOENT') return
        if (!withoutFlags.has(systemErrorCode(error) ?? '')) throw error
        libc.removeAt(folder, name, 'file')
        return
      }
      if (isStill(aside, seen)) {
        libc.removeAt(folder, aside.name, 'file')
        return
      }
      giveBack(libc, aside, place)
      throw failure('EEXIST')
    },
  }
}

function removeIfThere(libc: Libc, { folder, name }: Place): void {
  try {
    libc.removeAt(folder, name, 'file')
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
  }
}

function giveBack(libc: Libc, aside: Place, place: Place): void {
  try {
    libc.renameNewAt(aside, place)
  } catch {
    throw failure(setAside)
  }
}

function failure(code: string): Error {
  return Object.assign(new Error(`${code}, renameat2`), { code, syscall: 'renameat2' })
}
