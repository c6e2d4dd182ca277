// A shell over a real OpenSSH: bytes, ends, failures by their names.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isFailure, type FailureCode, type VmlError } from '../base/failure.ts'
import { trustHostKey } from './host-key.ts'
import type { Shell } from './shell.ts'
import type { SshAddress, SshOptions } from './ssh-client.ts'
import { commandOf, isRunning } from './processes.fixture.ts'
import { openSshShell } from './ssh.ts'
import { startSshd, type TestSshd } from './sshd.fixture.ts'

let sshd: TestSshd
let shell: Shell
let runtimeFolder = ''
before(async () => {
  sshd = await startSshd()
  runtimeFolder = mkdtempSync(join(tmpdir(), 'ssh-'))
  shell = await open()
})
after(async () => {
  await shell[Symbol.asyncDispose]()
  // Nothing is left behind by any test above.
  assert.deepEqual(readdirSync(runtimeFolder), [])
  rmSync(runtimeFolder, { recursive: true })
  await sshd[Symbol.asyncDispose]()
})

function open(
  change: { address?: Partial<SshAddress>; options?: SshOptions; signal?: AbortSignal } = {},
): Promise<Shell> {
  return openSshShell({
    address: { user: 'root', host: '127.0.0.1', port: sshd.port, ...change.address },
    options: {
      identityFile: sshd.identityFile,
      knownHostsFile: sshd.knownHostsFile,
      configFile: '/dev/null',
      runtimeFolder,
      ...change.options,
    },
    ...(change.signal ? { signal: change.signal } : {}),
  })
}

async function failureOf(promise: Promise<unknown>, code: FailureCode): Promise<VmlError> {
  let found: VmlError | undefined
  await assert.rejects(promise, (error) => {
    if (!isFailure(error, code)) return false
    found = error
    return true
  })
  return found ?? assert.fail()
}

const allBytes = Array.from({ length: 255 }, (_, index) => String.fromCharCode(index + 1)).join('')

test('every byte of every argument reaches the program, and statuses come back as they are', async () => {
  const words = [allBytes, '', "it's", '\n', '!x']
  const { stdout } = await shell.run({ argv: ['printf', '%s\\0', ...words] })
  assert.deepEqual(stdout.toString('latin1').split('\0').slice(0, -1), words)
  const statusOf = async (...argv: string[]) => (await shell.run({ argv })).status
  assert.equal(await statusOf('sh', '-c', 'exit 255'), 255)
  assert.equal(await statusOf('sh', '-c', 'kill -9 $$'), 137)
  assert.equal(await statusOf('no such program'), 127)
})

test('programs at the same time, more than sshd allows sessions, share one connection', async () => {
  const runs = Array.from({ length: 20 }, (_, index) => shell.run({ argv: ['echo', String(index)] }))
  // What start-up files of the account's shell do at the same time may say something on the other stream.
  const outputs = (await Promise.all(runs)).map(({ stdout }) => stdout.toString())
  assert.deepEqual(
    outputs,
    Array.from({ length: 20 }, (_, index) => `${index}\n`),
  )
  assert.equal(sshd.log().match(/Accepted publickey/g)?.length, 1)
})

test('64 MiB pass both ways unchanged', async () => {
  const block = randomBytes(1024 * 1024)
  const sent = createHash('sha256')
  for (let index = 0; index < 64; index++) sent.update(block)
  const received = createHash('sha256')
  await using running = await shell.start({ argv: ['cat'], stdin: times(64, block) })
  for await (const chunk of running.stdout) received.update(chunk)
  assert.deepEqual(await running.outcome, { status: 0, stderr: Buffer.alloc(0) })
  assert.equal(received.digest('hex'), sent.digest('hex'))
})

test('a program that stops reading early is no failure', async () => {
  const { status, stdout } = await shell.run({
    argv: ['head', '-c', '3'],
    stdin: times(32, Buffer.alloc(1024 * 1024)),
  })
  assert.deepEqual([status, stdout.length], [0, 3])
})

