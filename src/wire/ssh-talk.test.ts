// Programs that share a session of a real OpenSSH: bytes, ends and failures are what they are in a session each.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isFailure, type FailureCode } from '../base/failure.ts'
import { stderrBytesMax } from './child-process.ts'
import type { Shell, ShellRequest } from './shell.ts'
import { commandOf, isRunning } from './processes.fixture.ts'
import { openSshShell } from './ssh.ts'
import { startSshd, type TestSshd } from './sshd.fixture.ts'

const resources = new AsyncDisposableStack()
let sshd: TestSshd
before(async () => void (sshd = resources.use(await startSshd())))
after(async () => await resources.disposeAsync())

const open = (server: TestSshd): Promise<Shell> =>
  openSshShell({
    address: { user: 'root', host: '127.0.0.1', port: server.port },
    options: {
      identityFile: server.identityFile,
      knownHostsFile: server.knownHostsFile,
      configFile: '/dev/null',
      runtimeFolder: server.folder,
    },
  })

const whole = (argv: readonly string[], request: Omit<ShellRequest, 'argv'> = {}): ShellRequest => ({
  argv,
  endsWhole: true,
  ...request,
})

const countOf = (server: TestSshd, what: RegExp): number => server.log().match(what)?.length ?? 0
const sessions = /Starting session: command/g
const connections = /Accepted publickey/g

async function failsWith(promise: Promise<unknown>, code: FailureCode): Promise<void> {
  await assert.rejects(promise, (error) => isFailure(error, code))
}

/** Every byte but the two that end lines and words. */
const bytes = Buffer.from(
  Array.from({ length: 255 }, (_, index) => index + 1).filter((byte) => byte !== 0x0a),
)
const line = Buffer.from('\n')
const nul = Buffer.from([0])
const inputs: Readonly<Record<string, readonly Uint8Array[]>> = {
  nothing: [],
  lines: [bytes, line, line, bytes, line],
  words: [bytes, nul, nul, bytes, nul],
  'lines and words': [bytes, line, nul, bytes],
  'no end': [bytes],
  'conversions and escapes of printf': [Buffer.from('%s%d%%\\n\\045\'"`$(id)')],
  'more than is kept': Array.from({ length: 300 }, () => Buffer.concat([bytes, line])),
}

for (const userland of ['dash', 'bash', 'busybox']) {
  describe(`with ${userland} as the shell there`, () => {
    const folder = realpathSync(mkdtempSync(join(tmpdir(), 'vml-talk-')))
    const own = new AsyncDisposableStack()
    let shell: Shell
    let server: TestSshd
    before(async () => {
      const program = execFileSync('sh', ['-c', 'command -v "$1"', 'sh', userland]).toString().trim()
      symlinkSync(program, join(folder, 'sh'))
      server = own.use(await startSshd([`ForceCommand PATH=${folder}:$PATH; eval "$SSH_ORIGINAL_COMMAND"`]))
      shell = own.use(await open(server))
    })
    after(async () => {
      await own.disposeAsync()
      rmSync(folder, { recursive: true })
    })

    for (const [what, stdin] of Object.entries(inputs)) {
      test(`${what} as input reaches a program as it is, and nothing behind it`, async () => {
        const { status, stdout, stderr } = await shell.run(
          whole(['sh', '-c', 'cat; printf said >&2; exit 7'], { stdin }),
        )
        assert.ok(stdout.equals(Buffer.concat(stdin)))
        assert.deepEqual([status, stderr.toString()], [7, 'said'])
      })
    }

    test('every byte of every argument reaches the program, and statuses come back as they are', async () => {
      const words = [bytes.toString('latin1'), '', "it's", '\n']
      const { stdout } = await shell.run(whole(['printf', '%s\\0', ...words]))
      assert.deepEqual(stdout.toString('latin1').split('\0').slice(0, -1), words)
      const statusOf = async (...argv: string[]) => (await shell.run(whole(argv))).status
      assert.equal(await statusOf('sh', '-c', 'exit 255'), 255)
      assert.equal(await statusOf('sh', '-c', 'kill -9 $$'), 137)
      assert.equal(await statusOf('no such program'), 127)
    })

    test('a program sees nothing of what one before it did to its shell', async () => {
      await shell.run(whole(['sh', '-c', 'cd /; X=1; export X; umask 077; exec 5>&1; exit 3']))
      const { stdout } = await shell.run(
        whole(['sh', '-c', 'pwd; echo "$X"; umask; { echo x >&5; } 2>/dev/null || echo no']),
      )
      // sshd goes by the list of users, whatever HOME says here.
      assert.deepEqual(stdout.toString(), `${realpathSync(userInfo().homedir)}\n\n0022\nno\n`)
    })
  })
}

test('programs one after the other take one session, and one each only at the same time', async () => {
  await using shell = await open(sshd)
  const before = countOf(sshd, sessions)
  for (let index = 0; index < 5; index++) {
    const { stdout } = await shell.run(whole(['echo', String(index)]))
    assert.equal(stdout.toString(), `${index}\n`)
  }
  assert.equal(countOf(sshd, sessions) - before, 0)
  const runs = Array.from({ length: 20 }, (_, index) => shell.run(whole(['echo', String(index)])))
  const outputs = (await Promise.all(runs)).map(({ stdout }) => stdout.toString())
  assert.deepEqual(
    outputs,
    Array.from({ length: 20 }, (_, index) => `${index}\n`),
  )
  // Programs that may leave something behind keep to sessions of their own, beside the free ones.
  const apart = await Promise.all(Array.from({ length: 8 }, () => shell.run({ argv: ['echo', 'x'] })))
  assert.ok(apart.every(({ stdout }) => stdout.toString() === 'x\n'))
})

