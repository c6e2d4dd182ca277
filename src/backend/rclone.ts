// A repository wherever rclone gets: `rclone:remote:path`. rclone is started as restic starts it and speaks the REST protocol over HTTP/2 on its standard streams.
import { spawn, type ChildProcess } from 'node:child_process'
import { constants, connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import { Socket } from 'node:net'
import { Duplex, type Readable, type Writable } from 'node:stream'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'
import type { Backend } from './backend.ts'
import { socketFailure, wayFailure } from './http-failure.ts'
import {
  answerBytesDefault,
  type HttpAnswer,
  type HttpClient,
  type HttpRequest,
  type HttpTimes,
  idleMsDefault,
  totalMsDefault,
} from './http-request.ts'
import { shownLocation } from './location.ts'
import { openRestStorage } from './rest-protocol.ts'

export interface RcloneLocation {
  /** As rclone itself takes it: `remote:path`, a folder, `:type:path`. */
  readonly remote: string
}

export interface RcloneOptions extends HttpTimes {
  /** Of the program; it finds its configuration and passwords by it. */
  readonly environment?: Readonly<Record<string, string | undefined>>
  readonly settleMs?: number
}

// As restic does.
const connections = 5
const exitMs = 5000
const saidBytesMax = 4096
const windowBytes = 8 * 1024 * 1024
// Of bodies that wait to be sent; at Node's own 10 MiB it ends the stream of a pack with ENHANCE_YOUR_CALM.
const sessionMiBMax = 4096

/** `rclone:REMOTE`; fails with `usage` where it is none. */
export function parseRcloneLocation(text: string): RcloneLocation {
  const remote = text.replace(/^rclone:/, '')
  if (remote === '' || remote.includes('\0'))
    throw new VmlError('usage', 'Cannot take the location: it names no remote of rclone', {
      hint: 'Write it as restic does: rclone:REMOTE:PATH; rclone config makes remotes',
    })
  return { remote }
}

/** The program is started by the first call, and ends with the backend or with this process. */
export function openRcloneBackend(location: RcloneLocation, options: RcloneOptions = {}): Backend {
  const { settleMs } = options
  return openRestStorage({
    client: openRcloneClient(location, options),
    location: rcloneLocationText(location),
    root: '/',
    connections,
    ...(settleMs === undefined ? {} : { settleMs }),
  })
}

/** As it may be shown. */
function rcloneLocationText({ remote }: RcloneLocation): string {
  return printableText(shownLocation(`rclone:${remote}`))
}

interface Running {
  readonly child: ChildProcess
  readonly session: ClientHttp2Session
  /** The end of what it said on standard error. */
  readonly said: () => string
  readonly gone: Promise<unknown>
  /** Under way: as long as there are any, this process waits for rclone. */
  requests: number
}

function openRcloneClient(location: RcloneLocation, options: RcloneOptions): HttpClient {
  let running: Running | undefined
  return {
    async send(request) {
      request.signal?.throwIfAborted()
      // A program that has ended is started again: by the next try, not by this one.
      if (running === undefined || running.session.closed || running.session.destroyed) {
        const ended = running
        running = undefined
        if (ended) await stop(ended)
        running = start(location, options)
      }
      return await exchange(running, request, options)
    },
    async [Symbol.asyncDispose]() {
      const ended = running
      running = undefined
      if (ended) await stop(ended)
    },
  }
}

function start({ remote }: RcloneLocation, { environment = {} }: RcloneOptions): Running {
  // A group of its own: Ctrl-C is for us, who still have locks to remove by it. Its standard input ends with us.
  const child = spawn('rclone', ['serve', 'restic', '--stdio', '--b2-hard-delete', '--', remote], {
    detached: true,
    // Nobody would see its question.
    env: { ...environment, RCLONE_ASK_PASSWORD: 'false' },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let said = ''
  let missing: Error | undefined
  child.stderr.on('data', (part: Buffer) => (said = (said + part.toString()).slice(-saidBytesMax)))
  const gone = Promise.withResolvers<undefined>()
  child
    .on('close', () => gone.resolve(undefined))
    .on('error', (error) => {
      missing = error
      gone.resolve(undefined)
    })
  child.stdin.on('error', () => {})
  child.stdout.on('error', () => {})
  const pipes = duplexOf(child.stdin, child.stdout)
  const session = connect('http://localhost', {
    createConnection: () => pipes,
    settings: { enablePush: false, initialWindowSize: windowBytes },
    maxSessionMemory: sessionMiBMax,
  })
  session.on('connect', () => session.setLocalWindowSize(windowBytes))
  session.on('error', () => {})
  void gone.promise.then(() => session.destroy(missing))
  for (const part of [child, child.stdin, child.stdout, child.stderr]) release(part)
  return { child, session, said: () => missing?.message ?? said, gone: gone.promise, requests: 0 }
}

function duplexOf(input: Writable, output: Readable): Duplex {
  const duplex = new Duplex({
    read: () => output.resume(),
    write: (part, encoding, done) => input.write(part, encoding, done),
    final: (done) => input.end(done),
  })
  output.on('data', (part: Buffer) => {
    if (!duplex.push(part)) output.pause()
  })
  output.on('end', () => duplex.push(null))
  duplex.on('error', () => {})
  return duplex
}

/** A backend that nobody disposes of keeps no process from ending. */
function release(part: object): void {
  if (isCounted(part)) part.unref()
}

function hold(part: object | null): void {
  if (part !== null && isCounted(part)) part.ref()
}

/** Pipes of a child are sockets, though their type does not say so. */
function isCounted(part: object): part is ChildProcess | Socket {
  return part instanceof Socket || ('unref' in part && 'ref' in part)
}

async function stop({ child, session, gone }: Running): Promise<void> {
  for (const part of [child, child.stdin, child.stdout, child.stderr]) hold(part)
  session.destroy()
  child.stdin?.end()
  const timer = setTimeout(() => child.kill('SIGKILL'), exitMs)
  await gone
  clearTimeout(timer)
}

async function exchange(running: Running, request: HttpRequest, times: HttpTimes): Promise<HttpAnswer> {
  const { child, session } = running
  const { signal } = request
  const idleMs = times.idleMs ?? idleMsDefault
  const held = [child, child.stdin, child.stdout, child.stderr]
  running.requests++
  held.forEach(hold)
  const total = AbortSignal.timeout(times.totalMs ?? totalMsDefault)
  let idle = false
  try {
    const stream = session.request(
      { ...request.headers, ':method': request.method, ':path': request.path, ...lengthOf(request.body) },
      { endStream: request.body === undefined, signal: signal ? AbortSignal.any([signal, total]) : total },
    )
    stream.setTimeout(idleMs, () => {
      idle = true
      stream.close(constants.NGHTTP2_CANCEL)
    })
    const answer = collect(stream, request)
    if (request.body !== undefined) stream.end(request.body)
    return await answer
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof VmlError) throw error
    if (total.aborted) throw wayFailure(request, 'unavailable.timeout', 'it took too long', { cause: error })
    if (idle) throw wayFailure(request, 'unavailable.timeout', `rclone gave no sign for ${idleMs / 1000} s`)
    throw await endFailure(running, request, error)
  } finally {
    if (--running.requests === 0) held.forEach((part) => part && release(part))
  }
}

async function collect(stream: ClientHttp2Stream, request: HttpRequest): Promise<HttpAnswer> {
  const answer = Promise.withResolvers<HttpAnswer>()
  let headers: Readonly<Record<string, unknown>> = {}
  let status = 0
  const parts: Buffer[] = []
  let length = 0
  const bytesMax = () =>
    status >= 200 && status < 300 ? (request.answerBytesMax ?? answerBytesDefault) : answerBytesDefault
  stream.on('response', (found) => {
    headers = found
    status = Number(found[':status'])
  })
  stream.on('data', (part: Buffer) => {
    length += part.length
    if (length <= bytesMax()) {
      parts.push(part)
      return
    }
    answer.reject(
      wayFailure(request, 'remote.protocol', `its answer is longer than the ${bytesMax()} bytes it may have`),
    )
    stream.close(constants.NGHTTP2_CANCEL)
  })
  stream.on('end', () => {
    // Closed without an answer: 'close' tells.
    if (status === 0 || stream.aborted || stream.rstCode !== 0) return
    const promised = Number(headers['content-length'] ?? length)
    if (request.method !== 'HEAD' && promised !== length)
      answer.reject(wayFailure(request, 'unavailable.network', 'the answer was cut off'))
    answer.resolve({ status, headers: namesOnly(headers), body: Buffer.concat(parts) })
  })
  stream.on('error', answer.reject).on('close', () => answer.reject(new Error('rclone closed the stream')))
  return await answer.promise
}

/** Where rclone has ended, its last words say why. */
async function endFailure(running: Running, request: HttpRequest, error: unknown): Promise<VmlError> {
  if (!running.session.destroyed && !running.session.closed) return socketFailure(request, error)
  const { child } = running
  await Promise.race([running.gone, new Promise((resolve) => setTimeout(resolve, 1000))])
  if (systemErrorCode(error) === 'ENOENT' || child.pid === undefined)
    return new VmlError(
      'unsupported',
      `Cannot ${request.task} in "${request.location}": rclone is not there`,
      {
        cause: error,
        hint: 'Install rclone, and make the remote with rclone config',
      },
    )
  const lastLine = printableText(running.said().trimEnd().split('\n').at(-1) ?? '').slice(0, 300)
  const why = lastLine === '' ? 'rclone ended' : `rclone ended: ${lastLine}`
  // It says so at its start, before any request: nothing was done, and the next start says the same.
  if (
    /didn't find section in config file|Failed to create file system|password|couldn't decrypt/i.test(
      lastLine,
    )
  )
    return new VmlError('usage', `Cannot ${request.task} in "${request.location}": ${why}`, {
      cause: error,
      hint: 'See rclone listremotes; the password of its configuration is taken from RCLONE_CONFIG_PASS',
    })
  return wayFailure(request, 'unavailable.network', why, { cause: error })
}

function lengthOf(body: Uint8Array | undefined): Record<string, string> {
  return body === undefined ? {} : { 'content-length': String(body.length) }
}

/** Without the pseudo headers of HTTP/2. */
function namesOnly(headers: Readonly<Record<string, unknown>>): Record<string, string> {
  const entries = Object.entries(headers).flatMap(([name, value]) =>
    !name.startsWith(':') && typeof value === 'string' ? [[name, value] as const] : [],
  )
  return Object.fromEntries(entries)
}
