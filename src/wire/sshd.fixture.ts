// A private sshd on the loopback for tests, with keys of its own. Needs root, as sshd does.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync, copyFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface TestSshd extends AsyncDisposable {
  readonly port: number
  readonly folder: string
  readonly identityFile: string
  readonly knownHostsFile: string
  readonly pid: number
  log(): string
  /** Gives the server a new host key, as a machine made anew has. */
  changeHostKey(): Promise<void>
}

export async function startSshd(extra: readonly string[] = []): Promise<TestSshd> {
  const folder = mkdtempSync(join(tmpdir(), 'sshd-'))
  const at = (name: string) => join(folder, name)
  const port = await freePort()
  makeKey(at('host'))
  makeKey(at('client'))
  makeKey(at('stranger'))
  copyFileSync(at('client.pub'), at('authorized'))
  writeFileSync(at('known'), `[127.0.0.1]:${port} ${readFileSync(at('host.pub'), 'utf8')}`)
  mkdirSync('/run/sshd', { recursive: true })
  const lines = [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${at('host')}`,
    `AuthorizedKeysFile ${at('authorized')}`,
    'StrictModes no',
    'UsePAM no',
    'PasswordAuthentication no',
    'PermitRootLogin yes',
    `PidFile ${at('pid')}`,
    'LogLevel VERBOSE',
    ...extra,
  ]
  writeFileSync(at('config'), `${lines.join('\n')}\n`)
  let server = await run()
  async function run() {
    const child = spawn('/usr/sbin/sshd', ['-D', '-f', at('config'), '-E', at('log')], { stdio: 'ignore' })
    while (!/Server listening/.test(read(at('log')))) {
      if (child.exitCode !== null) throw new Error(`sshd ended: ${read(at('log'))}`)
      await sleep(20)
    }
    return child
  }
  async function stop() {
    server.kill('SIGTERM')
    if (server.exitCode === null) await once(server, 'exit')
  }
  return {
    port,
    folder,
    identityFile: at('client'),
    knownHostsFile: at('known'),
    pid: server.pid ?? 0,
    log: () => read(at('log')),
    async changeHostKey() {
      await stop()
      rmSync(at('host'))
      rmSync(at('log'))
      makeKey(at('host'))
      server = await run()
    },
    async [Symbol.asyncDispose]() {
      await stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** In place of one that is there: asked about it, ssh-keygen may end before it has read an answer. */
function makeKey(path: string): void {
  rmSync(path, { force: true })
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', path], { stdio: 'ignore' })
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
