// A machine over ssh whose tools do what a test says: a private sshd whose sessions find those tools first.
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { installBusybox } from '../../src/source/userlands.fixture.ts'
import { runVml, type RunOptions, type TestHome, type VmlOutcome } from '../cli.ts'
import { startSshd } from '../sshd.ts'

export interface HostileMachine extends AsyncDisposable {
  /** `ssh://…`, for `vml machine add`. */
  readonly address: string
  /** A folder of the machine for the test's files, below its home. */
  readonly work: string
  readonly folder: string
  readonly sshConfigFile: string
  readonly knownHostsFile: string
  /** Puts a shell script before the tool of that name; in it, `real` runs the machine's own. */
  lie(tool: string, script: string): void
  /** Takes the tool away. */
  lack(tool: string): void
  /** Every tool is the machine's own again. */
  honest(): void
  vml(home: TestHome, args: readonly string[], options?: Partial<RunOptions>): Promise<VmlOutcome>
}

/** Kills the server's process of this session, from within it: the connection breaks as when a cable is cut. */
export const cutConnection = `
pid=$$
while [ "$(cat /proc/$pid/comm)" != sshd ]; do pid=$(sed 's/.*) . \\([0-9]*\\) .*/\\1/' /proc/$pid/stat); done
kill -9 $pid`

export async function startHostileMachine(): Promise<HostileMachine> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'vml-hostile-')))
  const lies = join(folder, 'lies')
  const busybox = join(folder, 'busybox')
  const home = join(folder, 'home')
  const work = join(home, 'work')
  for (const path of [lies, busybox, work]) mkdirSync(path, { recursive: true })
  installBusybox(busybox)
  // busybox's own shell and xargs would take every tool from within busybox.
  for (const [name, target] of [
    ['sh', '/bin/dash'],
    ['xargs', '/usr/bin/xargs'],
  ] as const) {
    rmSync(join(busybox, name))
    symlinkSync(target, join(busybox, name))
  }
  const paths = { gnu: `${lies}:/usr/bin:/bin`, busybox: `${lies}:${busybox}` }
  const profile = join(home, '.path')
  const usePath = (path: string) => writeFileSync(profile, `PATH=${path}; export PATH\n`)
  const clear = () => {
    rmSync(lies, { recursive: true })
    mkdirSync(lies)
    usePath(paths.gnu)
  }
  clear()
  const command = `. ${profile}; exec sh -c "$SSH_ORIGINAL_COMMAND"`
  const sshd = await startSshd({
    config: [`SetEnv HOME=${home}`, `ForceCommand ${command}`],
  })
  return {
    address: `ssh://${sshd.user}@127.0.0.1:${sshd.port}`,
    work,
    folder,
    sshConfigFile: sshd.sshConfigFile,
    knownHostsFile: sshd.knownHostsFile,
    lie(tool, script) {
      const file = join(lies, tool)
      writeFileSync(file, `#!/bin/sh\nreal() { PATH=/usr/bin:/bin; ${tool} "$@"; }\n${script}\n`)
      chmodSync(file, 0o755)
    },
    lack(tool) {
      // Only busybox's tools, without this one: nothing of the host's own is found.
      usePath(paths.busybox)
      rmSync(join(busybox, tool), { force: true })
    },
    honest: clear,
    vml: (test, args, options = {}) =>
      runVml(args, {
        home: test.home,
        ...options,
        env: { VML_SSH_CONFIG: sshd.sshConfigFile, ...options.env },
      }),
    async [Symbol.asyncDispose]() {
      await sshd[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
