// Services that keep every version that an archive ever had: where a package's file lies there.
import { VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'
import { httpBody, type HttpRequest, httpRequest } from '../wire/http-request.ts'
import type { WantedPackage } from './package-sources.ts'

export type SnapshotService =
  /** As snapshot.debian.org: asked for all files of a version by `mr/binary/…`, gives each by its SHA-1 (its document "API"). */
  | { readonly kind: 'index'; readonly address: string }
  /** An archive as it was at one time, which is part of the address: `http://snapshot.ubuntu.com/ubuntu/20260101T000000Z`. */
  | { readonly kind: 'moment'; readonly address: string }

/** A file that a service said it has. */
export interface SnapshotFile {
  readonly url: string
  readonly sizeBytes?: number
  readonly sha1?: string
}

/** Some 60 files for a version that was built for all architectures, 300 bytes each. */
const answerBytesMax = 4 * 1024 * 1024
const filesMax = 1000

/** What may be the file; none where the service has none. `unavailable.*` where it does not answer, `remote.protocol` where it says nonsense. */
export async function askSnapshot(
  service: SnapshotService,
  wanted: WantedPackage,
  http: HttpRequest,
): Promise<readonly SnapshotFile[]> {
  const base = service.address.replace(/\/+$/, '')
  if (service.kind === 'moment') return await askMoment(base, wanted, http)
  const { name, version, architecture } = wanted
  const words = [name, version].map((word) => encodeURIComponent(word))
  await using answer = await httpRequest(
    addressOf(`${base}/mr/binary/${words.join('/')}/binfiles?fileinfo=1`),
    http,
  )
  if (answer.status === 404) return []
  if (answer.status !== 200) throw protocolError(service, `it answers ${answer.status}`)
  const body = await httpBody(answer, answerBytesMax)
  const files = body && parseIndex(body)
  if (files === undefined) throw protocolError(service, 'its answer is not what its interface promises')
  return files
    .filter(({ names }) => names.some((one) => one.endsWith(`_${architecture}.deb`)))
    .map(({ sha1, sizeBytes }) => ({
      url: `${base}/file/${sha1}`,
      sha1,
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
    }))
}

async function askMoment(
  base: string,
  { file }: WantedPackage,
  http: HttpRequest,
): Promise<readonly SnapshotFile[]> {
  // Where an archive has a file stands in its lists alone; without them there is nothing to ask for.
  if (file === undefined || /(^|\/)\.\.(\/|$)/.test(file)) return []
  const url = `${base}/${file
    .split('/')
    .map((part) => encodeURIComponent(part))
    .join('/')}`
  await using answer = await httpRequest(addressOf(url), http, { method: 'HEAD' })
  if (answer.status === 404) return []
  if (answer.status !== 200) throw protocolError({ address: base }, `it answers ${answer.status}`)
  const length = answer.headers.get('content-length')
  return [{ url, ...(length !== null && /^\d{1,15}$/.test(length) ? { sizeBytes: Number(length) } : {}) }]
}

/** `usage` for an address that is none. */
export function addressOf(text: string): URL {
  const url = URL.parse(text)
  if (url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '') return url
  throw new VmlError(
    'usage',
    `Cannot ask "${printableText(text)}": it is no http address, or has a password in it`,
  )
}

function protocolError({ address }: { readonly address: string }, why: string): VmlError {
  return new VmlError(
    'remote.protocol',
    `Cannot ask the snapshot service "${printableText(address)}": ${why}`,
  )
}

interface IndexedFile {
  readonly sha1: string
  readonly names: readonly string[]
  readonly sizeBytes?: number
}

/** `{ "result": [{ "hash" }], "fileinfo": { HASH: [{ "name", "size" }] } }`, and more that is not needed. */
function parseIndex(body: Buffer): IndexedFile[] | undefined {
  let answer: unknown
  try {
    answer = JSON.parse(body.toString('utf8'))
  } catch {
    return undefined
  }
  const infos = property(answer, 'fileinfo')
  if (typeof infos !== 'object' || infos === null) return undefined
  const entries: (readonly [string, unknown])[] = Object.entries(infos)
  if (entries.length > filesMax) return undefined
  return entries.flatMap(([sha1, list]) => {
    if (!/^[0-9a-f]{40}$/.test(sha1) || !Array.isArray(list)) return []
    const all: readonly unknown[] = list
    const names = all.map((one) => property(one, 'name')).filter((name) => typeof name === 'string')
    const size = property(all[0], 'size')
    return [
      {
        sha1,
        names,
        ...(typeof size === 'number' && Number.isSafeInteger(size) && size >= 0 ? { sizeBytes: size } : {}),
      },
    ]
  })
}

function property(of: unknown, name: string): unknown {
  return typeof of === 'object' && of !== null
    ? (Object.getOwnPropertyDescriptor(of, name)?.value as unknown)
    : undefined
}
