// Which process it is, and whether it still runs: numbers of processes are given again, and are the same in containers.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
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
  return !stat || isIt(stat, started)
}

/**
 * Of a process of this kernel and another namespace, where `pid` is its number. Undefined where this cannot be told: `/proc` shows the processes of its own namespace and of
 * those below that, and the first one of the kernel is above all.
 */
export function isRunningElsewhere(
  pid: number,
  { pids, started }: Pick<ProcessMark, 'pids' | 'started'>,
): boolean | undefined {
  // Where the system hides of which namespace one is, its start alone tells.
  const isMeant = (name: string) =>
    [undefined, pids].includes(namespaceOf(name)) && isIt(readStatAt(name), started)
  if (findProcess(pid, isMeant) !== undefined) return true
  return namespaceOf(isProcOurs() ? 'self' : '1') === firstNamespace ? false : undefined
}

/** The kernel's `PROC_PID_INIT_INO`, which never changes. */
const firstNamespace = 'pid:[4026531836]'

export function processExists(pid: number): boolean {
  if (pid < 1 || pid > 0x7fff_ffff) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return systemErrorCode(error) !== 'ESRCH'
  }
}

/**
 * The number under which `/proc` has a process of this namespace. It may be the `/proc` of a namespace above (`nsenter -m`, `chroot` from a container), where the same number is
 * another process. Undefined where it has none.
 */
export function numberInProc(pid: number): number | undefined {
  if (isProcOurs()) return pid
  const pids = namespaceOf('self')
  if (pid === process.pid) return numbersOf('self')?.[0]
  if (pids === undefined) return undefined
  return findProcess(pid, (name) => namespaceOf(name) === pids)
}

/** The other way round. */
export function numberFromProc(numberInThatProc: number): number | undefined {
  return isProcOurs() ? numberInThatProc : numbersOf(String(numberInThatProc))?.at(-1)
}

/** By its number in its own namespace. */
function findProcess(pid: number, isMeant: (name: string) => boolean): number | undefined {
  const name = readProc().find((each) => numbersOf(each)?.at(-1) === pid && isMeant(each))
  return name === undefined ? undefined : Number(name)
}

/** Of this process's own namespace: there it has one number. */
function isProcOurs(): boolean {
  const self = numbersOf('self')
  return self !== undefined && self.length <= 1
}

function readProc(): string[] {
  try {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  } catch {
    return []
  }
}

/** proc(5), `NSpid`: in the namespace of this `/proc`, then in each below it, and last in its own. */
function numbersOf(name: string): number[] | undefined {
  try {
    const line = /^NSpid:((?:\t\d+)+)$/m.exec(readFileSync(`/proc/${name}/status`, 'latin1'))?.[1]
    // A kernel without namespaces has no such line.
    return line?.trim().split('\t').map(Number) ?? []
  } catch {
    return undefined // Another system, or it has ended, or this process is not in that namespace.
  }
}

function namespaceOf(name: string): string | undefined {
  try {
    return readlinkSync(`/proc/${name}/ns/pid`)
  } catch {
    return undefined
  }
}

interface ProcessStat {
  readonly state: string
  readonly started: string
}

function isIt(stat: ProcessStat | undefined, started: string): boolean {
  return stat !== undefined && stat.started === started && stat.state !== 'Z'
}

function readStat(pid: number): ProcessStat | undefined {
  const number = numberInProc(pid)
  return number === undefined ? undefined : readStatAt(String(number))
}

/** Linux, proc(5): after the name, which may hold anything but ends with the last bracket, come state and, 19 fields later, the start. */
function readStatAt(name: string): ProcessStat | undefined {
  try {
    const stat = readFileSync(`/proc/${name}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [state, started] = [fields[0], fields[19]]
    return state && started ? { state, started } : undefined
  } catch {
    return undefined // Another system, or no such process.
  }
}
