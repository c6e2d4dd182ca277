// What the kernel says of processes that a shell has started: whether they run, and what they are.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

/** Not one that has ended and whose parent has not asked for it yet. */
export function isRunning(pid: number): boolean {
  assert.ok(pid > 1)
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}

/** Its words, each with a zero behind it, by a name in `/proc`; empty for what is no process. */
export function commandOf(name: string): string {
  try {
    return /^\d+$/.test(name) ? readFileSync(`/proc/${name}/cmdline`, 'latin1') : ''
  } catch {
    return ''
  }
}
