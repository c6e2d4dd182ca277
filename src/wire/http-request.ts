// One HTTP request for something to read: an end to silence, and nothing of it believed that is not checked afterwards.
import { messageOf, systemErrorCode, VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'

export type Fetch = typeof fetch

/** Must be disposed of: an answer that nobody reads would keep its connection. */
export interface HttpAnswer extends AsyncDisposable {
  readonly status: number
  readonly headers: Headers
  /** `unavailable.timeout` after a silence, `unavailable.network` where the connection breaks off. */
  readonly body: AsyncIterable<Uint8Array>
}

export interface HttpRequest {
  readonly fetch: Fetch
  /** Without a byte. */
  readonly idleTimeoutMs: number
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly signal?: AbortSignal | undefined
}

/** `unavailable.*` where nobody answers, with `hint`. Redirects are followed unless they are to be `manual`. */
export async function httpRequest(
  url: URL,
  { fetch, idleTimeoutMs, headers, signal }: HttpRequest,
  {
    method = 'GET',
    redirect = 'follow',
    hint,
  }: {
    readonly method?: 'GET' | 'HEAD'
    readonly redirect?: 'follow' | 'manual'
    readonly hint?: string
  } = {},
): Promise<HttpAnswer> {
  signal?.throwIfAborted()
  const more = hint === undefined ? {} : { hint }
  const shown = printableText(url.href)
  const idle = new AbortController()
  const silence = `Cannot read "${shown}": ${idleTimeoutMs / 1000} seconds without a byte`
  const timer = setTimeout(() => {
    idle.abort(new VmlError('unavailable.timeout', silence, more))
  }, idleTimeoutMs)
  const translate = (error: unknown): unknown => {
    if (signal?.aborted === true) return signal.reason
    if (idle.signal.aborted) return idle.signal.reason
    if (error instanceof VmlError) return error
    const sentence = `Cannot read "${shown}": ${printableText(reasonOf(error))}`
    return new VmlError('unavailable.network', sentence, { cause: error, ...more })
  }
  try {
    const response = await fetch(url, {
      method,
      redirect,
      // A compressed answer would have neither the size nor the ranges that were asked for.
      headers: { 'accept-encoding': 'identity', 'user-agent': 'vml', ...headers },
      signal: signal === undefined ? idle.signal : AbortSignal.any([signal, idle.signal]),
    })
    return {
      status: response.status,
      headers: response.headers,
      body: chunksOf(response, timer, translate),
      async [Symbol.asyncDispose]() {
        clearTimeout(timer)
        // A body that broke off has nothing left to cancel, and its reader has heard of it.
        if (response.body?.locked === false) await response.body.cancel().catch(() => {})
      },
    }
  } catch (error) {
    clearTimeout(timer)
    throw translate(error)
  }
}

/** The whole body, undefined where it has more than `bytesMax`. */
export async function httpBody({ body }: HttpAnswer, bytesMax: number): Promise<Buffer | undefined> {
  const pieces: Uint8Array[] = []
  let bytes = 0
  for await (const piece of body) {
    bytes += piece.length
    if (bytes > bytesMax) return undefined
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

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  const code = systemErrorCode(cause)
  // The client's own word for a line that broke off tells nobody anything.
  return code === 'UND_ERR_SOCKET' ? 'the connection broke off' : (code ?? messageOf(cause))
}
