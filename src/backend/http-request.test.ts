import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, connect, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { startRclone } from '../../test/rclone.ts'
import { isFailure, type FailureCode, type VmlError } from '../base/failure.ts'
import { openRestBackend, parseRestLocation, type RestOptions } from './rest.ts'

interface Listening extends AsyncDisposable {
  readonly port: number
}

async function listen(server: Server): Promise<Listening> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
  })
  await new Promise<undefined>((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  return {
    port: address.port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const name = 'ab'.repeat(32)
const pack = { kind: 'pack', name } as const

/** What a server that says just this makes of a read. */
async function readFrom(answer: string, options: RestOptions = {}): Promise<VmlError> {
  await using server = await listen(
    createServer((socket) => {
      socket.once('data', () => {
        if (answer !== '') socket.end(answer)
      })
    }),
  )
  await using backend = openRestBackend(parseRestLocation(`rest:http://127.0.0.1:${server.port}/`), options)
  return await failureOf(backend.get(pack, { offset: 0, length: 4 }))
}

async function failureOf(promise: Promise<unknown>): Promise<VmlError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(isFailure(error), String(error))
  return error
}

const answers: readonly (readonly [string, string, FailureCode])[] = [
  ['401', 'HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n', 'remote.denied'],
  ['403', 'HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n', 'remote.denied'],
  ['404', 'HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n', 'not-found'],
  ['416', 'HTTP/1.1 416 No\r\ncontent-length: 0\r\n\r\n', 'integrity.truncated'],
  ['429', 'HTTP/1.1 429 No\r\ncontent-length: 0\r\n\r\n', 'unavailable.network'],
  ['500', 'HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n', 'unavailable.network'],
  ['504', 'HTTP/1.1 504 No\r\ncontent-length: 0\r\n\r\n', 'unavailable.timeout'],
  ['507', 'HTTP/1.1 507 No\r\ncontent-length: 0\r\n\r\n', 'unavailable.space'],
  [
    'a redirect',
    'HTTP/1.1 302 Go\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n',
    'remote.protocol',
  ],
  [
    'fewer bytes than promised',
    'HTTP/1.1 206 OK\r\ncontent-range: bytes 0-3/9\r\ncontent-length: 4\r\n\r\nab',
    'unavailable.network',
  ],
  [
    'an end that cannot be told from a break',
    'HTTP/1.1 206 OK\r\ncontent-range: bytes 0-3/9\r\n\r\nabcd',
    'remote.protocol',
  ],
  [
    'another range',
    'HTTP/1.1 206 OK\r\ncontent-range: bytes 1-4/9\r\ncontent-length: 4\r\n\r\nbcde',
    'remote.protocol',
  ],
  [
    'a longer range',
    'HTTP/1.1 206 OK\r\ncontent-range: bytes 0-4/9\r\ncontent-length: 5\r\n\r\nabcde',
    'remote.protocol',
  ],
  ['a shorter file', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab', 'integrity.truncated'],
  ['an answer that is none', 'SSH-2.0-OpenSSH\r\n', 'remote.protocol'],
]

for (const [what, answer, code] of answers)
  test(`a read that is answered by ${what} fails with ${code}`, async () => {
    assert.equal((await readFrom(answer)).code, code)
  })

test('a server that says nothing is given up after a while, and nothing is taken for missing', async () => {
  assert.equal((await readFrom('', { idleMs: 100 })).code, 'unavailable.timeout')
})

test('a whole file instead of a range is cut to it', async () => {
  await using server = await listen(
    createServer((socket) =>
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabcdefghi')),
    ),
  )
  await using backend = openRestBackend(parseRestLocation(`rest:http://127.0.0.1:${server.port}/`))
  assert.equal((await backend.get(pack, { offset: 2, length: 3 })).toString(), 'cde')
})

test('nothing listening, and a name that no host has, are told as the network', async () => {
  const { port } = await listen(createServer()).then(async (server) => {
    await server[Symbol.asyncDispose]()
    return server
  })
  for (const host of [`127.0.0.1:${port}`, 'no-such-host.invalid']) {
    await using backend = openRestBackend(parseRestLocation(`rest:http://${host}/`))
    const failure = await failureOf(backend.size(pack))
    assert.equal(failure.code, 'unavailable.network')
  }
})

test('a certificate that nobody vouches for is refused, and taken where RESTIC_CACERT names it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-tls-'))
  try {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const words =
      '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1'
    execFileSync('openssl', ['req', '-x509', ...words.split(' '), '-keyout', key, '-out', cert], {
      stdio: 'ignore',
    })
    await using server = await listen(
      createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (socket) => {
        socket
          .on('error', () => {})
          .once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n'))
      }),
    )
    const place = parseRestLocation(`rest:https://127.0.0.1:${server.port}/`)
    await using distrustful = openRestBackend(place)
    assert.equal((await failureOf(distrustful.size(pack))).code, 'remote.denied')
    await using trusting = openRestBackend(place, { environment: { RESTIC_CACERT: cert } })
    assert.equal(await trusting.size(pack), 7)
    // A server without TLS behind an address that says https:
    await using plain = await listen(
      createServer((socket) => socket.once('data', () => socket.end('HTTP/1.1 400 No\r\n\r\n'))),
    )
    await using mistaken = openRestBackend(parseRestLocation(`rest:https://127.0.0.1:${plain.port}/`))
    assert.equal((await failureOf(mistaken.size(pack))).code, 'remote.protocol')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

/** A way to `target` that breaks after so many bytes have gone towards it, once; later connections hold. */
async function breakingWay(target: number, bytes: number): Promise<Listening> {
  let broken = false
  return await listen(
    createServer((socket) => {
      const onward = connect(target, '127.0.0.1')
      let gone = 0
      socket.on('data', (part: Buffer) => {
        gone += part.length
        if (!broken && gone >= bytes) {
          broken = true
          socket.resetAndDestroy()
          onward.resetAndDestroy()
        } else onward.write(part)
      })
      onward.on('data', (part) => socket.write(part))
      onward.on('close', () => socket.destroy()).on('error', () => {})
      socket.on('close', () => onward.destroy())
    }),
  )
}

test('of a put whose connection breaks the outcome is called unknown, and the same put again succeeds', async () => {
  await using rclone = await startRclone()
  const data = randomBytes(2_000_000)
  const file = { kind: 'pack', name: createHash('sha256').update(data).digest('hex') } as const
  for (const bytes of [10_000, 1_000_000, 1_990_000]) {
    const place = `/after-${bytes}/`
    await using way = await breakingWay(Number(new URL(rclone.url).port), bytes)
    await using backend = openRestBackend(parseRestLocation(`rest:http://127.0.0.1:${way.port}${place}`))
    await backend.create()
    const failure = await failureOf(backend.put(file, data))
    assert.equal(failure.code, 'unavailable.network')
    assert.equal(failure.details['outcome'], 'unknown')
    assert.match(failure.message, /not known/)
    await backend.put(file, data)
    assert.deepEqual(await backend.get(file), data)
  }
})

test('what an earlier put has left of a file is replaced, and nothing else is', async () => {
  await using rclone = await startRclone()
  await using backend = openRestBackend(parseRestLocation(`rest:${rclone.url}/book/`))
  await backend.create()
  const data = randomBytes(50_000)
  const file = { kind: 'pack', name: createHash('sha256').update(data).digest('hex') } as const
  const url = `${rclone.url}/book/data/${file.name}`
  const leave = async (body: Buffer) =>
    assert.ok((await fetch(url, { method: 'POST', body: new Uint8Array(body) })).ok)
  await leave(data.subarray(0, 20_000))
  await backend.put(file, data)
  assert.deepEqual(await backend.get(file), data)
  await leave(randomBytes(20_000))
  assert.equal((await failureOf(backend.put(file, data))).code, 'exists')
})
