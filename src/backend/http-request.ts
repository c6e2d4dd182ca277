// Requests over HTTP/1.1 with bounds: time without a sign of life, length of an answer, number of connections.
import { readFile } from 'node:fs/promises'
import {
  Agent as HttpAgent,
  request as httpRequest,
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
} from 'node:http'
import { systemErrorCode, messageOf, VmlError } from '../base/failure.ts'
import { socketFailure, wayFailure, type HttpTask } from './http-failure.ts'

export interface HttpRequest extends HttpTask {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE'
  /** From the root of the server, percent-encoded, with its query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array
  /** A longer answer is a failure; default: 64 KiB. */
  readonly answerBytesMax?: number
  readonly signal?: AbortSignal | undefined
}

export interface HttpAnswer {
  readonly status: number
  readonly headers: Readonly<IncomingHttpHeaders>
  /** At most 64 KiB of it where the status tells no success. */
  readonly body: Buffer
}

/**
 * Every answer of a server is given, whatever its status. Fails with `unavailable.network`, `unavailable.timeout`,
 * `remote.denied` (a certificate), `remote.protocol`, or the signal's reason.
 */
export interface HttpClient extends AsyncDisposable {
  send(request: HttpRequest): Promise<HttpAnswer>
}

export interface HttpTimes {
  /** Nothing was sent, and nothing came. Default: two minutes; a gateway in front of slow disks takes its time. */
  readonly idleMs?: number
  /** A whole request. Default: an hour, which moves 128 MiB at 300 kbit/s. */
  readonly totalMs?: number
}

export interface HttpClientOptions extends HttpTimes {
  readonly connections: number
  readonly environment: Readonly<Record<string, string | undefined>>
}

export const idleMsDefault = 120_000
export const totalMsDefault = 3_600_000
export const answerBytesDefault = 64 * 1024

/** `origin` has no path; the environment may name a proxy (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`) and `RESTIC_CACERT`. */
export function openHttpClient(origin: URL, options: HttpClientOptions): HttpClient {
  const secure = origin.protocol === 'https:'
  const idleMs = options.idleMs ?? idleMsDefault
  let prepared: Promise<Prepared> | undefined
  const prepare = async () =>
    await (prepared ??= secure ? prepareSecure(options) : Promise.resolve(preparePlain(options)))
  const once = async (request: HttpRequest, { agent, start }: Prepared, signal: AbortSignal) =>
    await exchange(request, signal, () => {
      const { body, headers, method, path } = request
      const length = body === undefined ? {} : { 'content-length': String(body.length) }
      // Without its brackets, in which a URL has an IPv6 address.
      const host = origin.hostname.replace(/^\[(.*)\]$/, '$1')
      const sent = start({
        agent,
        host,
        ...(origin.port === '' ? {} : { port: Number(origin.port) }),
        method,
        path,
        headers: { ...headers, ...length },
        timeout: idleMs,
        signal,
      })
      sent.on('timeout', () => sent.destroy(new IdleError(idleMs)))
      return sent
    })
  return {
    async send(request) {
      request.signal?.throwIfAborted()
      const total = AbortSignal.timeout(options.totalMs ?? totalMsDefault)
      const signal = request.signal === undefined ? total : AbortSignal.any([total, request.signal])
      const ready = await prepare()
      const answer = await once(request, ready, signal).catch(async (error: unknown) => {
        // The server closed a connection that was waiting for its next use just when it was used.
        if (error instanceof StaleConnectionError) return await once(request, ready, signal).catch(classified)
        return classified(error)
      })
      return answer

      function classified(error: unknown): never {
        request.signal?.throwIfAborted()
        if (error instanceof VmlError) throw error
        const cause = error instanceof StaleConnectionError ? error.cause : error
        if (total.aborted) throw wayFailure(request, 'unavailable.timeout', 'it took too long', { cause })
        if (cause instanceof IdleError) throw wayFailure(request, 'unavailable.timeout', cause.message)
        throw socketFailure(request, cause)
      }
    },
    async [Symbol.asyncDispose]() {
      const ready = await prepared?.catch(() => undefined)
      ready?.agent.destroy()
    },
  }
}

interface Prepared {
  readonly agent: HttpAgent
  readonly start: typeof httpRequest
}

function preparePlain({ connections, environment }: HttpClientOptions): Prepared {
  const agent = new HttpAgent({ keepAlive: true, maxSockets: connections, proxyEnv: proxyOf(environment) })
  return { agent, start: httpRequest }
}

/** The module for TLS and the certificates of this system are loaded only where they are used. */
async function prepareSecure({ connections, environment }: HttpClientOptions): Promise<Prepared> {
  const [{ Agent, request }, { getCACertificates }] = await Promise.all([
    import('node:https'),
    import('node:tls'),
  ])
  const file = environment['RESTIC_CACERT']
  const own =
    file === undefined || file === ''
      ? []
      : [
          await readFile(file, 'utf8').catch((cause: unknown) => {
            throw new VmlError(
              'usage',
              `Cannot read "${file}", named by RESTIC_CACERT: ${messageOf(cause)}`,
              {
                cause,
              },
            )
          }),
        ]
  const ca = [...getCACertificates('default'), ...getCACertificates('system'), ...own]
  const agent = new Agent({ keepAlive: true, maxSockets: connections, proxyEnv: proxyOf(environment), ca })
  return { agent, start: request }
}

function proxyOf(environment: HttpClientOptions['environment']): Record<string, string> {
  const names = ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy', 'NO_PROXY', 'no_proxy']
  const entries = names.flatMap((name) => {
    const value = environment[name]
    return value === undefined || value === '' ? [] : [[name, value] as const]
  })
  return Object.fromEntries(entries)
}

class IdleError extends Error {
  constructor(idleMs: number) {
    super(`nothing came and nothing went for ${idleMs / 1000} s`)
  }
}

class StaleConnectionError extends Error {}

/** One request on one connection, and its answer as a whole. */
async function exchange(
  request: HttpRequest,
  signal: AbortSignal,
  start: () => ClientRequest,
): Promise<HttpAnswer> {
  signal.throwIfAborted()
  const sent = start()
  const answered = Promise.withResolvers<IncomingMessage>()
  sent.on('response', answered.resolve).on('error', (error) => {
    // What has a body may have been taken in part: then its sender looks first, and decides.
    const again = sent.reusedSocket && request.body === undefined
    const stale = again && systemErrorCode(error) === 'ECONNRESET'
    answered.reject(stale ? new StaleConnectionError('stale', { cause: error }) : error)
  })
  sent.end(request.body)
  const response = await answered.promise
  try {
    return await collect(request, response)
  } catch (error) {
    sent.destroy()
    throw error
  }
}

async function collect(request: HttpRequest, response: IncomingMessage): Promise<HttpAnswer> {
  const { statusCode: status = 0, headers } = response
  const good = status >= 200 && status < 300
  const bytesMax = good ? (request.answerBytesMax ?? answerBytesDefault) : answerBytesDefault
  // What ends with the connection ends in the same way when it is cut off.
  const framed = headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined
  if (request.method === 'GET' && good && !framed)
    throw wayFailure(request, 'remote.protocol', 'the server does not say how long its answer is')
  const parts: Buffer[] = []
  let length = 0
  for await (const part of response as AsyncIterable<Buffer>) {
    parts.push(part)
    length += part.length
    if (length <= bytesMax) continue
    if (!good) break
    throw wayFailure(
      request,
      'remote.protocol',
      `its answer is longer than the ${bytesMax} bytes it may have`,
    )
  }
  return { status, headers, body: Buffer.concat(parts) }
}
