// Programs that run and have read apt's configuration already: of hooks that come or go they know nothing until they are started anew.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface AptReader {
  readonly pid: number
  /** As the kernel has it (proc(5), comm). */
  readonly name: string
}

/** Those that have apt's library in memory, such as PackageKit's daemon. Without rights to look at a process it is left out. */
export function aptReaders(proc = '/proc'): readonly AptReader[] {
  return readdirSync(proc)
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        if (!readFileSync(join(proc, name, 'maps'), 'latin1').includes('/libapt-pkg.so.')) return []
        return [{ pid: Number(name), name: readFileSync(join(proc, name, 'comm'), 'latin1').trim() }]
      } catch {
        // It has ended, or is somebody else's.
        return []
      }
    })
    .toSorted((one, other) => one.pid - other.pid)
}
