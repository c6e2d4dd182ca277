// One HTTP request as images need it: few redirects, never to a weaker or stranger scheme, and an end to silence.
import { messageOf, systemErrorCode, VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'

export type Fetch = typeof fetch

/** Must be disposed of: an answer that nobody reads would keep its connection. */
export interface HttpAnswer extends AsyncDisposable {
  readonly status: number
  readonly headers: Headers
  /** Where the redirects led. */
  readonly url: string
  /** A silence of `idleTimeoutMs` ends it with `unavailable.timeout`. */
  readonly body: AsyncIterable<Uint8Array>
}

export interface HttpRequest {
  readonly fetch: Fetch
  readonly headers?: Readonly<Record<string, string>>
  readonly idleTimeoutMs: number
  readonly signal?: AbortSignal | undefined
}

const networkHint =
  'See whether the server can be reached; what came so far is kept, and a repeated pull goes on'
const redirectsMax = 5
const urlCharactersMax = 8 * 1024
const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

/** Gets a URL. `image.unobtainable` when it is not allowed or leads nowhere, `unavailable.*` when the server is not there. */
export async function httpGet(url: string, request: HttpRequest): Promise<HttpAnswer> {
  let target = checkedUrl(url)
  for (let redirects = 0; redirects <= redirectsMax; redirects++) {
    const answer = await getOnce(target, request)
    if (!redirectStatuses.has(answer.status)) return answer
    const location = answer.headers.get('location')
    await answer[Symbol.asyncDispose]()
    if (location === null) throw unobtainable(url, `it answers ${answer.status} without a target`)
    const next = checkedUrl(location, target)
    if (target.protocol === 'https:' && next.protocol === 'http:')
      throw unobtainable(url, `it leads from https to "${shown(next)}", which is not protected`)
    target = next
  }
  throw unobtainable(url, `it redirects more than ${redirectsMax} times`)
}

/** The whole body of a small document. */
export async function httpGetDocument(
  url: string,
  request: HttpRequest & { readonly bytesMax: number },
): Promise<Buffer> {
  await using answer = await httpGet(url, request)
  if (answer.status !== 200) throw unobtainable(url, `the server answers ${answer.status}`)
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of answer.body) {
    bytes += chunk.length
    if (bytes > request.bytesMax) throw unobtainable(url, `it has more than ${request.bytesMax} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** A URL that may be asked: http or https, without user and password. */
export function checkedUrl(text: string, base?: URL): URL {
  const url = text.length <= urlCharactersMax ? URL.parse(text, base) : null
  if (url === null) throw unobtainable(text.slice(0, 200), 'it is no URL')
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw unobtainable(text, 'only http and https are followed')
  if (url.username !== '' || url.password !== '')
    throw new VmlError('image.unobtainable', 'Cannot obtain an image from a URL that holds a password', {
      hint: 'Take user and password out of the URL',
    })
  url.hash = ''
  return url
}

async function getOnce(
  url: URL,
  { fetch, headers, idleTimeoutMs, signal }: HttpRequest,
): Promise<HttpAnswer> {
  signal?.throwIfAborted()
  const idle = new AbortController()
  const timer = setTimeout(() => idle.abort(silence(url, idleTimeoutMs)), idleTimeoutMs)
  const either = signal === undefined ? idle.signal : AbortSignal.any([signal, idle.signal])
  try {
    const response = await fetch(url, {
      redirect: 'manual',
      // A compressed answer would have neither the size nor the ranges that were asked for.
      headers: { 'accept-encoding': 'identity', 'user-agent': 'vml', ...headers },
      signal: either,
    })
    const { status, headers: answered } = response
    return {
      status,
      headers: answered,
      url: url.href,
      body: chunksOf(response, { timer, signal, idle: idle.signal, url }),
      async [Symbol.asyncDispose]() {
        clearTimeout(timer)
        try {
          if (response.body?.locked === false) await response.body.cancel()
        } catch {
          // A body that broke off has nothing left to cancel, and its reader has heard of it.
        }
      },
    }
  } catch (error) {
    clearTimeout(timer)
    throw translated(error, { url, signal, idle: idle.signal })
  }
}

interface Stops {
  readonly url: URL
  readonly signal: AbortSignal | undefined
  readonly idle: AbortSignal
}

async function* chunksOf(
  response: Response,
  { timer, ...stops }: Stops & { readonly timer: NodeJS.Timeout },
): AsyncGenerator<Uint8Array> {
  try {
    if (response.body === null) return
    for await (const chunk of response.body) {
      timer.refresh()
      yield chunk
    }
  } catch (error) {
    throw translated(error, stops)
  }
}

function translated(error: unknown, { url, signal, idle }: Stops): unknown {
  if (signal?.aborted === true) return signal.reason
  if (idle.aborted) return idle.reason
  if (error instanceof VmlError) return error
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  const code = systemErrorCode(cause)
  // The client's own word for a line that broke off tells nobody anything.
  const why = code === 'UND_ERR_SOCKET' ? 'the connection broke off' : (code ?? messageOf(cause))
  return new VmlError('unavailable.network', `Cannot read "${shown(url)}": ${printableText(why)}`, {
    cause: error,
    hint: networkHint,
  })
}

function silence(url: URL, idleTimeoutMs: number): VmlError {
  const seconds = idleTimeoutMs / 1000
  return new VmlError(
    'unavailable.timeout',
    `Cannot read "${shown(url)}": ${seconds} seconds without a byte`,
    {
      hint: networkHint,
    },
  )
}

function unobtainable(url: string, why: string): VmlError {
  return new VmlError('image.unobtainable', `Cannot obtain "${printableText(url)}": ${why}`, {
    hint: 'Nothing was started. See whether the address is right, or whether the publisher has moved it',
  })
}

function shown(url: URL): string {
  return printableText(url.href)
}
