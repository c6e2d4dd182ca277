// Runs a program and kills it, with all that it started, right before the n-th call by which one of its threads changes a file; 0 is never.
// The kernel asks before each such call (seccomp_unotify(2)): so every thread is seen, and the call that is killed does not happen.
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, readlinkSync, openSync, readSync, closeSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

/** What `kill-at-operation.ts` asks for, as JSON in the first argument. */
export interface KillerRequest {
  readonly command: readonly string[]
  /** Calls are counted from 1. */
  readonly at: number
  /** Only calls on what lies below this folder count. */
  readonly below: string
}

/** Written to descriptor 3. */
export interface KillerAnswer {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly operations: readonly Operation[]
  /** How many threads, of all processes, made them. */
  readonly threads: number
}

export interface Operation {
  readonly call: string
  readonly path: string
}

/** Where a call says which file it means. */
type Where = 'file' | 'path' | 'at' | 'second path' | 'second at' | 'link at'

/** arch/x86/entry/syscalls/syscall_64.tbl: what changes a file, a name or an attribute, and what makes it durable. */
const calls: readonly (readonly [number: number, name: string, where: Where])[] = [
  [1, 'write', 'file'],
  [2, 'open', 'path'],
  [18, 'pwrite64', 'file'],
  [20, 'writev', 'file'],
  [74, 'fsync', 'file'],
  [75, 'fdatasync', 'file'],
  [76, 'truncate', 'path'],
  [77, 'ftruncate', 'file'],
  [82, 'rename', 'second path'],
  [83, 'mkdir', 'path'],
  [84, 'rmdir', 'path'],
  [85, 'creat', 'path'],
  [86, 'link', 'second path'],
  [87, 'unlink', 'path'],
  [88, 'symlink', 'second path'],
  [90, 'chmod', 'path'],
  [91, 'fchmod', 'file'],
  [92, 'chown', 'path'],
  [93, 'fchown', 'file'],
  [94, 'lchown', 'path'],
  [133, 'mknod', 'path'],
  [188, 'setxattr', 'path'],
  [189, 'lsetxattr', 'path'],
  [190, 'fsetxattr', 'file'],
  [197, 'removexattr', 'path'],
  [198, 'lremovexattr', 'path'],
  [199, 'fremovexattr', 'file'],
  [257, 'openat', 'at'],
  [258, 'mkdirat', 'at'],
  [259, 'mknodat', 'at'],
  [260, 'fchownat', 'at'],
  [263, 'unlinkat', 'at'],
  [264, 'renameat', 'second at'],
  [265, 'linkat', 'second at'],
  [266, 'symlinkat', 'link at'],
  [268, 'fchmodat', 'at'],
  [280, 'utimensat', 'at'],
  [285, 'fallocate', 'file'],
  [296, 'pwritev', 'file'],
  [316, 'renameat2', 'second at'],
  [326, 'copy_file_range', 'file'],
  [328, 'pwritev2', 'file'],
  [437, 'openat2', 'at'],
  [452, 'fchmodat2', 'at'],
]
/** Opens that neither make nor empty a file change nothing: O_CREAT, O_TRUNC, O_TMPFILE. */
const opensThatChange = 0o100 | 0o1000 | 0o20000000
const flagsOfOpen = new Map([
  [2, 1],
  [257, 2],
])
const seccompCall = 317n
const noNewPrivileges = 38
const here = -100

/** Words of the memory that both threads see. */
const words = { listener: 0, child: 1, end: 2 } as const

interface Tally {
  readonly operations: readonly Operation[]
  readonly threads: number
  readonly processes: readonly number[]
}

if (isMainThread) await main()
else watch(workerData)

