// Which process it is, and whether it still runs: numbers of processes are given again, and are the same in containers.
import { readFileSync, readlinkSync } from 'node:fs'
import { systemErrorCode } from './failure.ts'

/**
 * Names of hosts and numbers of processes are the same on cloned machines and in containers. `boot` is random and new with each start
 * of a kernel; two kernels never have the same.
 */
export interface ProcessMark {
  readonly boot: string
  /** The namespace that the number belongs to. */
  readonly pids: string
  /** When it began, in the kernel's ticks: another process with its number began later. */
  readonly started: string
}

/** Undefined where the system does not tell, or where there is no such process. */
export function markOf(pid: number): ProcessMark | undefined {
  const stat = readStat(pid)
  if (!stat) return undefined
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
    return { boot, pids: readlinkSync('/proc/self/ns/pid'), started: stat.started }
  } catch {
    return undefined
  }
}

/** Of a process of this kernel and this namespace. */
export function isRunning(pid: number, { started }: Pick<ProcessMark, 'started'>): boolean {
  if (!processExists(pid)) return false
  const stat = readStat(pid)
  // A process of another user may be hidden; it is there all the same.
  return !stat || (stat.started === started && stat.state !== 'Z')
}

export function processExists(pid: number): boolean {
  if (pid < 1 || pid > 0x7fff_ffff) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return systemErrorCode(error) !== 'ESRCH'
  }
}

/** Linux, proc(5): after the name, which may hold anything but ends with the last bracket, come state and, 19 fields later, the start. */
function readStat(pid: number): { readonly state: string; readonly started: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [state, started] = [fields[0], fields[19]]
    return state && started ? { state, started } : undefined
  } catch {
    return undefined // Another system, or no such process.
  }
}
