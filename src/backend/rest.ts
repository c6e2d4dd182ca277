// A repository on a server of restic's REST protocol, reached over HTTP: `rest:http://host:port/path/`.
import { VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'
import type { Backend } from './backend.ts'
import { openHttpClient, type HttpTimes } from './http-request.ts'
import { openRestStorage } from './rest-protocol.ts'

export interface RestLocation {
  /** Without user and password; the path ends with a slash. */
  readonly url: URL
  /** From the location itself. */
  readonly credentials: Credentials | undefined
}

interface Credentials {
  readonly user: string
  readonly password: string
}

export interface RestOptions extends HttpTimes {
  /** `RESTIC_REST_USERNAME` and `RESTIC_REST_PASSWORD`, as restic reads them; a proxy and certificates, see openHttpClient. */
  readonly environment?: Readonly<Record<string, string | undefined>>
  readonly settleMs?: number
}

// As restic does.
const connections = 5

/** `rest:URL`; fails with `usage` where it is none. */
export function parseRestLocation(text: string): RestLocation {
  const address = text.replace(/^rest:/, '')
  const wrong = (why: string) =>
    // The text may hold a password: it is not repeated.
    new VmlError('usage', `Cannot take the location of a REST server: ${why}`, {
      hint: 'Write it as restic does: rest:https://host:8000/path/',
    })
  if (!/^https?:\/\//.test(address) || !URL.canParse(address)) throw wrong('it is no http: or https: address')
  const url = new URL(address)
  if (url.search !== '' || url.hash !== '') throw wrong('it has a "?" or a "#" in it')
  const { username, password } = url
  let credentials: Credentials | undefined
  try {
    if (username !== '' || password !== '')
      credentials = { user: decodeURIComponent(username), password: decodeURIComponent(password) }
  } catch {
    throw wrong('its user or password has a "%" that stands for nothing')
  }
  url.username = ''
  url.password = ''
  if (!url.pathname.endsWith('/')) url.pathname += '/'
  return { url, credentials }
}

/** Nothing is asked of the server before the first call. */
export function openRestBackend(location: RestLocation, options: RestOptions = {}): Backend {
  const { environment = {}, settleMs, ...times } = options
  const { url } = location
  const credentials = location.credentials ?? credentialsOf(environment)
  const pair = credentials && Buffer.from(`${credentials.user}:${credentials.password}`, 'utf8')
  return openRestStorage({
    client: openHttpClient(new URL(url.origin), { ...times, connections, environment }),
    location: restLocationText(location),
    root: url.pathname,
    connections,
    headers: pair === undefined ? {} : { authorization: `Basic ${pair.toString('base64')}` },
    ...(settleMs === undefined ? {} : { settleMs }),
  })
}

/** As it may be shown: without user and password. */
export function restLocationText({ url }: RestLocation): string {
  return printableText(`rest:${url.href}`)
}

function credentialsOf(environment: Readonly<Record<string, string | undefined>>): Credentials | undefined {
  const user = environment['RESTIC_REST_USERNAME'] ?? ''
  const password = environment['RESTIC_REST_PASSWORD'] ?? ''
  return user === '' && password === '' ? undefined : { user, password }
}
