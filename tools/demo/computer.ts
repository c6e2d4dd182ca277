// A computer of the demo: a home of its own with VML in it. Every command is printed before it runs, and what it says after.
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'

export interface Ran {
  readonly status: number
  /** Both streams, as they came. */
  readonly output: string
  readonly seconds: number
}

export interface Computer {
  readonly home: string
  /** Prints and runs `vml ARGS`; a status that is not 0 ends the demo. */
  vml(args: readonly string[], options?: VmlOptions): Promise<Ran>
}

export interface VmlOptions {
  /** Prints nothing but a failure. */
  readonly silent?: boolean
  /** Runs also after the demo was cancelled. */
  readonly isTidying?: boolean
}

export interface Stage {
  print(line?: string): void
  readonly signal: AbortSignal
}

const vmlFile = join(import.meta.dirname, '../../src/cli/vml.js')
// Long work says what it is doing from time to time; a story needs only how it ended.
const progressLine =
  /^(?:finding the image|starting the machine|comparing|reading|writing|proving|removing|looking for secrets|downloading|copying)\b/

export async function openComputer(
  stage: Stage,
  { name, folder }: { name: string; folder: string },
): Promise<Computer> {
  const home = join(folder, name)
  await mkdir(home, { recursive: true, mode: 0o700 })
  // Nothing of whoever runs the demo is seen: no configuration, no logbook, no keys.
  const env = { PATH: process.env['PATH'] ?? '', HOME: home, LANG: 'C.UTF-8', TERM: 'dumb', USER: 'demo' }
  return {
    home,
    async vml(args, { silent = false, isTidying = false } = {}) {
      if (!silent) stage.print(`\n  ${name}$ vml ${args.map(shellWord).join(' ')}`)
      const ran = await runProgram(isTidying ? { signal: new AbortController().signal } : stage, {
        argv: [process.execPath, vmlFile, ...args],
        env,
        cwd: home,
        mergeErrors: true,
      })
      const lines = ran.output.split('\n').filter((line) => line !== '' && !progressLine.test(line))
      if (!silent || ran.status !== 0) for (const line of lines) stage.print(`    ${line}`)
      if (ran.status !== 0) throw new Error(`vml ${args[0] ?? ''} ended with ${ran.status}`)
      return ran
    },
  }
}

export interface ProgramRequest {
  readonly argv: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly input?: Uint8Array
  readonly mergeErrors?: boolean
}

/** Runs a program in a process group of its own, so that Ctrl-C reaches it once, from here, and it can tidy up. */
export async function runProgram(
  { signal }: Pick<Stage, 'signal'>,
  request: ProgramRequest,
): Promise<Ran & { readonly bytes: Buffer }> {
  signal.throwIfAborted()
  const started = performance.now()
  const shell = request.mergeErrors ? 'exec "$@" 2>&1' : 'exec "$@"'
  const child = spawn('sh', ['-c', shell, 'sh', ...request.argv], {
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(request.env === undefined ? {} : { env: request.env }),
    ...(request.cwd === undefined ? {} : { cwd: request.cwd }),
  })
  const stop = () => child.kill('SIGINT')
  signal.addEventListener('abort', stop, { once: true })
  try {
    const { status, bytes, errors } = await outcomeOf(child, request.input)
    signal.throwIfAborted()
    const output = bytes.toString() + errors
    return { status, bytes, output, seconds: (performance.now() - started) / 1000 }
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

async function outcomeOf(
  child: ChildProcess,
  input: Uint8Array | undefined,
): Promise<{ status: number; bytes: Buffer; errors: string }> {
  const chunks: Buffer[] = []
  const errors: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => errors.push(chunk))
  // A program that does not read to the end says by its status what was wrong.
  child.stdin?.on('error', () => {}).end(input ?? '')
  const ended = Promise.withResolvers<number>()
  child.on('error', ended.reject).on('close', (status) => ended.resolve(status ?? 255))
  const status = await ended.promise
  return { status, bytes: Buffer.concat(chunks), errors: Buffer.concat(errors).toString() }
}

/** As a person would type it. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./~-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

/** What cannot be stopped half-way is left to the end of this process. */
export async function orAbort<T>({ signal }: Stage, work: Promise<T>): Promise<T> {
  const aborted = Promise.withResolvers<never>()
  const abort = () => aborted.reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([work, aborted.promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
