// Cuts a commit on a machine over ssh at one of its renames: VML, the connection and the script there are gone at once.
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { vmlCommand } from './cli.ts'
import type { RemoteBed } from './remote-bed.ts'

/** Stands before the machine's own mv: at the rename that is to be cut it says who asked for it, and waits. */
const mv = `#!/bin/sh
if [ -f /run/cut ]; then
  case $(tr '\\0' ' ' <"/proc/$PPID/cmdline") in
    *commit.sh* | *recover.sh*)
      read -r left </run/cut
      if [ "$left" = 0 ]; then
        rm -f /run/cut
        echo "$PPID $$" >/run/reached.new
        /usr/bin/mv /run/reached.new /run/reached
        exec sleep 600
      fi
      echo $((left - 1)) >/run/cut
      ;;
  esac
fi
exec /usr/bin/mv "$@"
`

/** To be called once, before anything is compared. */
export function prepareCuts({ chroot }: RemoteBed): void {
  writeFileSync(join(chroot.path, 'usr/local/bin/mv'), mv, { mode: 0o755 })
}

/** False where the commit came to its end before that rename. */
export async function cutAtRename(bed: RemoteBed, args: readonly string[], at: number): Promise<boolean> {
  const { chroot, environment, home } = bed
  const [reached, cut] = ['run/reached', 'run/cut'].map((name) => join(chroot.path, name))
  if (reached === undefined || cut === undefined) throw new Error('A folder has no name')
  rmSync(reached, { force: true })
  writeFileSync(cut, `${at}\n`)
  const [program = '', ...words] = vmlCommand
  const child = spawn(program, [...words, ...args], { cwd: home.home, env: environment, stdio: 'ignore' })
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()))
  while (!existsSync(reached)) {
    if (child.exitCode !== null) {
      rmSync(cut, { force: true })
      return false
    }
    await sleep(20)
  }
  child.kill('SIGKILL')
  await ended
  const pids = readFileSync(reached, 'utf8').trim()
  await chroot.sh(`kill -9 ${pids}`, { mayFail: true })
  await untilLeft(bed)
  return true
}

/** Until the process there that held the stage has seen that the connection is gone. */
export async function untilLeft({ chroot }: RemoteBed): Promise<void> {
  for (let turn = 0; turn < turnsMax; turn++) {
    const { status } = await chroot.sh(
      `pid=$(sed -n 's/^ *"id": \\([0-9]*\\),*$/\\1/p' /var/lib/vml/stage/open/note.json) && [ -n "$pid" ] && [ -d "/proc/$pid" ]`,
      { mayFail: true },
    )
    if (status !== 0) return
    await sleep(50)
  }
  throw new Error('The process that held the stage did not end')
}

/** Two minutes at least. */
const turnsMax = 2400
