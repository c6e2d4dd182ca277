// A way to an S3 server that spoils what goes over it, as other servers and networks do.
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { signAws } from '../../src/backend/aws-signature.ts'

export interface Spoiling {
  /** `If-None-Match` is answered by 501, or as if it were not there. Default: as the server itself does. */
  readonly conditions?: 'refused' | 'ignored'
  /** So many answers to puts are lost after the server has taken what was put. */
  readonly losePuts?: number
}

const credentials = { accessKeyId: 'vmltest', secretAccessKey: 'vmltestsecret' }

export async function spoiledWay(
  target: string,
  { conditions, losePuts = 0 }: Spoiling,
): Promise<AsyncDisposable & { readonly url: string }> {
  let lost = 0
  const { host } = new URL(target)
  const handle = async (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const body = Buffer.concat(await Array.fromAsync(incoming as AsyncIterable<Buffer>))
    const { method = 'GET', url = '/' } = incoming
    const conditional = incoming.headers['if-none-match'] !== undefined
    if (conditional && conditions === 'refused') {
      outgoing.writeHead(501, { 'content-length': 0 }).end()
      return
    }
    // What was signed for this way is signed anew for the server behind it.
    const [path = '', query = ''] = url.split('?')
    const signed = signAws(
      {
        method,
        host,
        path,
        query: Object.fromEntries(new URLSearchParams(query)),
        headers: {
          ...(incoming.headers.range === undefined ? {} : { range: incoming.headers.range }),
          ...(conditional && conditions === undefined ? { 'if-none-match': '*' } : {}),
        },
        body,
      },
      { credentials, region: 'us-east-1', service: 's3', now: Date.now() },
    )
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const headers = { ...signed.headers, 'content-length': body.length }
      httpRequest(new URL(url, target), { method, headers })
        .on('response', resolve)
        .on('error', reject)
        .end(body)
    })
    if (method === 'PUT' && lost < losePuts) {
      lost++
      answer.resume()
      incoming.socket.resetAndDestroy()
      return
    }
    outgoing.writeHead(answer.statusCode ?? 500, answer.headers)
    answer.pipe(outgoing)
  }
  const server = createServer((incoming, outgoing) => {
    handle(incoming, outgoing).catch(() => incoming.socket.destroy())
  })
  await new Promise<undefined>((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('A port has no number')
  return {
    url: `http://127.0.0.1:${address.port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
