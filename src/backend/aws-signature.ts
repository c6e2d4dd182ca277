// Signature Version 4 of Amazon, in the Authorization header (Amazon S3 API reference, "Signature Calculations for the Authorization Header").
import { createHash, createHmac } from 'node:crypto'

export interface AwsCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
}

export interface SignedRequest {
  readonly method: string
  readonly host: string
  /** Each part percent-encoded by `encodeAws`; for S3 no part is encoded twice. */
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  /** All of them are signed. */
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array
}

export interface SigningScope {
  readonly credentials: AwsCredentials
  readonly region: string
  readonly service: string
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** The headers to send, `host` not among them, and the query as it must stand in the address. */
export function signAws(
  request: SignedRequest,
  { credentials, region, service, now }: SigningScope,
): { readonly headers: Readonly<Record<string, string>>; readonly query: string } {
  const time = new Date(now).toISOString().replaceAll(/[-:]|\.\d{3}/g, '')
  const scope = `${time.slice(0, 8)}/${region}/${service}/aws4_request`
  const bodyHash = sha256(request.body ?? '')
  const { sessionToken } = credentials
  const headers: Record<string, string> = {
    ...request.headers,
    ...(service === 's3' ? { 'x-amz-content-sha256': bodyHash } : {}),
    'x-amz-date': time,
    ...(sessionToken === undefined ? {} : { 'x-amz-security-token': sessionToken }),
  }
  const lines = Object.entries({ ...headers, host: request.host })
    .map(([name, value]) => [name.toLowerCase(), value.trim().replaceAll(/ +/g, ' ')] as const)
    .toSorted(([one], [two]) => (one < two ? -1 : 1))
  const names = lines.map(([name]) => name).join(';')
  const query = queryOf(request.query ?? {})
  const canonical = [
    request.method,
    request.path,
    query,
    ...lines.map(([name, value]) => `${name}:${value}`),
    '',
    names,
    bodyHash,
  ].join('\n')
  const toSign = ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n')
  const key = [time.slice(0, 8), region, service, 'aws4_request'].reduce<Buffer>(
    (secret, part) => hmac(secret, part),
    Buffer.from(`AWS4${credentials.secretAccessKey}`, 'utf8'),
  )
  const signature = hmac(key, toSign).toString('hex')
  const authorization = `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope},SignedHeaders=${names},Signature=${signature}`
  return { headers: { ...headers, authorization }, query }
}

/** Percent-encoding of all but RFC 3986's unreserved characters. */
export function encodeAws(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

function queryOf(query: Readonly<Record<string, string>>): string {
  return Object.entries(query)
    .map(([name, value]) => [encodeAws(name), encodeAws(value)] as const)
    .toSorted(([one], [two]) => (one < two ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
}

function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex')
}

function hmac(key: Uint8Array, data: string): Buffer {
  return createHmac('sha256', key).update(data, 'utf8').digest()
}
