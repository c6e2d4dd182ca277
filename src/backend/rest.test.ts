import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { testBackend } from '../../test/conformance/backend.ts'
import { startRclone } from '../../test/rclone.ts'
import { isFailure } from '../base/failure.ts'
import { openRestBackend, parseRestLocation } from './rest.ts'

// The time that tells whose config it is; two puts of one thread are never that far apart.
const settleMs = 100

testBackend(
  'rest',
  async () => {
    const rclone = await startRclone()
    const address = `rest:${rclone.url}/logbook/`
    return {
      address,
      open: () => openRestBackend(parseRestLocation(address), { settleMs }),
      [Symbol.asyncDispose]: async () => await rclone[Symbol.asyncDispose](),
    }
  },
  { reachable: true, noticesMs: 10_000 },
)

test('user and password of a location, or of the environment, are used and never shown', async () => {
  await using rclone = await startRclone({ credentials: { user: 'lab', password: 'p@ss/word' } })
  const config = { kind: 'config', name: '' } as const
  const address = rclone.url.replace('http://', '')
  const inUrl = openRestBackend(parseRestLocation(`rest:http://lab:p%40ss%2Fword@${address}/`))
  await inUrl.create()
  assert.equal(await inUrl.size(config), undefined)
  assert.equal(inUrl.location, `rest:http://${address}/`)
  const fromEnvironment = openRestBackend(parseRestLocation(`rest:http://${address}/`), {
    environment: { RESTIC_REST_USERNAME: 'lab', RESTIC_REST_PASSWORD: 'p@ss/word' },
  })
  assert.equal(await fromEnvironment.size(config), undefined)
  const refused = openRestBackend(parseRestLocation(`rest:http://lab:wrongone@${address}/`))
  await assert.rejects(refused.size(config), (error: Error) => {
    assert.ok(isFailure(error, 'remote.denied'))
    return !/wrongone|lab:/.test(JSON.stringify([error.message, error.details, error.hint]))
  })
})

test('a location is a URL of http or https; a wrong one is not repeated, since it may hold a password', () => {
  const hrefs = ['rest:http://h/a', 'rest:https://h:8000/a/', 'rest:http://[::1]:80'].map(
    (text) => parseRestLocation(text).url.href,
  )
  assert.deepEqual(hrefs, ['http://h/a/', 'https://h:8000/a/', 'http://[::1]/'])
  for (const text of [
    'rest:',
    'rest:host/path',
    'rest:ftp://u:secret@h/',
    'rest:http://u:secret@h/?a',
    'rest:http://u:%zzsecret@h/',
  ]) {
    assert.throws(
      () => parseRestLocation(text),
      (error: Error) => isFailure(error, 'usage') && !/secret/.test(error.message),
    )
  }
})

test('what a server that mistakes trouble for absence says is not believed', async () => {
  // rclone before 1.66, whose storage cannot be reached: every answer is 404. A newer one says 500 then.
  for (const [version, size] of [
    ['rclone/v1.60.1', 'unavailable.network'],
    ['rclone/v1.66.0', undefined],
  ] as const) {
    const server = createServer((_, answer) => answer.writeHead(404, { server: version }).end())
    await new Promise<undefined>((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
    const address = server.address()
    assert.ok(typeof address === 'object' && address !== null)
    await using backend = openRestBackend(parseRestLocation(`rest:http://127.0.0.1:${address.port}/`))
    const file = { kind: 'pack', name: 'ab'.repeat(32) } as const
    const told = async (call: Promise<unknown>) =>
      await call.catch((error: unknown) => (isFailure(error) ? error.code : assert.fail(String(error))))
    assert.equal(await told(backend.size(file)), size)
    assert.equal(await told(backend.get(file)), size ?? 'not-found')
    assert.equal(await told(Array.fromAsync(backend.list('pack'))), 'unavailable.network')
    server.closeAllConnections()
    server.close()
  }
})

test('a server of version 1 of the protocol, which lists names alone, is asked for the sizes', async () => {
  const names = ['ab'.repeat(32), 'cd'.repeat(32)]
  const server = createServer((request, answer) => {
    if (request.method === 'HEAD') answer.writeHead(200, { 'content-length': 7 }).end()
    else answer.end(JSON.stringify([...names, 'notes.txt']))
  })
  await new Promise<undefined>((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  await using backend = openRestBackend(parseRestLocation(`rest:http://127.0.0.1:${address.port}/`))
  assert.deepEqual(
    await Array.fromAsync(backend.list('lock')),
    names.map((name) => ({ name, size: 7 })),
  )
  server.closeAllConnections()
  server.close()
})