async function main(): Promise<void> {
  if (process.arch !== 'x64')
    throw new Error('Of the calls of the kernel only the numbers of x86-64 are known here')
  const request: KillerRequest = JSON.parse(process.argv[2] ?? '')
  const shared = new Int32Array(new SharedArrayBuffer(12))
  // Before the filter: a thread has those of the thread that made it.
  const watcher = new Worker(new URL(import.meta.url), { workerData: { request, shared } })
  const tally = new Promise<Tally>((resolve, reject) => {
    watcher.once('error', reject)
    watcher.on('message', (told: Tally | 'ready') => told !== 'ready' && resolve(told))
  })
  await new Promise((resolve) => watcher.once('message', resolve))
  Atomics.store(shared, words.listener, installFilter())
  Atomics.notify(shared, words.listener)
  const [program = '', ...rest] = request.command
  const child = spawn(program, rest, { stdio: ['ignore', 'inherit', 'inherit'] })
  Atomics.store(shared, words.child, child.pid ?? -1)
  const [status, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) =>
    child.once('close', (...ended) => resolve(ended)),
  )
  Atomics.store(shared, words.end, 1)
  const { operations, threads, processes } = await tally
  // What was killed may still be on its way out.
  while (processes.some(isAlive)) await sleep(2)
  const answer: KillerAnswer = { status, signal, operations, threads }
  writeSync(3, JSON.stringify(answer))
  // Its own writes are asked about too: it cannot end in order when nobody answers any more.
  process.kill(process.pid, 'SIGKILL')
}

/** Returns the descriptor by which the kernel asks. */
function installFilter(): number {
  const ffi = process.getBuiltinModule('node:ffi')
  const { functions: c } = ffi.dlopen(null, {
    syscall: { arguments: ['i64', 'i64', 'i64', 'pointer'], return: 'i64' },
    prctl: { arguments: ['i32', 'u64', 'u64', 'u64', 'u64'], return: 'i32' },
  })
  const program = filterProgram()
  const header = Buffer.alloc(16)
  header.writeUInt16LE(program.length / 8, 0)
  header.writeBigUInt64LE(ffi.getRawPointer(program), 8)
  if (process.getuid?.() !== 0) c.prctl(noNewPrivileges, 1n, 0n, 0n, 0n)
  // SECCOMP_SET_MODE_FILTER with SECCOMP_FILTER_FLAG_NEW_LISTENER.
  const listener = Number(c.syscall(seccompCall, 1n, 8n, ffi.getRawPointer(header)))
  if (listener < 0) throw new Error('The kernel takes no filter of calls (seccomp)')
  return listener
}

/** linux/bpf_common.h, linux/seccomp.h: instructions of 8 bytes over `struct seccomp_data`. */
function filterProgram(): Buffer {
  const load = (offset: number) => [0x20, 0, 0, offset]
  const skipUnlessEqual = (value: number, skip: number) => [0x15, 0, skip, value]
  const skipUnlessAnyOf = (bits: number, skip: number) => [0x45, 0, skip, bits]
  const ask = [0x06, 0, 0, 0x7fc00000]
  const allow = [0x06, 0, 0, 0x7fff0000]
  const lines: number[][] = [load(0)]
  for (const [number] of calls) {
    const flags = flagsOfOpen.get(number)
    if (flags === undefined) lines.push(skipUnlessEqual(number, 1), ask)
    else
      lines.push(
        skipUnlessEqual(number, 4),
        load(16 + flags * 8),
        skipUnlessAnyOf(opensThatChange, 1),
        ask,
        allow,
      )
  }
  lines.push(allow)
  const program = Buffer.alloc(lines.length * 8)
  for (const [index, [code = 0, whenTrue = 0, whenFalse = 0, value = 0]] of lines.entries()) {
    program.writeUInt16LE(code, index * 8)
    program.writeUInt8(whenTrue, index * 8 + 2)
    program.writeUInt8(whenFalse, index * 8 + 3)
    program.writeUInt32LE(value, index * 8 + 4)
  }
  return program
}

