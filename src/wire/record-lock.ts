// Locks on whole files by fcntl(2), as apt and dpkg take them: the kernel gives them up with the process that holds them.
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync } from 'node:fs'
import { once } from 'node:events'
import { systemErrorCode } from '../base/failure.ts'
import { printable, rawFromBytes } from '../base/raw-text.ts'
import { loadFfi, systemErrorOf } from './libc.ts'

export interface LockHolder {
  /** 0 when it is a process of another container. */
  readonly pid: number
  /** Its name as the kernel has it, printable; not there when it has just ended. */
  readonly program?: string
}

export type LockAttempt =
  | { readonly taken: true; readonly lock: AsyncDisposable }
  | { readonly taken: false; readonly holder: LockHolder }

/** By the C library where Node can call it, else by a perl of Debian's base system that lives as long as the lock. */
export type LockWay = 'libc' | 'perl'

/** fcntl.h of Linux on 64 bits: `struct flock` is type and whence of 16 bits each, start and length at 8 and 16, the process at 24. */
const [getLock, setLock, setOpenFileLock] = [5, 6, 37]
const [writeLock, noLock] = [1, 2]
const flockBytes = 32
/** The kernel cuts names of processes after 15 bytes. */
const programBytesMax = 64
const perlAnswerBytesMax = 256

/** POSIX gives up a process's lock as soon as it closes any descriptor of the file, and never refuses one to its holder. */
const heldHere = new Set<string>()

/**
 * Tries once to lock the whole file for writing; it is made (0640, as dpkg makes it) where it is not there. Nothing else in this process
 * may open that file meanwhile. Throws errors as those of node:fs where it cannot be opened, or locked by any way.
 */
export async function tryRecordLock(
  path: string,
  { ways = ['libc', 'perl'] }: { readonly ways?: readonly LockWay[] } = {},
): Promise<LockAttempt> {
  if (heldHere.has(path)) return { taken: false, holder: { pid: process.pid, ...programOf(process.pid) } }
  const fcntl = ways.includes('libc') ? bindFcntl() : undefined
  const attempt = fcntl === undefined ? await tryByPerl(path) : tryByLibc(fcntl, path)
  if (!attempt.taken) return attempt
  heldHere.add(path)
  return {
    taken: true,
    lock: {
      async [Symbol.asyncDispose]() {
        if (heldHere.delete(path)) await attempt.lock[Symbol.asyncDispose]()
      },
    },
  }
}

/**
 * Locks a new file for as long as it is open here: until it is given up, or this process ends in whatever way. What is started meanwhile does not inherit it, and to open and close
 * the file elsewhere in this process is no harm. Throws as `tryRecordLock` does; `EEXIST` where it is there.
 */
export function lockNewFile(path: string): Disposable {
  const fcntl = bindFcntl()
  if (fcntl === undefined) throw lockFailure('ENOSYS', path)
  const file = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600)
  const result = fcntl(file, setOpenFileLock, flockOf(writeLock))
  if (result !== 0) {
    closeSync(file)
    throw lockFailure(systemErrorOf(-result), path)
  }
  let isOpen = true
  return {
    [Symbol.dispose]() {
      if (isOpen) closeSync(file)
      isOpen = false
    },
  }
}

