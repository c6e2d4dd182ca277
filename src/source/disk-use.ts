// How much of a machine's own disks is in use: what a budget in percent is counted from.
import type { RawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { nulTerminated, protocolFailure, runScript } from './guest-script.ts'

/** A machine with more than so many file systems below the paths that are asked for is none. */
const fileSystemsMax = 1000

/** Bytes in use on the file systems of these paths, each counted once (POSIX `df -P -k`). */
export async function readDiskUse(
  shell: Shell,
  paths: readonly RawPath[],
  signal?: AbortSignal,
): Promise<number> {
  const stdout = await runScript(shell, {
    // One that is gone or does not answer is passed over; the root is always there.
    script: `LC_ALL=C xargs -0 df -P -k 2>/dev/null; :`,
    stdin: nulTerminated(paths),
    doing: 'tell how much of its disks is in use',
    outputBytesMax: 1024 * 1024,
    signal,
  })
  const used = new Map<string, number>()
  for (const line of stdout.toString('latin1').split('\n').slice(1, fileSystemsMax)) {
    // The name of a file system and its mount point may hold spaces; the numbers between them do not.
    const [, name, kib, mountPoint] = /^(.*?)\s+\d+\s+(\d{1,15})\s+-?\d+\s+-?\d+%\s+(\/.*)$/.exec(line) ?? []
    if (name === undefined || kib === undefined) continue
    // A device is one wherever it is mounted, and may grow from line to line; others (tmpfs, overlay) share their names.
    used.set(name.startsWith('/') ? name : `${name} ${mountPoint}`, Number(kib) * 1024)
  }
  if (used.size === 0) throw protocolFailure(shell, 'df does not tell how much of its disks is in use')
  return [...used.values()].reduce((sum, bytes) => sum + bytes, 0)
}