/** The second thread: answers the kernel until the first one says that it is enough. */
function watch({ request, shared }: { readonly request: KillerRequest; readonly shared: Int32Array }): void {
  const { functions: c } = process.getBuiltinModule('node:ffi').dlopen(null, {
    ioctl: { arguments: ['i32', 'u64', 'buffer'], return: 'i32' },
    poll: { arguments: ['buffer', 'u64', 'i32'], return: 'i32' },
  })
  const names = new Map(calls.map(([number, name, where]) => [number, { name, where }]))
  const operations: Operation[] = []
  const threads = new Set<number>()
  const processes = new Set<number>()
  const processOf = new Map<number, number>()
  // struct seccomp_notif: id, thread, flags, then the number of the call at 16 and its arguments from 32 on.
  const question = Buffer.alloc(80)
  const answer = Buffer.alloc(24)
  const polled = Buffer.alloc(8)
  let told = false
  const port = parentPort
  if (!port) throw new Error('This is the first thread')
  port.postMessage('ready')
  Atomics.wait(shared, words.listener, 0)
  const listener = Atomics.load(shared, words.listener)
  for (;;) {
    if (Atomics.load(shared, words.end) === 1 && !told) {
      told = true
      const tally: Tally = { operations, threads: threads.size, processes: [...processes] }
      port.postMessage(tally)
    }
    polled.writeInt32LE(listener, 0)
    polled.writeInt16LE(1, 4)
    if (c.poll(polled, 1n, 5) <= 0) continue
    question.fill(0)
    // SECCOMP_IOCTL_NOTIF_RECV: fails when whoever asked is dead by now.
    if (c.ioctl(listener, 0xc0502100n, question) !== 0) continue
    const thread = question.readUInt32LE(8)
    const group = processOf.get(thread) ?? processIdOf(thread)
    processOf.set(thread, group)
    const known = names.get(question.readInt32LE(16))
    if (group !== process.pid && known) {
      processes.add(group)
      const path = pathOf(thread, known.where, (index) => question.readBigUInt64LE(32 + index * 8))
      if (path === request.below || path.startsWith(`${request.below}/`)) {
        operations.push({ call: known.name, path })
        threads.add(thread)
        if (operations.length === request.at) {
          for (const each of new Set([...processes, Atomics.load(shared, words.child)])) kill(each)
          continue
        }
      }
    }
    answer.fill(0)
    question.copy(answer, 0, 0, 8)
    // SECCOMP_USER_NOTIF_FLAG_CONTINUE: the call goes on as if nobody had asked.
    answer.writeUInt32LE(1, 20)
    c.ioctl(listener, 0xc0182101n, answer)
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself.
  }
}

function processIdOf(thread: number): number {
  try {
    return Number(/^Tgid:\s*(\d+)$/m.exec(readFileSync(`/proc/${thread}/status`, 'latin1'))?.[1] ?? -1)
  } catch {
    return -1
  }
}

function isAlive(pid: number): boolean {
  if (!existsSync(`/proc/${pid}`)) return false
  try {
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))
  } catch {
    return false
  }
}

/** As the caller sees it, without a look at what links say; '' for what is no path, such as a pipe. */
function pathOf(thread: number, where: Where, argument: (index: number) => bigint): string {
  const file = (index: number) =>
    readlinkSync(`/proc/${thread}/fd/${Number(BigInt.asIntN(32, argument(index)))}`)
  const named = (folder: number | undefined, index: number) => {
    const name = textAt(thread, argument(index))
    if (name.startsWith('/proc/self/fd/')) return readlinkSync(`/proc/${thread}/fd/${name.slice(14)}`)
    const isHere = folder === undefined || BigInt.asIntN(32, argument(folder)) === BigInt(here)
    if (name.startsWith('/')) return name
    return join(isHere ? readlinkSync(`/proc/${thread}/cwd`) : file(folder), name)
  }
  try {
    switch (where) {
      case 'file':
        return file(0)
      case 'path':
        return named(undefined, 0)
      case 'second path':
        return named(undefined, 1)
      case 'at':
        // A call without a name means the descriptor itself.
        return argument(1) === 0n ? file(0) : named(0, 1)
      case 'second at':
        return named(2, 3)
      case 'link at':
        return named(1, 2)
    }
  } catch {
    return ''
  }
}

function textAt(thread: number, address: bigint): string {
  const memory = openSync(`/proc/${thread}/mem`, 'r')
  try {
    const bytes = Buffer.alloc(4096)
    // A read that meets the end of what is mapped gives what comes before it.
    const length = readSync(memory, bytes, { position: address, length: bytes.length })
    const end = bytes.subarray(0, length).indexOf(0)
    return bytes.toString('latin1', 0, end < 0 ? length : end)
  } finally {
    closeSync(memory)
  }
}
