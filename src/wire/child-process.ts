// One program of this host as a stream: bounded memory, bounded silence, and nothing left running after it.
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import { VmlError, messageOf } from '../base/failure.ts'
import type { ShellOutcome, ShellProcess, ShellRequest } from './shell.ts'

export interface ChildRequest extends Omit<ShellRequest, 'argv'> {
  /** Words of the program on this host: ASCII or UTF-8 text. */
  readonly command: readonly string[]
  /** What runs and where, for messages: `"tar" on this host`. */
  readonly label: string
  /** Called once before the program is ended early, for what must be ended elsewhere first. */
  readonly beforeKill?: () => Promise<void>
  /** The program is a server: its input stays open for `write`, and its silence counts only from `watch` on. */
  readonly isServer?: boolean
  /** The input is not touched before this: should it never come to that, another program can be given it. */
  readonly feedAfter?: Promise<void>
  /** Told of what comes on standard error, too. */
  readonly onStderr?: (chunk: Buffer) => void
}

export interface Child extends ShellProcess {
  readonly pid: number | undefined
  /** Ends the program and everything in its process group; reading and `outcome` then fail with this. */
  fail(error: Error): void
  /** Of a server: feeds it. That it does not read is no failure. */
  write(bytes: Uint8Array): void
  /** From now on this silence counts; `label` is for the message. */
  watch(idleTimeoutMs: number, label: string): void
}

/** The end of standard error that is kept. */
export const stderrBytesMax = 64 * 1024
export const idleTimeoutMsDefault = 60_000
/** Between asking a program to end and ending it. */
const killAfterMs = 2000

/**
 * Starts a program in a process group of its own. The silence that counts is the program's: time in which we
 * ourselves do not read, or have nothing yet to feed, does not.
 */
export function startChild(request: ChildRequest): Child {
  const { signal, label, isServer = false } = request
  if (signal?.aborted) throw cancelled(signal, label)
  const [program = '', ...words] = request.command
  const child = spawn(program, words, { stdio: 'pipe', detached: true })
  let failure: Error | undefined
  let closed = false
  let reading = false
  let fed = request.stdin === undefined
  let producing = false
  let activeAt = performance.now()
  const touch = () => void (activeAt = performance.now())

  function fail(error: Error): void {
    if (failure || closed) return
    failure = error
    void end()
  }
  async function end(): Promise<void> {
    await request.beforeKill?.().catch(() => {})
    if (closed) return
    killGroup(child.pid, 'SIGTERM')
    child.stdin.destroy()
    child.stdout.destroy()
    const timer = setTimeout(() => {
      killGroup(child.pid, 'SIGKILL')
      child.stderr.destroy()
    }, killAfterMs)
    // What catches SIGTERM and has let go of our pipes outlives the program: it still has its end to come.
    child.once('close', () => {
      if (!killGroup(child.pid, 0)) clearTimeout(timer)
    })
  }
  const onAbort = () => fail(cancelled(signal, label))
  signal?.addEventListener('abort', onAbort, { once: true })

  let watching: NodeJS.Timeout | undefined
  function watch(idleTimeoutMs: number, watched: string): void {
    clearInterval(watching)
    touch()
    if (closed || idleTimeoutMs === Number.POSITIVE_INFINITY) return
    const look = () => {
      const ours = (!reading && child.stdout.readableLength > 0) || (producing && !fed)
      if (ours) touch()
      else if (performance.now() - activeAt > idleTimeoutMs)
        fail(new VmlError('unavailable.timeout', `No sign of life from ${watched} for ${idleTimeoutMs} ms`))
    }
    watching = setInterval(look, Math.min(Math.max(idleTimeoutMs / 10, 10), 60_000))
  }
  watch(isServer ? Number.POSITIVE_INFINITY : (request.idleTimeoutMs ?? idleTimeoutMsDefault), label)

  const stderr = keepEnd(child.stderr, (chunk) => {
    touch()
    request.onStderr?.(chunk)
  })
  child.stdin.on('error', () => {})
  async function feedAll(): Promise<void> {
    await request.feedAfter
    await feed(child.stdin, request.stdin, {
      touch,
      producing: (now) => void (producing = now),
      failed: (error) => fail(error instanceof Error ? error : new Error(messageOf(error))),
    })
    fed = true
  }
  if (!isServer) void feedAll()

  function release(): void {
    closed = true
    clearInterval(watching)
    signal?.removeEventListener('abort', onAbort)
  }
  const outcome = new Promise<ShellOutcome>((resolve, reject) => {
    child.once('error', (error) => {
      if (child.pid !== undefined) return
      release()
      reject(error)
    })
    child.once('close', (status, killedBy) => {
      release()
      if (failure) reject(failure)
      else resolve({ status: status ?? 128 + (killedBy ? constants.signals[killedBy] : 0), stderr: stderr() })
    })
  })
  outcome.catch(() => {})

  async function* stdout(): AsyncIterable<Buffer> {
    try {
      reading = true
      for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
        touch()
        reading = false
        yield chunk
        reading = true
      }
    } catch (error) {
      if (!failure) throw error
    }
    if (failure) throw failure
  }

  return {
    pid: child.pid,
    stdout: stdout(),
    outcome,
    fail,
    write: (bytes) => void child.stdin.write(bytes),
    watch,
    async [Symbol.asyncDispose]() {
      fail(new VmlError('cancelled', `Ended ${label} before it was done`))
      // What is still unread would keep the program's pipe open.
      child.stdout.destroy()
      await outcome.catch(() => {})
    },
  }
}

