// A small web server for a folder of images, on loopback, for tests and the demo: GET and HEAD, with ranges, so that downloads resume.
// As a program: `serve.ts FOLDER NAME@VERSION...` builds these images, publishes them in FOLDER and prints the address.
import { createReadStream } from 'node:fs'
import { mkdir, stat } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join, normalize } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { writeCatalog } from './catalog.ts'
import { buildImage, imageNames } from './images.ts'

export interface ImageServer extends AsyncDisposable {
  /** The root of the repository, with a slash at its end. */
  readonly url: string
  /** What was asked for since the start, such as `GET /streams/v1/index.json 200`, in order of completion. */
  readonly requests: readonly string[]
  close(): Promise<void>
}

export interface ServeOptions {
  readonly dir: string
  /** 0 takes a free one. */
  readonly port?: number
  /** Answers a request by itself when it returns true: for tests that need a server that misbehaves. */
  readonly intercept?: (request: IncomingMessage, response: ServerResponse) => boolean
}

export async function serveImages({ dir, port = 0, intercept }: ServeOptions): Promise<ImageServer> {
  const requests: string[] = []
  const server = createServer((request, response) => {
    response.on('close', () => requests.push(`${request.method} ${request.url} ${response.statusCode}`))
    if (intercept?.(request, response) === true) return
    // A client that goes away in the middle is none of the server's business.
    answer(dir, request, response).catch(() => response.destroy())
  })
  const listening = Promise.withResolvers<undefined>()
  server.on('error', listening.reject).listen(port, '127.0.0.1', () => listening.resolve(undefined))
  await listening.promise
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('A port of 127.0.0.1 has no number')
  const close = async () => {
    const closed = Promise.withResolvers<undefined>()
    server.close(() => closed.resolve(undefined))
    server.closeAllConnections()
    await closed.promise
  }
  return { url: `http://127.0.0.1:${address.port}/`, requests, close, [Symbol.asyncDispose]: close }
}

async function answer(dir: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405).end()
    return
  }
  const { pathname } = new URL(request.url ?? '/', 'http://localhost')
  // URL has resolved `..`; what was hidden by escapes is resolved here, below the root.
  const path = join(dir, normalize(join('/', decodeURIComponent(pathname))))
  const found = await stat(path).catch(() => undefined)
  if (found === undefined || !found.isFile()) {
    response.writeHead(404).end()
    return
  }
  const range = parseRange(request.headers.range, found.size)
  if (range === 'beyond') {
    response.writeHead(416, { 'content-range': `bytes */${found.size}` }).end()
    return
  }
  const { start, end } = range ?? { start: 0, end: found.size - 1 }
  response.writeHead(range === undefined ? 200 : 206, {
    'accept-ranges': 'bytes',
    'content-length': end - start + 1,
    'content-type': path.endsWith('.json') ? 'application/json' : 'application/octet-stream',
    etag: `"${found.size}-${found.mtimeMs}"`,
    'last-modified': found.mtime.toUTCString(),
    ...(range === undefined ? {} : { 'content-range': `bytes ${start}-${end}/${found.size}` }),
  })
  if (request.method === 'HEAD' || end < start) response.end()
  else await pipeline(createReadStream(path, { start, end }), response)
}

/** One range of RFC 9110, section 14.1.2; several, or what is not one, are left out, which that section allows. */
function parseRange(
  header: string | undefined,
  size: number,
): { start: number; end: number } | 'beyond' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '')
  const [, first = '', last = ''] = match ?? []
  if (match === null || (first === '' && last === '')) return undefined
  if (first === '') {
    return Number(last) === 0 ? 'beyond' : { start: Math.max(0, size - Number(last)), end: size - 1 }
  }
  const start = Number(first)
  if (start >= size) return 'beyond'
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1)
  return end < start ? undefined : { start, end }
}

if (import.meta.main) {
  const [folder, ...wanted] = process.argv.slice(2)
  const names = imageNames.filter((name) => wanted.includes(name))
  if (folder === undefined || names.length === 0) {
    console.error(`usage: serve.ts FOLDER NAME@VERSION... (of ${imageNames.join(', ')})`)
    process.exitCode = 2
  } else {
    await mkdir(folder, { recursive: true })
    await writeCatalog(folder, await Promise.all(names.map(buildImage)))
    console.log((await serveImages({ dir: folder })).url)
  }
}
