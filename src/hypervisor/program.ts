// Runs one program of this host to its end: no shell, no input, bounded output, a time limit.
import { spawn } from 'node:child_process'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'

export interface ProgramOutcome {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

const outputCharactersMax = 4 * 1024 * 1024

/** Fails with `unsupported` when the program is not there and `unavailable.timeout` when it does not end. */
export async function runProgram(
  program: string,
  args: readonly string[],
  { timeoutMs, signal, cwd }: { timeoutMs: number; signal?: AbortSignal | undefined; cwd?: string },
): Promise<ProgramOutcome> {
  signal?.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<number | null>()
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout = (stdout + text).slice(0, outputCharactersMax)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(0, outputCharactersMax)
  })
  child.on('error', reject)
  child.on('close', resolve)
  let late = false
  const timer = setTimeout(() => {
    late = true
    child.kill('SIGKILL')
  }, timeoutMs)
  const abort = () => child.kill('SIGKILL')
  signal?.addEventListener('abort', abort, { once: true })
  try {
    const status = await promise
    signal?.throwIfAborted()
    if (late)
      throw new VmlError(
        'unavailable.timeout',
        `Cannot run ${program}: not ended after ${timeoutMs / 1000} seconds`,
      )
    return { status, stdout, stderr }
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    throw new VmlError('unsupported', `Cannot run ${program}: it is not installed`, {
      cause: error,
      hint: packageHint(program),
    })
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
  }
}

/** The same for a program that must succeed. */
export async function runProgramWell(...args: Parameters<typeof runProgram>): Promise<ProgramOutcome> {
  const outcome = await runProgram(...args)
  if (outcome.status === 0) return outcome
  throw programFailure(args[0], outcome)
}

export function programFailure(program: string, { status, stderr }: ProgramOutcome): VmlError {
  const said = stderr.trim().split('\n').slice(-3).map(printableText).join('; ')
  const code = /No space left on device/.test(stderr) ? 'unavailable.space' : 'failed'
  return new VmlError(
    code,
    `Cannot go on: ${program} ended with ${status ?? 'a signal'}${said === '' ? '' : `: ${said}`}`,
  )
}

function packageHint(program: string): string {
  if (program.includes('qemu-img')) return 'Install QEMU: apt-get install qemu-utils'
  if (program.includes('qemu')) return 'Install QEMU: apt-get install qemu-system-x86'
  return 'Install OpenSSH: apt-get install openssh-client'
}