test('cancelling ends the program on the machine, with its children', async () => {
  const stop = new AbortController()
  const running = await shell.start({
    argv: ['sh', '-c', 'sleep 1000 & echo $!; exec yes'],
    signal: stop.signal,
  })
  let pid = 0
  await failureOf(
    (async () => {
      for await (const chunk of running.stdout) {
        pid ||= Number(chunk.toString().split('\n')[0])
        stop.abort()
      }
    })(),
    'cancelled',
  )
  await failureOf(running.outcome, 'cancelled')
  while (isRunning(pid)) await sleep(10)
})

test('silence beyond the limit is a failure, and the program ends', async () => {
  const word = `1${randomBytes(4).readUInt32LE()}`
  await failureOf(shell.run({ argv: ['sleep', word], idleTimeoutMs: 1500 }), 'unavailable.timeout')
  while (readdirSync('/proc').some((pid) => commandOf(pid) === `sleep\0${word}\0`)) await sleep(10)
})

test('hostile output: too much, one endless line, escapes', async () => {
  await failureOf(shell.run({ argv: ['yes'], outputBytesMax: 100_000 }), 'remote.protocol')
  const { stdout } = await shell.run({ argv: ['sh', '-c', 'head -c 1000000 /dev/zero'] })
  assert.equal(stdout.length, 1_000_000)
  const { stderr } = await shell.run({ argv: ['sh', '-c', 'printf "\\033[2Jx" >&2'] })
  assert.equal(stderr.toString(), '\x1b[2Jx')
})

test('what the start-up files of the login shell print is not taken for output', async () => {
  await using server = await startSshd([
    'PermitUserRC no',
    'ForceCommand echo noise; echo more >&2; eval "$SSH_ORIGINAL_COMMAND"',
  ])
  await using noisy = await open({ address: { port: server.port }, options: optionsOf(server) })
  const { stdout, status } = await noisy.run({ argv: ['echo', 'said'] })
  assert.deepEqual([stdout.toString(), status], ['said\n', 0])
})

