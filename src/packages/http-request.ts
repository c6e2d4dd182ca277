// One HTTP request to a snapshot service: an end to silence, and nothing of it believed that is not checked afterwards.
import { messageOf, systemErrorCode, VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'

export type Fetch = typeof fetch

export interface HttpOptions {
  readonly fetch: Fetch
  readonly idleTimeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/** Must be disposed of: an answer that nobody reads would keep its connection. */
export interface HttpAnswer extends AsyncDisposable {
  readonly status: number
  readonly headers: Headers
  /** Fails with `unavailable.timeout` after a silence, with `unavailable.network` where the connection breaks off. */
  readonly body: AsyncIterable<Uint8Array>
}

/** `usage` for an address that is none, `unavailable.*` where nobody answers. Redirects are followed, as the services have them. */
export async function httpRequest(
  address: string,
  { fetch, idleTimeoutMs, signal, method = 'GET' }: HttpOptions & { readonly method?: 'GET' | 'HEAD' },
): Promise<HttpAnswer> {
  const url = URL.parse(address)
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '')
    throw new VmlError(
      'usage',
      `Cannot ask "${printableText(address)}": it is no http address, or has a password in it`,
    )
  signal?.throwIfAborted()
  const idle = new AbortController()
  const timer = setTimeout(() => idle.abort(silence(url, idleTimeoutMs)), idleTimeoutMs)
  const translate = (error: unknown): unknown => {
    if (signal?.aborted === true) return signal.reason
    if (idle.signal.aborted) return idle.signal.reason
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
    const why = systemErrorCode(cause) ?? messageOf(cause)
    return new VmlError(
      'unavailable.network',
      `Cannot read "${printableText(url.href)}": ${printableText(why)}`,
      {
        cause: error,
      },
    )
  }
  try {
    const response = await fetch(url, {
      method,
      // A compressed answer would not have the size that is told.
      headers: { 'accept-encoding': 'identity', 'user-agent': 'vml' },
      signal: signal === undefined ? idle.signal : AbortSignal.any([signal, idle.signal]),
    })
    return {
      status: response.status,
      headers: response.headers,
      body: chunksOf(response, timer, translate),
      async [Symbol.asyncDispose]() {
        clearTimeout(timer)
        if (response.body?.locked === false) await response.body.cancel().catch(() => {})
      },
    }
  } catch (error) {
    clearTimeout(timer)
    throw translate(error)
  }
}

/** The whole body; more than `bytesMax` is `remote.protocol`. */
export async function httpBody({ body }: HttpAnswer, bytesMax: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  let bytes = 0
  for await (const piece of body) {
    bytes += piece.length
    if (bytes > bytesMax)
      throw new VmlError('remote.protocol', `Stopped reading an answer: it has more than ${bytesMax} bytes`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}

async function* chunksOf(
  { body }: Response,
  timer: NodeJS.Timeout,
  translate: (error: unknown) => unknown,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    for await (const chunk of body ?? []) {
      timer.refresh()
      yield chunk
    }
  } catch (error) {
    throw translate(error)
  } finally {
    clearTimeout(timer)
  }
}

function silence(url: URL, idleTimeoutMs: number): VmlError {
  return new VmlError(
    'unavailable.timeout',
    `Cannot read "${printableText(url.href)}": ${idleTimeoutMs / 1000} seconds without a byte`,
  )
}
