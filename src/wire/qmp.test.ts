import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { systemClock } from '../base/clock.ts'
import { isFailure } from '../base/failure.ts'
import { connectQmp, type QmpClient, type QmpEvent } from './qmp.ts'

const folder = await mkdtemp(join(tmpdir(), 'vml-qmp-'))
after(() => rm(folder, { recursive: true }))

const greeting =
  '{"QMP":{"version":{"qemu":{"micro":22,"minor":2,"major":7},"package":""},"capabilities":["oob"]}}\n'
let count = 0

/** A peer that answers the negotiation as QEMU does and hands every other line to `answer`. */
async function peer(answer: (line: string, socket: Socket) => void) {
  const path = join(folder, `${++count}.sock`)
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.write(greeting)
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      const lines = text.split('\n')
      text = lines.pop() ?? ''
      for (const line of lines) {
        if (line.includes('qmp_capabilities')) socket.write(`{"return":{},"id":1}\n`)
        else answer(line, socket)
      }
    })
  })
  const listening = Promise.withResolvers<undefined>()
  server.listen(path, () => listening.resolve(undefined))
  await listening.promise
  server.unref()
  return path
}

/** The socket has its name a moment before anybody listens there. */
async function connectOnceItListens(path: string, qemu: ChildProcess): Promise<QmpClient> {
  for (;;) {
    try {
      return await connectQmp(path)
    } catch (error) {
      if (!isFailure(error, 'unavailable.network') || qemu.exitCode !== null) throw error
      await systemClock.sleep(20)
    }
  }
}

test('a real QEMU answers commands, refuses wrong ones by name and tells events until it quits', async () => {
  // Longer than the address of a unix socket may be.
  const deep = await mkdtemp(join(folder, `${'x'.repeat(120)}-`))
  const args = ['-machine', 'none', '-nodefaults', '-display', 'none', '-S']
  const qemu = spawn('qemu-system-x86_64', [...args, '-qmp', 'unix:qmp,server=on'], {
    cwd: deep,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  after(() => qemu.kill())
  await using client = await connectOnceItListens(join(deep, 'qmp'), qemu)
  assert.match(client.version, /^\d+\.\d+\.\d+$/)
  assert.deepEqual(await client.execute('query-name'), {})
  await assert.rejects(client.execute('no-such-command'), (error) => isFailure(error, 'remote.command'))
  await assert.rejects(client.execute('device_del', { id: 'ghost' }), /ghost/)
  const events = client.events()
  await client.execute('quit')
  const names: string[] = []
  for await (const event of events) names.push(event.name)
  assert.ok(names.includes('SHUTDOWN'))
  await assert.rejects(client.execute('query-name'), (error) => isFailure(error, 'unavailable.network'))
  const ended = Promise.withResolvers<number | null>()
  if (qemu.exitCode === null) qemu.on('exit', ended.resolve)
  else ended.resolve(qemu.exitCode)
  assert.equal(await ended.promise, 0)
})

test('answers find their command whatever their order, and a line may come in pieces', async () => {
  const held: string[] = []
  const path = await peer((line, socket) => {
    const match = /"id":(\d+)/.exec(line)
    held.push(`{"return":{"echo":${match?.[1]}},"id":${match?.[1]}}\n`)
    if (held.length < 3) return
    const text = held.toReversed().join('')
    socket.write(text.slice(0, 10))
    setImmediate(() => socket.write(text.slice(10)))
  })
  await using client = await connectQmp(path)
  const all = await Promise.all(['a', 'b', 'c'].map((command) => client.execute(command)))
  assert.deepEqual(all, [{ echo: 2 }, { echo: 3 }, { echo: 4 }])
})

test('a command without an answer ends by its time limit or its signal', async () => {
  const path = await peer(() => {})
  await using client = await connectQmp(path)
  const late = client.execute('a', {}, { timeoutMs: 20 })
  await assert.rejects(late, (error) => isFailure(error, 'unavailable.timeout'))
  const stop = new AbortController()
  const stopped = client.execute('b', {}, { signal: stop.signal })
  stop.abort(new Error('enough'))
  await assert.rejects(stopped, /enough/)
})

test('a peer that hangs up fails what is under way and ends the events', async () => {
  const path = await peer((_, socket) => socket.destroy())
  await using client = await connectQmp(path)
  const events = client.events()
  await assert.rejects(client.execute('a'), (error) => isFailure(error, 'unavailable.network'))
  const none: QmpEvent[] = []
  for await (const event of events) none.push(event)
  assert.deepEqual(none, [])
})

const nonsense: readonly [string, string][] = [
  ['a line that is no JSON', 'hello\u001b[2J\n'],
  ['a line that is no object', '[1]\n'],
  ['a line without end', 'x'.repeat(17 * 1024 * 1024)],
]
for (const [name, text] of nonsense) {
  test(`${name} is a breach of protocol, and nothing of it is printed raw`, async () => {
    const path = await peer((_, socket) => socket.write(text))
    await using client = await connectQmp(path)
    await assert.rejects(
      client.execute('a'),
      (error) => isFailure(error, 'remote.protocol') && !/\p{Cc}/u.test(error.message),
    )
  })
}

test('a socket that nobody listens on cannot be reached', async () => {
  const failed = connectQmp(join(folder, 'none'))
  await assert.rejects(failed, (error) => isFailure(error, 'unavailable.network'))
})
