// A machine to make transactions on over ssh: a private Debian behind a real sshd, with nothing of ours in it, and a home here that knows it as "lab".
import { type Chroot, type ChrootOptions, openChroot } from './chroot.ts'
import { openTestHome, type RunOptions, type TestHome, type VmlOutcome, vmlEnvironment } from './cli.ts'
import { type Sshd, startSshd } from './sshd.ts'

export interface RemoteBed extends AsyncDisposable {
  readonly chroot: Chroot
  readonly sshd: Sshd
  readonly home: TestHome
  /** VML of this working tree, on this host. */
  vml(args: readonly string[], options?: Omit<RunOptions, 'home'>): Promise<VmlOutcome>
  /** For who starts it otherwise. */
  readonly environment: Readonly<Record<string, string>>
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

export async function openRemoteBed(options: ChrootOptions = {}): Promise<RemoteBed> {
  await using resources = new AsyncDisposableStack()
  const chroot = resources.use(await openChroot(options))
  const pid = /^\/proc\/(\d+)\/root$/.exec(chroot.path)?.[1] ?? ''
  const words = Object.entries(variables).map(([name, value]) => `${name}=${value}`)
  const entering = `nsenter --target=${pid} --mount --pid --uts --ipc --net --wdns=/root -- env -i ${words.join(' ')} sh -c "$SSH_ORIGINAL_COMMAND"`
  const sshd = resources.use(await startSshd({ config: [`ForceCommand ${entering}`, 'MaxSessions 20'] }))
  const home = resources.use(await openTestHome())
  const env = { VML_SSH_CONFIG: sshd.sshConfigFile }
  const vml: RemoteBed['vml'] = async (args, given = {}) =>
    await home.run(args, { ...given, env: { ...env, ...given.env } })
  const added = await vml(['machine', 'add', 'lab', `ssh://${sshd.user}@127.0.0.1:${sshd.port}`])
  if (added.status !== 0) throw new Error(added.stderr)
  const owned = resources.move()
  return {
    chroot,
    sshd,
    home,
    vml,
    environment: vmlEnvironment({ home: home.home, env }),
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}