test('a login shell that runs nothing is a refusal, with escapes made harmless', async () => {
  await using server = await startSshd(['ForceCommand printf "\\033[31mclosed today\\n" >&2; exit 1'])
  const failure = await failureOf(
    open({ address: { port: server.port }, options: optionsOf(server) }),
    'remote.denied',
  )
  assert.equal(failure.details['reason'], 'login-shell')
  assert.match(failure.message, /\\x1b\[31mclosed today/)
  assert.ok(!failure.message.includes('\x1b'))
})

test('a killed session is a lost connection, its output does not look complete, and the next program connects again', async () => {
  await using own = await open()
  const running = await own.start({ argv: ['sh', '-c', 'echo up; exec sleep 60'] })
  await failureOf(
    (async () => {
      for await (const _ of running.stdout) process.kill(lastConnection(), 'SIGKILL')
    })(),
    'unavailable.network',
  )
  await failureOf(running.outcome, 'unavailable.network')
  assert.equal((await own.run({ argv: ['echo', 'again'] })).stdout.toString(), 'again\n')
})

/** The process of sshd that holds the connection made last. */
function lastConnection(): number {
  // By time: numbers of processes begin anew when they have run out.
  const sorted = ['-o', 'pid=', '--sort=start_time', '--ppid', String(sshd.pid)]
  const children = execFileSync('ps', sorted).toString()
  return Number(children.trim().split(/\s+/).at(-1) ?? assert.fail())
}

test('a refused key, no one listening, an unknown name and a silent port are told apart', async () => {
  const stranger = await failureOf(
    open({ options: { identityFile: join(sshd.folder, 'stranger') } }),
    'remote.denied',
  )
  assert.equal(stranger.details['reason'], 'authentication')
  assert.ok(stranger.hint)
  await failureOf(open({ address: { port: 1 } }), 'unavailable.network')
  await failureOf(open({ address: { host: 'no-such-host.invalid' } }), 'unavailable.network')
  const silent = createServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const address = silent.address()
  assert.ok(address !== null && typeof address === 'object')
  await failureOf(
    open({ address: { port: address.port }, options: { connectTimeoutS: 1 } }),
    'unavailable.timeout',
  )
  silent.close()
})

test('an unknown host key is shown, and trusted once it was accepted', async () => {
  const known = join(sshd.folder, 'fresh', 'known hosts 100%')
  const failure = await failureOf(open({ options: { knownHostsFile: known } }), 'remote.denied')
  const { reason, fingerprint, keyLine } = failure.details
  assert.equal(reason, 'host-key-unknown')
  const shown = execFileSync('ssh-keygen', ['-lf', join(sshd.folder, 'host.pub')])
    .toString()
    .split(' ')[1]
  assert.equal(fingerprint, shown)
  assert.equal(existsSync(known), false)
  const configFile = join(sshd.folder, 'of its own')
  writeFileSync(configFile, '')
  const configured = await failureOf(
    open({ options: { knownHostsFile: known, configFile } }),
    'remote.denied',
  )
  assert.ok(configured.hint?.includes(`ssh -F ${configFile} `))
  assert.ok(typeof keyLine === 'string')
  await trustHostKey(keyLine, known)
  assert.equal(statSync(known).mode & 0o777, 0o600)
  await using own = await open({ options: { knownHostsFile: known } })
  assert.equal((await own.run({ argv: ['true'] })).status, 0)
})

test('a key is added on a line of its own, and what is no key is refused', async () => {
  const file = join(sshd.folder, 'unended')
  const line = readFileSync(sshd.knownHostsFile, 'utf8').trim().split(' ').slice(0, 3).join(' ')
  writeFileSync(file, '# a comment')
  await trustHostKey(line, file)
  assert.equal(readFileSync(file, 'utf8'), `# a comment\n${line}\n`)
  for (const wrong of ['', 'x', `${line}\n${line}`, `${line} \x1b[0m`, `@cert-authority ${line}`])
    await failureOf(trustHostKey(wrong, file), 'usage')
})

test('a changed host key is refused under its own name, and no key is offered for it', async () => {
  await using server = await startSshd()
  await server.changeHostKey()
  const failure = await failureOf(
    open({ address: { port: server.port }, options: optionsOf(server) }),
    'remote.denied',
  )
  assert.equal(failure.details['reason'], 'host-key-changed')
  assert.equal(failure.details['keyLine'], undefined)
})

test("the user's own configuration holds, jump hosts included", async () => {
  const config = join(sshd.folder, 'client-config')
  const own = `IdentityFile ${sshd.identityFile}\n UserKnownHostsFile ${sshd.knownHostsFile}\n User root\n HostName 127.0.0.1\n Port ${sshd.port}\n`
  writeFileSync(
    config,
    `Host jump\n ${own}Host lab\n ${own} ProxyCommand ssh -F ${config} -W %h:%p jump\n LogLevel QUIET\n`,
  )
  await using through = await openSshShell({
    address: { host: 'lab' },
    options: { configFile: config, runtimeFolder },
  })
  assert.equal((await through.run({ argv: ['echo', 'there'] })).stdout.toString(), 'there\n')
})

test('a process that dies leaves no connection behind', async () => {
  const script = `import { openSshShell } from ${JSON.stringify(new URL('ssh.ts', import.meta.url).href)}
    await openSshShell(${JSON.stringify({
      address: { user: 'root', host: '127.0.0.1', port: sshd.port },
      options: {
        identityFile: sshd.identityFile,
        knownHostsFile: sshd.knownHostsFile,
        configFile: '/dev/null',
        runtimeFolder: sshd.folder,
      },
    })})
    process.kill(process.pid, 'SIGKILL')`
  assert.throws(() => execFileSync(process.execPath, ['--input-type=module-typescript', '-e', script]))
  const isLeft = () => readdirSync('/proc').some((pid) => commandOf(pid).includes(`-S\0${sshd.folder}/vml-`))
  while (isLeft()) await sleep(20)
})

test('cancelling while connecting ends it', async () => {
  const stop = new AbortController()
  const silent = createServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  silent.once('connection', () => stop.abort())
  const address = silent.address()
  assert.ok(address !== null && typeof address === 'object')
  await failureOf(open({ address: { port: address.port }, signal: stop.signal }), 'cancelled')
  silent.close()
})

function optionsOf(server: TestSshd): SshOptions {
  return { identityFile: server.identityFile, knownHostsFile: server.knownHostsFile }
}

function* times(count: number, block: Buffer) {
  for (let index = 0; index < count; index++) yield block
}
