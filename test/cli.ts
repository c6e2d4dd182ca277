// Runs the real program as a process, in a home of its own.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { markVariable } from '../tools/test-processes.ts'
import { runModel } from './run-model.ts'

export interface VmlOutcome {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly home: string
  readonly env?: Readonly<Record<string, string>>
  readonly stdin?: string | Uint8Array
  /** Default: the home. */
  readonly cwd?: string
  readonly signal?: AbortSignal
}

// The variables of whoever runs the tests must not decide, but for these. Each test has a home of its own, and would compile the whole program for it. By its mark the runner finds what a file has started.
const keptVariables = ['PATH', 'LANG', 'TMPDIR', 'NODE_COMPILE_CACHE', markVariable] as const
const startFile = fileURLToPath(new URL('../src/cli/vml.js', import.meta.url))

/** The words that start the program, for tests that start it by other means. */
export const vmlCommand: readonly string[] = [process.execPath, startFile]

/** Nothing of this computer's own VML is seen: HOME and all XDG folders lie in `home`. */
export function vmlEnvironment({ home, env = {} }: Pick<RunOptions, 'home' | 'env'>): Record<string, string> {
  const kept = keptVariables.flatMap((name) => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  return { ...Object.fromEntries(kept), HOME: home, USER: 'tester', TZ: 'UTC', ...env }
}

export async function runVml(args: readonly string[], options: RunOptions): Promise<VmlOutcome> {
  const { stdout, ...outcome } = await runVmlBytes(args, options)
  return { ...outcome, stdout: stdout.toString('utf8') }
}

/** For output that is no text. */
export async function runVmlBytes(
  args: readonly string[],
  options: RunOptions,
): Promise<{ readonly status: number; readonly stdout: Buffer; readonly stderr: string }> {
  const [program = '', ...words] = vmlCommand
  const child = spawn(program, [...words, ...args], {
    cwd: options.cwd ?? options.home,
    env: vmlEnvironment(options),
    stdio: 'pipe',
    signal: options.signal,
  })
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (part: Buffer) => out.push(part))
  child.stderr.on('data', (part: Buffer) => err.push(part))
  child.stdin.on('error', () => {}) // It need not read what it was given.
  child.stdin.end(options.stdin ?? '')
  const status = await new Promise<number>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve(code ?? -1))
  })
  return { status, stdout: Buffer.concat(out), stderr: Buffer.concat(err).toString('utf8') }
}

export interface TestHome extends AsyncDisposable {
  readonly home: string
  readonly logbook: string
  readonly passwordFile: string
  run(args: readonly string[], options?: Omit<RunOptions, 'home'>): Promise<VmlOutcome>
}

/** A home with a password file and, unless told otherwise, a logbook that is its default. All of a run are copies of one logbook. */
export async function openTestHome(options: { logbook?: boolean } = {}): Promise<TestHome> {
  const root = await mkdtemp(join(tmpdir(), 'vml-cli-'))
  const { home, passwordFile, logbook } = placesIn(root)
  if (options.logbook ?? true) {
    const model = await runModel('home', fillModel)
    await cp(model, root, { recursive: true })
    await nameAnew(root, { from: model, to: root })
  } else {
    await mkdir(home)
    await writeFile(passwordFile, password)
  }
  const run: TestHome['run'] = (args, more) => runVml(args, { home, ...more })
  return {
    home,
    logbook,
    passwordFile,
    run,
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  }
}

/** A command that ends well, or the test ends with what it said. */
export async function well(home: TestHome, ...args: readonly string[]) {
  const outcome = await home.run(args)
  assert.equal(outcome.status, 0, `vml ${args.join(' ')}\n${outcome.stdout}${outcome.stderr}`)
  return outcome
}

const password = 'recovery key for tests\n'

function placesIn(root: string) {
  return { home: join(root, 'home'), passwordFile: join(root, 'password'), logbook: join(root, 'logbook') }
}

/** To make a logbook takes most of a second, on purpose: a strong key, which is made a light one here. */
async function fillModel(root: string, place: string): Promise<void> {
  const { home, passwordFile, logbook } = placesIn(root)
  await mkdir(home)
  await writeFile(passwordFile, password)
  const made = await runVml(['init', logbook, '--password-file', passwordFile], { home })
  if (made.status !== 0) throw new Error(`vml init failed: ${made.stderr}`)
  const { lightenKey } = await import('./light-key.ts')
  await lightenKey(logbook, Buffer.from(password.trimEnd()))
  await nameAnew(root, { from: root, to: place })
}

/** The configuration names the logbook by its whole path. */
async function nameAnew(root: string, { from, to }: { readonly from: string; readonly to: string }) {
  const config = join(placesIn(root).home, '.config/vml/config.toml')
  await writeFile(config, (await readFile(config, 'utf8')).replaceAll(from, to))
}
