// A machine to make transactions on over ssh: a private Debian behind a real sshd, with nothing of ours in it, and a home here that knows it as "lab".
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Chroot, type ChrootOptions, openChroot } from './chroot.ts'
import {
  openTestHome,
  type RunOptions,
  type TestHome,
  vmlCommand,
  type VmlOutcome,
  vmlEnvironment,
} from './cli.ts'
import { type Sshd, startSshd } from './sshd.ts'
import { compareTrees, renderComparison } from './tree-compare.ts'
import { readTree } from './tree-read.ts'
import { regenerated } from './tree-rules.ts'

type Tree = ReturnType<typeof readTree>

export interface StartedVml {
  readonly pid: number
  /** With its own end: what it started may live on. */
  readonly ended: Promise<{ readonly status: number | null; readonly stderr: string }>
  kill(): void
}

export interface RemoteBed extends AsyncDisposable {
  readonly chroot: Chroot
  readonly home: TestHome
  /** VML of this working tree, on this host. */
  vml(args: readonly string[], options?: Omit<RunOptions, 'home'>): Promise<VmlOutcome>
  /** The same, which must end well. */
  well(...args: readonly string[]): Promise<VmlOutcome>
  start(...args: readonly string[]): StartedVml
  /** Number of the newest transaction of the machine. */
  last(): Promise<number>
  tree(): Tree
  /** What is not as it was then; empty where all is. */
  differences(from: Tree): string
  /** Nothing of VML but its empty folder is there. */
  nothingLeft(): Promise<void>
  /** Until a command has made the file `/run/at`, which goes with that. */
  untilAt(): Promise<void>
  /** For who starts it otherwise. */
  readonly environment: Readonly<Record<string, string>>
}

/** Words that make a transaction of a line of sh on the machine. */
export function runThere(line: string): string[] {
  return ['tx', 'run', '--on', 'lab', '--', 'sh', '-c', line]
}

const variables = {
  HOME: '/root',
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  SHELL: '/bin/sh',
  USER: 'root',
  LANG: 'C.UTF-8',
  TZ: 'UTC',
  DEBIAN_FRONTEND: 'noninteractive',
}

export interface RemoteBedOptions extends ChrootOptions {
  /** A user of the machine whose login it is, in place of root's. It must be there when the login is used first. */
  readonly login?: string
}

export async function openRemoteBed({ login, ...options }: RemoteBedOptions = {}): Promise<RemoteBed> {
  await using resources = new AsyncDisposableStack()
  const chroot = resources.use(await openChroot(options))
  const pid = /^\/proc\/(\d+)\/root$/.exec(chroot.path)?.[1] ?? ''
  const words = Object.entries(variables).map(([name, value]) => `${name}=${value}`)
  const entering = `nsenter --target=${pid} --mount --pid --uts --ipc --net --wdns=/ -- ${login === undefined ? '' : `setpriv --reuid=${login} --regid=${login} --init-groups `}env -i ${words.join(' ')} sh -c "$SSH_ORIGINAL_COMMAND"`
  // A machine that greets whoever comes is not misunderstood.
  const greeting = 'echo Welcome; echo Welcome >&2'
  const sshd: Sshd = resources.use(
    await startSshd({ config: [`ForceCommand ${greeting}; ${entering}`, 'MaxSessions 20'] }),
  )
  const home = resources.use(await openTestHome())
  const env = { VML_SSH_CONFIG: sshd.sshConfigFile }
  const vml: RemoteBed['vml'] = async (args, given = {}) =>
    await home.run(args, { ...given, env: { ...env, ...given.env } })
  const added = await vml(['machine', 'add', 'lab', `ssh://${sshd.user}@127.0.0.1:${sshd.port}`])
  if (added.status !== 0) throw new Error(added.stderr)
  const environment = vmlEnvironment({ home: home.home, env })
  const well: RemoteBed['well'] = async (...args) => {
    const outcome = await vml(args)
    assert.equal(outcome.status, 0, outcome.stderr)
    return outcome
  }
  const tree = () => readTree(chroot.path)
  const owned = resources.move()
  return {
    chroot,
    home,
    vml,
    well,
    start: (...args) => startVml(args, home, environment),
    async last() {
      const { stdout } = await well('tx', 'list', '--on', 'lab', '--json')
      const { transactions }: { transactions: readonly { number: number }[] } = JSON.parse(stdout)
      return transactions[0]?.number ?? 0
    },
    tree,
    differences: (from) => renderComparison(compareTrees(from, tree(), { allowed: regenerated })),
    async nothingLeft() {
      assert.equal((await chroot.sh('find /var/lib/vml -mindepth 1')).stdout, '/var/lib/vml/stage\n')
    },
    async untilAt() {
      const file = join(chroot.path, 'run/at')
      for (let turn = 0; !existsSync(file); turn++) {
        if (turn > turnsMax) throw new Error('The command did not come so far')
        await sleep(20)
      }
      rmSync(file)
    },
    environment,
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}

/** Two minutes at least. */
const turnsMax = 6000

function startVml(
  args: readonly string[],
  { home }: TestHome,
  environment: Readonly<Record<string, string>>,
): StartedVml {
  const [program = '', ...words] = vmlCommand
  const child = spawn(program, [...words, ...args], {
    cwd: home,
    env: environment,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let stderr = ''
  child.stderr.on('data', (part: Buffer) => (stderr += part.toString()))
  const ended = new Promise<{ status: number | null; stderr: string }>((resolve) =>
    child.on('exit', (status) => resolve({ status, stderr })),
  )
  return { pid: child.pid ?? 0, ended, kill: () => void child.kill('SIGKILL') }
}