export function cancelled(signal: AbortSignal | undefined, label: string): Error {
  const reason: unknown = signal?.reason
  return reason instanceof VmlError
    ? reason
    : new VmlError('cancelled', `Cancelled ${label}`, { cause: reason })
}

/** Whether there was anything of the group; signal 0 only asks. */
function killGroup(pid: number | undefined, signal: NodeJS.Signals | 0): boolean {
  if (pid === undefined) return false
  try {
    return process.kill(-pid, signal)
  } catch {
    // It has ended by itself.
    return false
  }
}

/** Keeps the last `stderrBytesMax` bytes of a stream, in memory of at most twice that. */
function keepEnd(stream: Readable, told: (chunk: Buffer) => void): () => Buffer {
  let kept: Buffer[] = []
  let length = 0
  const compact = () => {
    const all = Buffer.concat(kept)
    kept = [Buffer.from(all.subarray(Math.max(0, all.length - stderrBytesMax)))]
    length = kept[0]?.length ?? 0
  }
  stream.on('data', (chunk: Buffer) => {
    told(chunk)
    kept.push(chunk)
    length += chunk.length
    if (length > 2 * stderrBytesMax || kept.length > 1024) compact()
  })
  stream.on('error', () => {})
  return () => {
    compact()
    return kept[0] ?? Buffer.alloc(0)
  }
}

interface FeedEvents {
  touch(): void
  producing(now: boolean): void
  failed(error: unknown): void
}

/** Feeds a program at the speed at which it reads. A program that stops reading (EPIPE) is no failure: its status tells. */
async function feed(to: Writable, from: ShellRequest['stdin'], events: FeedEvents): Promise<void> {
  try {
    events.producing(true)
    for await (const chunk of from ?? []) {
      events.producing(false)
      if (to.destroyed) return
      if (!to.write(chunk)) await roomOrEnd(to)
      events.touch()
      events.producing(true)
    }
    to.end()
  } catch (error) {
    events.failed(error)
  } finally {
    events.producing(false)
  }
}

function roomOrEnd(stream: Writable): Promise<void> {
  if (stream.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done)
      stream.off('close', done)
      resolve()
    }
    stream.once('drain', done)
    stream.once('close', done)
  })
}
