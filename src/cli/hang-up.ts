// Tells a terminal that is gone from a mere SIGHUP.
import { closeSync, openSync } from 'node:fs'

/**
 * `restic unlock` sends SIGHUP to the process that a lock names, to see whether it is there (internal/repository/lock_file_unix.go): a
 * save beside which it runs must not end of it. A closed terminal sends it too, and then the kernel has taken the
 * terminal away from the process (tty_ioctl(4), TIOCNOTTY). `had` is whether there was one when the program began.
 */
export function isTerminalGone(had: boolean): boolean {
  if (!had) return false
  try {
    closeSync(openSync('/dev/tty', 'r'))
    return false
  } catch {
    return true
  }
}
