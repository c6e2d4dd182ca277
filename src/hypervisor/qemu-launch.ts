// Starts QEMU as a process of its own: no terminal, no open pipe, in a session that outlives VML.
// Not by -daemonize: that forks, and a QEMU that may not fork or raise its rights is worth more (`-sandbox`).
import { spawn } from 'node:child_process'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { isFailure, systemErrorCode, VmlError } from '../base/failure.ts'
import { connectQmp } from '../wire/qmp.ts'
import type { ProgramOutcome } from './program.ts'
import { fileNames } from './qemu-arguments.ts'
import { holderOfPidFile } from './qemu-record.ts'

const startTimeoutMs = 60_000
const pollMs = 30

/**
 * Returns when this QEMU answers on its socket, or how it ended. Of two starts at once both hear the same socket: only the QEMU that holds the
 * pid file is the machine, and the other one is waited for, so that none is left that would take the machine up when the first has stopped.
 */
export async function launchQemu({
  qemu,
  args,
  folder,
  clock,
  signal,
}: {
  qemu: string
  args: readonly string[]
  folder: string
  clock: Clock
  signal?: AbortSignal | undefined
}): Promise<'answers' | ProgramOutcome> {
  const logPath = join(folder, fileNames.log)
  await using log = await open(logPath, 'w', 0o600)
  const child = spawn(qemu, args, { cwd: folder, detached: true, stdio: ['ignore', log.fd, log.fd] })
  let end: { status: number | null } | { error: Error } | undefined
  child.on('error', (error) => {
    end ??= { error }
  })
  child.on('exit', (status) => {
    end ??= { status }
  })
  try {
    const until = clock.now() + startTimeoutMs
    for (;;) {
      await clock.sleep(pollMs, { signal })
      if (end !== undefined) break
      if ((await answers(folder)) && (await holderOfPidFile(folder)) === child.pid) {
        child.unref()
        return 'answers'
      }
      if (clock.now() > until)
        throw new VmlError('unavailable.timeout', `Cannot start ${qemu}: it does not answer`)
    }
  } catch (error) {
    // Nothing that runs is left behind by a start that failed.
    child.kill('SIGKILL')
    throw error
  }
  if ('status' in end) return { status: end.status, stdout: '', stderr: await readFile(logPath, 'utf8') }
  if (systemErrorCode(end.error) !== 'ENOENT') throw end.error
  throw new VmlError('unsupported', `Cannot run ${qemu}: it is not installed`, { cause: end.error })
}

async function answers(folder: string): Promise<boolean> {
  try {
    await using _client = await connectQmp(join(folder, fileNames.socket), { timeoutMs: 5_000 })
    return true
  } catch (error) {
    if (isFailure(error, 'unavailable.network', 'unavailable.timeout')) return false
    throw error
  }
}
