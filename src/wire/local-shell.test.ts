// The shell of this host: bytes, streams, ends.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import * as fc from 'fast-check'
import { VmlError, isFailure } from '../base/failure.ts'
import { stderrBytesMax } from './child-process.ts'
import { openLocalShell } from './local-shell.ts'
import { isRunning } from './processes.fixture.ts'

const shell = openLocalShell()
const allBytes = Array.from({ length: 255 }, (_, index) => String.fromCharCode(index + 1)).join('')

test('every byte of every argument reaches the program', async () => {
  const words = [
    allBytes,
    '',
    '\n',
    ' ',
    "'",
    '!x',
    '-n',
    '$HOME',
    '\\',
    '%s',
    '\\047',
    'a\n\n',
    '\xe9',
    '~',
    '*',
  ]
  const { stdout, status } = await shell.run({ argv: ['printf', '%s\\0', ...words] })
  assert.equal(status, 0)
  assert.deepEqual(stdout.toString('latin1').split('\0').slice(0, -1), words)
})

test('any list of arguments reaches the program (property)', async () => {
  const word = fc
    .array(fc.integer({ min: 1, max: 255 }), { maxLength: 20 })
    .map((b) => String.fromCharCode(...b))
  await fc.assert(
    fc.asyncProperty(fc.array(word, { minLength: 1, maxLength: 5 }), async (words) => {
      const { stdout } = await shell.run({ argv: ['printf', '%s\\0', ...words] })
      assert.equal(stdout.toString('latin1'), words.map((each) => `${each}\0`).join(''))
    }),
    { numRuns: 40 },
  )
})

test('a builtin of the shell is not taken for a program, and a missing program ends with 127', async () => {
  assert.equal((await shell.run({ argv: ['export'] })).status, 127)
  assert.equal((await shell.run({ argv: ['no such program'] })).status, 127)
})

test('a word with NUL, and a program that looks like an option, are refused', async () => {
  await assert.rejects(shell.run({ argv: ['printf', 'a\0b'] }), TypeError)
  await assert.rejects(shell.run({ argv: ['-x'] }), TypeError)
  await assert.rejects(shell.run({ argv: ['echo', 'x'.repeat(200_000)] }), RangeError)
})

test('64 MiB pass both ways unchanged', async () => {
  const block = randomBytes(1024 * 1024)
  async function* input() {
    for (let index = 0; index < 64; index++) yield block
  }
  const sent = createHash('sha256')
  for (let index = 0; index < 64; index++) sent.update(block)
  const received = createHash('sha256')
  await using running = await shell.start({ argv: ['cat'], stdin: input() })
  for await (const chunk of running.stdout) received.update(chunk)
  assert.equal((await running.outcome).status, 0)
  assert.equal(received.digest('hex'), sent.digest('hex'))
})

test('a program that stops reading its input early is no failure', async () => {
  const { status, stdout } = await shell.run({ argv: ['head', '-c', '3'], stdin: zeros() })
  assert.equal(status, 0)
  assert.equal(stdout.length, 3)
})

test('an input that fails ends the program and is the failure', async () => {
  await assert.rejects(shell.run({ argv: ['cat'], stdin: failing() }), (error) =>
    isFailure(error, 'integrity.hash'),
  )
})

test('a status and a death by signal are told apart from success', async () => {
  assert.equal((await shell.run({ argv: ['sh', '-c', 'exit 255'] })).status, 255)
  assert.equal((await shell.run({ argv: ['sh', '-c', 'kill -9 $$'] })).status, 137)
})

test('cancelling ends the program and its children', async () => {
  const stop = new AbortController()
  const running = await shell.start({
    argv: ['sh', '-c', 'sleep 1000 & echo $!; wait'],
    signal: stop.signal,
  })
  let pid = 0
  await assert.rejects(
    async () => {
      for await (const chunk of running.stdout) {
        pid = Number(chunk.toString())
        assert.ok(isRunning(pid))
        stop.abort()
      }
    },
    (error) => isFailure(error, 'cancelled'),
  )
  await assert.rejects(running.outcome, (error) => isFailure(error, 'cancelled'))
  await ended(pid)
})

test('what is cancelled already is not started', async () => {
  await assert.rejects(shell.run({ argv: ['true'], signal: AbortSignal.abort() }), (error) =>
    isFailure(error, 'cancelled'),
  )
})

test('a program that is let go before its end does not go on', async () => {
  let pid = 0
  {
    await using running = await shell.start({ argv: ['sh', '-c', 'echo $$; exec yes'] })
    for await (const chunk of running.stdout) {
      pid = Number(chunk.toString().split('\n')[0])
      break
    }
  }
  await ended(pid)
})

test('silence beyond the limit is a failure, and our own slowness is not', async () => {
  await assert.rejects(shell.run({ argv: ['sleep', '1000'], idleTimeoutMs: 100 }), (error) =>
    isFailure(error, 'unavailable.timeout'),
  )
  const { stdout } = await shell.run({ argv: ['cat'], stdin: slow(), idleTimeoutMs: 2000 })
  assert.equal(stdout.toString(), 'late')
})

test('standard error is kept from its end, and too much output is refused', async () => {
  const { stderr } = await shell.run({ argv: ['sh', '-c', 'yes | head -c 1000000 >&2; printf end >&2'] })
  assert.equal(stderr.length, stderrBytesMax)
  assert.ok(stderr.toString().endsWith('end'))
  await assert.rejects(shell.run({ argv: ['yes'], outputBytesMax: 1000 }), (error) =>
    isFailure(error, 'remote.protocol'),
  )
})

test('programs run in the C locale', async () => {
  assert.equal((await shell.run({ argv: ['sh', '-c', 'printf %s "$LC_ALL"'] })).stdout.toString(), 'C')
})

function* zeros() {
  for (let index = 0; index < 64; index++) yield Buffer.alloc(1024 * 1024)
}

async function* failing() {
  yield Buffer.from('x')
  throw new VmlError('integrity.hash', 'Cannot read a blob')
}

async function* slow() {
  await sleep(2500)
  yield Buffer.from('late')
}

async function ended(pid: number): Promise<void> {
  while (isRunning(pid)) await sleep(10)
}

test('what catches the signal to end, and holds no pipe of ours, is ended too', async () => {
  const script = `(trap '' TERM; exec >/dev/null 2>&1; while :; do sleep 1; done) & echo $!; sleep 60`
  const pids: string[] = []
  {
    await using process = await shell.start({ argv: ['sh', '-c', script] })
    for await (const chunk of process.stdout) {
      pids.push(chunk.toString().trim())
      break
    }
  }
  await ended(Number(pids[0]))
})