test('64 MiB of output pass unchanged, and of standard error its end is kept', async () => {
  await using shell = await open(sshd)
  const seed = randomBytes(1024)
  await using running = await shell.start(
    whole(
      [
        'sh',
        '-c',
        'a=$(cat); for i in $(seq 16384); do printf "%s" "$a"; done; head -c 1000000 /dev/zero >&2; echo end >&2',
      ],
      {
        stdin: [Buffer.from(`${seed.toString('hex')}${seed.toString('hex')}\n`)],
      },
    ),
  )
  const sent = createHash('sha256')
  for (let index = 0; index < 16384; index++) sent.update(`${seed.toString('hex')}${seed.toString('hex')}`)
  const received = createHash('sha256')
  for await (const chunk of running.stdout) received.update(chunk)
  const { status, stderr } = await running.outcome
  assert.equal(received.digest('hex'), sent.digest('hex'))
  assert.equal(status, 0)
  assert.ok(stderr.length <= stderrBytesMax && stderr.toString().endsWith('\0end\n'))
})

test('cancelling ends the program on the machine with its children, and the next program runs', async () => {
  await using shell = await open(sshd)
  const stop = new AbortController()
  const running = await shell.start(
    whole(['sh', '-c', 'sleep 1000 & echo $!; exec yes'], { signal: stop.signal }),
  )
  let pid = 0
  await failsWith(
    (async () => {
      for await (const chunk of running.stdout) {
        pid ||= Number(chunk.toString().split('\n')[0])
        stop.abort()
      }
    })(),
    'cancelled',
  )
  await failsWith(running.outcome, 'cancelled')
  while (isRunning(pid)) await sleep(10)
  await failsWith(shell.run(whole(['true'], { signal: stop.signal })), 'cancelled')
  assert.equal((await shell.run(whole(['echo', 'next']))).stdout.toString(), 'next\n')
})

test('silence beyond the limit is a failure of that program, which ends; before and after it nothing is limited', async () => {
  await using shell = await open(sshd)
  // Long enough for a busy computer to answer, and shorter than the pause after it.
  await shell.run(whole(['true'], { idleTimeoutMs: 3000 }))
  await sleep(3500)
  const word = `1${randomBytes(4).readUInt32LE()}`
  await failsWith(shell.run(whole(['sleep', word], { idleTimeoutMs: 500 })), 'unavailable.timeout')
  while (readdirSync('/proc').some((pid) => commandOf(pid) === `sleep\0${word}\0`)) await sleep(10)
  assert.equal((await shell.run(whole(['echo', 'next']))).stdout.toString(), 'next\n')
})

test('a program that is not read to its end is ended, and its output is not the next one’s', async () => {
  await using shell = await open(sshd)
  await failsWith(shell.run({ ...whole(['yes']), outputBytesMax: 100_000 }), 'remote.protocol')
  assert.equal((await shell.run(whole(['echo', 'next']))).stdout.toString(), 'next\n')
})

test('what a program leaves running with its streams does not get into later output', async () => {
  await using shell = await open(sshd)
  await shell.run(whole(['sh', '-c', '(sleep 0.3; echo late) & echo now']))
  await sleep(1000)
  const { status, stdout } = await shell.run(whole(['echo', 'next']))
  assert.deepEqual([status, stdout.toString()], [0, 'next\n'])
})

test('a lost connection is a failure, its output does not look complete, and the next program connects again', async () => {
  await using server = await startSshd()
  await using shell = await open(server)
  await shell.run(whole(['true']))
  const running = await shell.start(whole(['sh', '-c', 'echo up; exec sleep 60']))
  await failsWith(
    (async () => {
      for await (const _ of running.stdout) killConnections(server)
    })(),
    'unavailable.network',
  )
  await failsWith(running.outcome, 'unavailable.network')
  await shell.run(whole(['true']))
  killConnections(server)
  await sleep(300)
  // Between programs nobody notices.
  assert.equal((await shell.run(whole(['echo', 'again']))).stdout.toString(), 'again\n')
})

test('a shell that ends under its program does not look like an end of the program', async () => {
  await using shell = await open(sshd)
  await assert.rejects(shell.run(whole(['sh', '-c', 'kill -9 $PPID; sleep 1'])), (error) =>
    isFailure(error, 'remote.command', 'unavailable.network'),
  )
  assert.equal((await shell.run(whole(['echo', 'next']))).stdout.toString(), 'next\n')
})

for (const allowed of [1, 2]) {
  test(`a server that allows ${allowed} sessions on a connection serves, by connections of their own`, async () => {
    await using server = await startSshd([`MaxSessions ${allowed}`])
    await using shell = await open(server)
    for (let round = 0; round < 3; round++)
      assert.equal((await shell.run(whole(['echo', 'shared']))).stdout.toString(), 'shared\n')
    async function* later() {
      await sleep(50)
      yield Buffer.from('first ')
      yield Buffer.from('second')
    }
    const apart = await shell.run({ argv: ['cat'], stdin: later() })
    assert.equal(apart.stdout.toString(), 'first second')
    const both = await Promise.all(
      [1, 2, 3].map(() => shell.run(whole(['cat'], { stdin: [Buffer.from('x\n')] }))),
    )
    assert.deepEqual(
      both.map(({ status, stdout }) => [status, stdout.toString()]),
      Array.from({ length: 3 }, () => [0, 'x\n']),
    )
    assert.ok(countOf(server, connections) <= 6)
  })
}

function killConnections(server: TestSshd): void {
  const children = execFileSync('ps', ['-o', 'pid=', '--ppid', String(server.pid)]).toString()
  for (const pid of children.trim().split(/\s+/)) process.kill(Number(pid), 'SIGKILL')
}
