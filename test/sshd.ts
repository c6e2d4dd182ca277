// A private ssh server on this host's loopback, for tests of what goes over ssh that need no guest: `await using sshd = await startSshd()`.
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { runOverSsh, type CommandOptions, type CommandResult } from './guests.ts'
import { runProgram, writeSshFiles } from './guest-machine.ts'

/** Logs in as the user that runs the tests, and only as that one. It is gone when disposed of, and when this process is. */
export interface Sshd extends AsyncDisposable {
  readonly host: '127.0.0.1'
  readonly port: number
  readonly user: string
  readonly keyFile: string
  readonly knownHostsFile: string
  /** For `ssh -F FILE user@127.0.0.1`: port, key, known hosts, no questions. */
  readonly sshConfigFile: string
  readonly sshArgs: readonly string[]
  readonly pid: number
  run(command: string, options?: CommandOptions): Promise<CommandResult>
}

export interface SshdOptions {
  /** Further lines of sshd_config, such as `MaxSessions 1`. */
  readonly config?: readonly string[]
}

// A port that was free a moment ago may be taken by the next program: then another one.
const portsTriedMax = 20

export async function startSshd(options: SshdOptions = {}): Promise<Sshd> {
  await using resources = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'vml-sshd-'))
  resources.defer(async () => await rm(folder, { recursive: true, force: true }))
  const keyFile = join(folder, 'id')
  const hostKeyFile = join(folder, 'host')
  await Promise.all([keyFile, hostKeyFile].map(makeKey))
  const { port, pid, stop } = await listenSomewhere(folder, hostKeyFile, keyFile, options.config ?? [])
  resources.defer(stop)
  const hostKey = (await readFile(`${hostKeyFile}.pub`, 'utf8')).trim()
  const { sshConfigFile, knownHostsFile } = await writeSshFiles({ folder, port, keyFile, hostKey })
  const user = userInfo().username
  const owned = resources.move()
  return {
    host: '127.0.0.1',
    port,
    user,
    keyFile,
    knownHostsFile,
    sshConfigFile,
    sshArgs: ['-F', sshConfigFile],
    pid,
    run: async (command, commandOptions = {}) =>
      await runOverSsh(['-F', sshConfigFile, `${user}@127.0.0.1`, command], commandOptions),
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}

async function makeKey(file: string): Promise<void> {
  await runProgram('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', file])
}

interface Listening {
  readonly port: number
  readonly pid: number
  readonly stop: () => Promise<void>
}

async function listenSomewhere(
  folder: string,
  hostKeyFile: string,
  keyFile: string,
  extra: readonly string[],
): Promise<Listening> {
  for (let tries = 1; ; tries++) {
    const port = await freePort()
    const config = join(folder, 'sshd_config')
    await writeFile(
      config,
      [
        // The first value that sshd reads for a word counts: what a test asks for comes first.
        ...extra,
        `Port ${port}`,
        'ListenAddress 127.0.0.1',
        `HostKey ${hostKeyFile}`,
        `AuthorizedKeysFile ${keyFile}.pub`,
        `PidFile ${join(folder, 'pid')}`,
        'UsePAM no',
        'UseDNS no',
        'StrictModes no',
        'PasswordAuthentication no',
        'KbdInteractiveAuthentication no',
        'PermitRootLogin yes',
        'MaxStartups 100',
        'LogLevel ERROR',
        '',
      ].join('\n'),
    )
    const listening = await listen(config, port)
    if (typeof listening !== 'string') return listening
    if (tries === portsTriedMax) throw new Error(`sshd did not start: ${listening}`)
  }
}

/** Starts sshd and waits until it answers; gives its complaint where it ended instead. */
async function listen(config: string, port: number): Promise<Listening | string> {
  // It insists on a full path, and started as root on its folder for privilege separation.
  if (process.getuid?.() === 0) await runProgram('mkdir', ['-p', '/run/sshd'])
  const child = spawn('setpriv', ['--pdeathsig', 'SIGTERM', '/usr/sbin/sshd', '-D', '-e', '-f', config], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let complaint = ''
  child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()))
  const gone = Promise.withResolvers<'gone'>()
  child.on('error', (error) => (complaint += error.message)).on('close', () => gone.resolve('gone'))
  const stop = async () => {
    child.kill('SIGTERM')
    await gone.promise
  }
  for (let tries = 0; ; tries++) {
    const scan = runProgram('ssh-keyscan', ['-T', '5', '-t', 'ed25519', '-p', String(port), '127.0.0.1'])
    const first = await Promise.race([gone.promise, scan.catch(() => '')])
    if (first === 'gone') return complaint
    if (first !== '') return { port, pid: child.pid ?? 0, stop }
    if (tries === 100) {
      await stop()
      return 'it does not answer'
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  const listening = Promise.withResolvers<undefined>()
  server.on('error', listening.reject).listen(0, '127.0.0.1', () => listening.resolve(undefined))
  await listening.promise
  const address = server.address()
  const closed = Promise.withResolvers<undefined>()
  server.close(() => closed.resolve(undefined))
  await closed.promise
  if (address === null || typeof address === 'string') throw new Error('A port of 127.0.0.1 has no number')
  return address.port
}