/** Who else holds a lock on the file, by this call or the one above; undefined where nobody does, or there is no such file. Throws where it cannot be asked. */
export function lockHolderOf(path: string): LockHolder | undefined {
  // To close it would give up the lock.
  if (heldHere.has(path)) return undefined
  const fcntl = bindFcntl()
  if (fcntl === undefined) throw lockFailure('ENOSYS', path)
  let file: number
  try {
    file = openSync(path, constants.O_RDONLY)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
  const asked = flockOf(writeLock)
  const result = fcntl(file, getLock, asked)
  closeSync(file)
  if (result !== 0) throw lockFailure(systemErrorOf(-result), path)
  // -1 of a lock of an open file, which no process has by itself.
  return asked.readInt16LE(0) === noLock ? undefined : holderOf(Math.max(0, asked.readInt32LE(24)))
}

function lockFailure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}, fcntl`), { code, syscall: 'fcntl', path })
}

/** 0, or the negative number of the failure. */
type Fcntl = (file: number, command: number, flock: Buffer) => number

function bindFcntl(): Fcntl | undefined {
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) return undefined
  try {
    const ffi = loadFfi()
    const { functions: c } = ffi.dlopen(null, {
      __errno_location: { arguments: [], return: 'pointer' },
      // Takes further arguments as it needs; on both architectures they go where those of any function go.
      fcntl: { arguments: ['i32', 'i32', 'buffer'], return: 'i32' },
    })
    const errnoAt = c.__errno_location()
    const fcntl: Fcntl = (file, command, flock) =>
      c.fcntl(file, command, flock) < 0 ? -ffi.getInt32(errnoAt, 0) : 0
    return worksOn(fcntl) ? fcntl : undefined
  } catch {
    return undefined
  }
}

/** That a descriptor which is none is told as such: a library with other numbers is not used. */
function worksOn(fcntl: Fcntl): boolean {
  const result = fcntl(-1, getLock, flockOf(writeLock))
  return result < 0 && systemErrorOf(-result) === 'EBADF'
}

function tryByLibc(fcntl: Fcntl, path: string): LockAttempt {
  const file = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o640)
  const result = fcntl(file, setLock, flockOf(writeLock))
  if (result === 0) return { taken: true, lock: { [Symbol.asyncDispose]: async () => closeSync(file) } }
  const asked = flockOf(writeLock)
  const told = fcntl(file, getLock, asked)
  closeSync(file)
  const code = systemErrorOf(-result)
  if (code !== 'EAGAIN' && code !== 'EACCES') throw lockFailure(code, path)
  // It may have been given up between the two calls: then there is nobody to name.
  const known = told === 0 && asked.readInt16LE(0) !== noLock
  return { taken: false, holder: holderOf(known ? asked.readInt32LE(24) : 0) }
}

function flockOf(type: number): Buffer {
  const flock = Buffer.alloc(flockBytes)
  flock.writeInt16LE(type, 0)
  return flock
}

/** Ends with the end of its input, which is that of this process at the latest. */
const perlScript = `
use Fcntl;
sysopen(my $file, $ARGV[0], O_RDWR | O_CREAT, 0640) or do { print "error ", $! + 0, "\\n"; exit };
my $lock = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0);
if (fcntl($file, F_SETLK, $lock)) { $| = 1; print "taken\\n"; <STDIN>; exit }
if (!$!{EAGAIN} && !$!{EACCES}) { print "error ", $! + 0, "\\n"; exit }
fcntl($file, F_GETLK, $lock);
my ($type, undef, undef, undef, $pid) = unpack("s s x4 q q i", $lock);
print "held ", ($type == F_UNLCK ? 0 : $pid), "\\n";`

async function tryByPerl(path: string): Promise<LockAttempt> {
  const child = spawn('perl', ['-MErrno', '-e', perlScript, path], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: { LC_ALL: 'C', PATH: '/usr/bin:/bin' },
  })
  const closed = once(child, 'close')
  const answer = await firstLine(child)
  const [word, number = '0'] = answer.split(' ')
  if (word === 'taken') {
    return {
      taken: true,
      lock: {
        async [Symbol.asyncDispose]() {
          child.stdin?.end()
          await closed
        },
      },
    }
  }
  await closed
  if (word === 'held') return { taken: false, holder: holderOf(Number(number)) }
  const code = word === 'error' ? systemErrorOf(Number(number)) : 'ENOSYS'
  throw lockFailure(code, path)
}

async function firstLine(child: ChildProcess): Promise<string> {
  let text = ''
  for await (const chunk of child.stdout?.iterator({ destroyOnReturn: false }) ?? []) {
    text += String(chunk)
    if (text.includes('\n') || text.length > perlAnswerBytesMax) break
  }
  return text.split('\n', 1)[0] ?? ''
}

function holderOf(pid: number): LockHolder {
  return { pid, ...(pid > 0 ? programOf(pid) : {}) }
}

/** Of what Node runs: its own name tells nobody which program it is. `/opt/vml/src/cli/vml.js` is vml. */
function scriptOf(pid: number): string | undefined {
  const [, ...words] = readFileSync(`/proc/${pid}/cmdline`).toString('latin1').split('\0')
  const script = words.find((word) => word !== '' && !word.startsWith('-'))
  return /(?:^|\/)([\w.-]{1,64}?)\.[cm]?[jt]s$/.exec(script ?? '')?.[1]
}

/** As Node names its first thread, by version. */
const nodeThread = /^(?:node|node-MainThread|MainThread)$/

function programOf(pid: number): { readonly program?: string } {
  try {
    const name = readFileSync(`/proc/${pid}/comm`).subarray(0, programBytesMax)
    const program = printable(rawFromBytes(name)).replace(/\\n$/, '')
    return { program: nodeThread.test(program) ? (scriptOf(pid) ?? program) : program }
  } catch {
    return {} // It has ended, or there is no /proc.
  }
}
