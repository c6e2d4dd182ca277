// QMP, the control protocol of QEMU: commands and events as lines of JSON over a unix socket (qemu, docs/interop/qmp-spec.rst).
import { open } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { basename, dirname } from 'node:path'
import { messageOf, VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'

export interface QmpEvent {
  readonly name: string
  readonly data: Readonly<Record<string, unknown>>
}

/** A connection to one QEMU, in command mode. */
export interface QmpClient extends AsyncDisposable {
  /** As QEMU says it: `7.2.22`. */
  readonly version: string
  /**
   * Runs a command and gives its return value. Fails with `remote.command` (details: `class`) when QEMU refuses,
   * `unavailable.timeout` when it does not answer in time, `unavailable.network` when the connection ends.
   */
  execute(command: string, args?: Readonly<Record<string, unknown>>, options?: QmpOptions): Promise<unknown>
  /** Events from this call on; ends with the connection. */
  events(): AsyncIterableIterator<QmpEvent>
  close(): void
}

export interface QmpOptions {
  /** Default 10,000. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal | undefined
}

// `query-qmp-schema`, the longest answer there is, has 200 KiB.
const lineBytesMax = 16 * 1024 * 1024
// A reader that leaves this many events waiting has stopped reading.
const eventsWaitingMax = 10_000
const timeoutMsDefault = 10_000

/** Connects to the socket that QEMU listens on and leaves capabilities negotiation mode. */
export async function connectQmp(path: string, options: QmpOptions = {}): Promise<QmpClient> {
  const socket = await connectSocket(path)
  const connection = new QmpConnection(socket, path)
  try {
    const version = await connection.greeting(options)
    await connection.execute('qmp_capabilities', undefined, options)
    return {
      version,
      execute: (command, args, commandOptions) => connection.execute(command, args, commandOptions),
      events: () => connection.events(),
      close: () => connection.close(),
      [Symbol.asyncDispose]: async () => await Promise.resolve(connection.close()),
    }
  } catch (error) {
    connection.close()
    throw error
  }
}

interface Pending {
  readonly command: string
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

class QmpConnection {
  readonly #socket: Socket
  readonly #path: string
  readonly #pending = new Map<number, Pending>()
  readonly #readers = new Set<EventQueue>()
  readonly #greeting = Promise.withResolvers<string>()
  #partial: Buffer[] = []
  #partialBytes = 0
  #lastId = 0
  #failure: VmlError | undefined

  constructor(socket: Socket, path: string) {
    this.#socket = socket
    this.#path = path
    // Nobody may be waiting for the greeting when the connection ends.
    this.#greeting.promise.catch(() => {})
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
    socket.on('error', (error) => this.#end(error))
    socket.on('close', () => this.#end(undefined))
  }

  async greeting(options: QmpOptions): Promise<string> {
    return await this.#within(this.#greeting.promise, 'greeting', options)
  }

  async execute(
    command: string,
    args?: Readonly<Record<string, unknown>>,
    options: QmpOptions = {},
  ): Promise<unknown> {
    if (this.#failure !== undefined) throw this.#failure
    options.signal?.throwIfAborted()
    const id = ++this.#lastId
    const answer = Promise.withResolvers<unknown>()
    this.#pending.set(id, { command, ...answer })
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`)
    try {
      return await this.#within(answer.promise, command, options)
    } finally {
      this.#pending.delete(id)
    }
  }

  events(): AsyncIterableIterator<QmpEvent> {
    const queue = new EventQueue(() => this.#readers.delete(queue))
    if (this.#failure === undefined) this.#readers.add(queue)
    else queue.end()
    return queue
  }

  close() {
    this.#end(undefined)
    this.#socket.destroy()
  }

  async #within<T>(answer: Promise<T>, what: string, options: QmpOptions): Promise<T> {
    const { timeoutMs = timeoutMsDefault, signal } = options
    const stop = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      stop.reject(
        new VmlError(
          'unavailable.timeout',
          `Cannot run "${what}" in QEMU: no answer in ${timeoutMs / 1000} seconds`,
        ),
      )
    }, timeoutMs)
    const abort = () => stop.reject(signal?.reason)
    signal?.addEventListener('abort', abort, { once: true })
    try {
      return await Promise.race([answer, stop.promise])
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
  }

  #take(chunk: Buffer) {
    let start = 0
    for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, start)) {
      this.#partial.push(chunk.subarray(start, end))
      const line = Buffer.concat(this.#partial)
      this.#partial = []
      this.#partialBytes = 0
      start = end + 1
      if (line.length > 0 && this.#failure === undefined) this.#takeLine(line)
    }
    this.#partial.push(chunk.subarray(start))
    this.#partialBytes += chunk.length - start
    if (this.#partialBytes > lineBytesMax) this.#protocol(`a line has more than ${lineBytesMax} bytes`)
  }

  #takeLine(line: Buffer) {
    let message: unknown
    try {
      message = JSON.parse(line.toString('utf8'))
    } catch (error) {
      return this.#protocol(messageOf(error))
    }
    if (!isObject(message)) return this.#protocol('a line is no object')
    if (isObject(message['QMP'])) return this.#greeting.resolve(versionOf(message['QMP']))
    if (typeof message['event'] === 'string') {
      const data = isObject(message['data']) ? message['data'] : {}
      for (const reader of this.#readers) reader.push({ name: message['event'], data })
      return
    }
    const pending = typeof message['id'] === 'number' ? this.#pending.get(message['id']) : undefined
    if (isObject(message['error'])) {
      const failure = refusal(pending?.command ?? 'command', message['error'])
      if (pending === undefined) return this.#end(failure)
      return pending.reject(failure)
    }
    // An answer that came too late has no one waiting any more.
    pending?.resolve(message['return'])
  }

  #protocol(why: string) {
    const message = `Cannot understand QEMU at "${this.#path}": ${printableText(why)}`
    this.#end(new VmlError('remote.protocol', message))
    this.#socket.destroy()
  }

  #end(cause: unknown) {
    if (this.#failure !== undefined) return
    this.#failure = cause instanceof VmlError ? cause : gone(this.#path, cause)
    this.#greeting.reject(this.#failure)
    for (const { reject } of this.#pending.values()) reject(this.#failure)
    this.#pending.clear()
    for (const reader of this.#readers) reader.end()
    this.#readers.clear()
  }
}

class EventQueue implements AsyncIterableIterator<QmpEvent> {
  readonly #waiting: QmpEvent[] = []
  readonly #forget: () => void
  #wake: (() => void) | undefined
  #ended = false
  #overrun = false

  constructor(forget: () => void) {
    this.#forget = forget
  }

  push(event: QmpEvent) {
    if (this.#waiting.length >= eventsWaitingMax) this.#overrun = true
    else this.#waiting.push(event)
    this.#wake?.()
  }

  end() {
    this.#ended = true
    this.#wake?.()
  }

  async next(): Promise<IteratorResult<QmpEvent, undefined>> {
    for (;;) {
      const value = this.#waiting.shift()
      if (value !== undefined) return { done: false, value }
      if (this.#overrun)
        throw new VmlError('remote.protocol', 'Cannot follow the events of QEMU: too many were left unread')
      if (this.#ended) return { done: true, value: undefined }
      const { promise, resolve } = Promise.withResolvers<undefined>()
      this.#wake = () => resolve(undefined)
      await promise
    }
  }

  async return(): Promise<IteratorResult<QmpEvent, undefined>> {
    this.#forget()
    this.end()
    return await Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }
}

// unix(7): sun_path has 108 bytes with its NUL; 104 on other systems.
const socketPathBytesMax = 103

/** Connects to a socket however long its path is: through a descriptor of its folder where the path is too long. */
async function connectSocket(path: string): Promise<Socket> {
  if (Buffer.byteLength(path) <= socketPathBytesMax) return await opened(path, path)
  const folder = await open(dirname(path), 'r')
  try {
    return await opened(`/proc/self/fd/${folder.fd}/${basename(path)}`, path)
  } finally {
    await folder.close()
  }
}

async function opened(address: string, path: string): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>()
  const socket = connect({ path: address })
  const failed = (error: Error) => reject(gone(path, error))
  socket.once('error', failed)
  socket.once('connect', () => {
    socket.off('error', failed)
    resolve(socket)
  })
  return await promise
}

function gone(path: string, cause: unknown): VmlError {
  const why = cause === undefined ? 'the connection ended' : messageOf(cause)
  return new VmlError('unavailable.network', `Cannot reach QEMU at "${path}": ${why}`, { cause })
}

function refusal(command: string, error: Readonly<Record<string, unknown>>): VmlError {
  const described = typeof error['desc'] === 'string' ? error['desc'].slice(0, 2_000) : 'no reason given'
  return new VmlError('remote.command', `Cannot run "${command}" in QEMU: ${printableText(described)}`, {
    details: { class: error['class'] },
  })
}

function versionOf(greeting: Readonly<Record<string, unknown>>): string {
  const version = isObject(greeting['version']) ? greeting['version'] : {}
  const qemu = isObject(version['qemu']) ? version['qemu'] : {}
  return `${Number(qemu['major'])}.${Number(qemu['minor'])}.${Number(qemu['micro'])}`
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
