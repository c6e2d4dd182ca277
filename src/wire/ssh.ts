// A shell over the system's OpenSSH client: one connection, many programs.
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { VmlError } from '../base/failure.ts'
import { startChild, type Child } from './child-process.ts'
import { runToEnd } from './collect-output.ts'
import { askHostKey } from './host-key.ts'
import { execScript } from './quote.ts'
import type { Shell, ShellOutcome, ShellProcess, ShellRequest } from './shell.ts'
import { masterWords, sessionWords, type SshAddress, type SshOptions } from './ssh-client.ts'
import { lastLine, sshFailure, troubleOf } from './ssh-failure.ts'
import { awaitLogin } from './ssh-login.ts'
import { readMark, startMark, statusMark } from './ssh-marks.ts'

/** sshd allows 10 sessions on a connection: these, the one that holds it, and one to end a program. */
const sessionsMax = 8
const killTimeoutMs = 5000
/** A socket's path is at most 108 bytes long, and ssh adds 17 while it makes it. */
const socketPathBytesMax = 88

interface Connection {
  readonly socket: string
  readonly child: Child
  /** Settles when the connection has ended, with what ssh said last. */
  readonly ended: Promise<Buffer>
  isUp: boolean
}

/**
 * Connects, and connects again when a program is started after the connection was lost. The connection is a child of
 * this process that reads from it, so it ends with this process, however that ends. An unknown host key is
 * `remote.denied` with `details` { reason: 'host-key-unknown', fingerprint, keyLine } (see trustHostKey); a changed
 * one has the reason `host-key-changed`, a refused login `authentication`.
 */
export async function openSshShell(request: {
  readonly address: SshAddress
  readonly options?: SshOptions
  readonly signal?: AbortSignal
}): Promise<Shell> {
  const { address, options = {} } = request
  const label = formatLabel(address)
  const folder = await privateFolder(options)
  const running = new Set<Child>()
  let connecting: Promise<Connection> | undefined
  let up: Connection | undefined
  let closed = false

  async function connection(signal?: AbortSignal): Promise<Connection> {
    if (closed) throw new TypeError('Cannot use a shell that was closed')
    if (up?.isUp) return up
    connecting ??= connect({ address, options, label, folder, signal }).finally(
      () => (connecting = undefined),
    )
    up = await connecting
    return up
  }

  const waiting: (() => void)[] = []
  let places = sessionsMax
  async function takePlace(): Promise<void> {
    if (places-- <= 0) await new Promise<void>((resolve) => waiting.push(resolve))
  }
  function givePlace(): void {
    places++
    waiting.shift()?.()
  }

  async function start(wanted: ShellRequest): Promise<ShellProcess> {
    await takePlace()
    try {
      const through = await connection(wanted.signal)
      const started = await startSession({ address, label, through, wanted, running })
      started.outcome.catch(() => {}).finally(givePlace)
      return started
    } catch (error) {
      givePlace()
      throw error
    }
  }

  async function dispose(): Promise<void> {
    closed = true
    await Promise.all([...running].map((child) => child[Symbol.asyncDispose]()))
    const last = up ?? (await connecting?.catch(() => undefined))
    await last?.child[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  }

  try {
    await connection(request.signal)
  } catch (error) {
    await dispose()
    throw error
  }
  return { label, start, run: (wanted) => runToEnd(start, label, wanted), [Symbol.asyncDispose]: dispose }
}

function formatLabel({ user, host, port }: SshAddress): string {
  const name = host.includes(':') ? `[${host}]` : host
  return `${user === undefined ? '' : `${user}@`}${name}${port === undefined ? '' : `:${port}`}`
}

async function privateFolder({ runtimeFolder = tmpdir() }: SshOptions): Promise<string> {
  const parent =
    Buffer.byteLength(join(runtimeFolder, 'vml-123456', '0123456789')) <= socketPathBytesMax
      ? runtimeFolder
      : '/tmp'
  return await mkdtemp(join(parent, 'vml-'))
}

interface ConnectRequest {
  readonly address: SshAddress
  readonly options: SshOptions
  readonly label: string
  readonly folder: string
  readonly signal: AbortSignal | undefined
}

/** Its own session runs `cat` on an input that ends with this process: then the connection ends too. */
async function connect({ address, options, label, folder, signal }: ConnectRequest): Promise<Connection> {
  const nonce = newNonce()
  const socket = join(folder, randomBytes(4).toString('hex'))
  const child = startChild({
    command: [
      ...masterWords(address, options, socket),
      `exec sh -c '${startMark(nonce)};exec cat >/dev/null'`,
    ],
    stdin: endless(),
    idleTimeoutMs: Number.POSITIVE_INFINITY,
    label: `the connection to ${label}`,
    // It lives on when the call that opened it is cancelled later.
  })
  const onAbort = () => child.fail(new VmlError('cancelled', `Cancelled connecting to ${label}`))
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    return await awaitLogin(child, { options, label }, async () => {
      const mark = await readMark(child.stdout[Symbol.asyncIterator](), nonce, label)
      if (mark) return holdConnection(child, socket)
      const { status, stderr } = await child.outcome
      throw await explainRefusal({ address, options, label, folder, signal }, status, stderr)
    })
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}

function holdConnection(child: Child, socket: string): Connection {
  const ended = child.outcome.then(
    ({ stderr }) => stderr,
    () => Buffer.alloc(0),
  )
  const connection: Connection = { socket, child, ended, isUp: true }
  void ended.then(() => (connection.isUp = false))
  return connection
}

async function explainRefusal(request: ConnectRequest, status: number, stderr: Buffer): Promise<VmlError> {
  const { address, options, label, signal } = request
  const action = `Cannot connect to ${label}`
  if (status === 127 && /env: .*ssh/.test(stderr.toString('latin1')))
    return new VmlError('unsupported', `${action}: ssh is not installed`, {
      hint: 'Install the OpenSSH client',
    })
  if (status !== 255)
    return new VmlError(
      'remote.denied',
      `${action}: its login shell did not run a command: ${lastLine(stderr)}`,
      {
        details: { reason: 'login-shell', status },
        hint: 'See whether the account may log in and has a shell',
      },
    )
  const trouble = troubleOf(stderr)
  const key = trouble === 'host-key-unknown' ? await askHostKey(address, options, signal) : undefined
  return sshFailure(action, stderr, trouble, { ...key })
}

interface SessionRequest {
  readonly address: SshAddress
  readonly label: string
  readonly through: Connection
  readonly wanted: ShellRequest
  readonly running: Set<Child>
}

/**
 * A 255 of ssh may be the program's own, and a program ended by a signal has no status in ssh's eyes. So a shell
 * stays between and says on standard error, behind a word that cannot be guessed, how the program ended; where that
 * is missing, the connection was lost. It says on standard output when the program starts, so that what a login
 * shell prints before is not taken for the program's.
 */
async function startSession({
  address,
  label,
  through,
  wanted,
  running,
}: SessionRequest): Promise<ShellProcess> {
  const nonce = newNonce()
  const { argv, ...streams } = wanted
  const program = `"${argv[0] ?? ''}" on ${label}`
  const script = `LC_ALL=C;export LC_ALL;${startMark(nonce)};(${execScript(argv)});${statusMark(nonce)}`
  const words = sessionWords(address, through.socket)
  const session: { group?: number } = {}
  const child = startChild({
    ...streams,
    command: [...words, `exec sh -c '${script}'`],
    label: program,
    beforeKill: async () => {
      if (session.group !== undefined && through.isUp) await killGroup(words, session.group)
    },
  })
  running.add(child)
  const outcome = child.outcome.then((ended) => readOutcome(ended, { nonce, program, through }))
  outcome.catch(() => {}).finally(() => running.delete(child))

  const iterator = child.stdout[Symbol.asyncIterator]()
  const mark = await readMark(iterator, nonce, label).catch(async (error: unknown) => {
    await child[Symbol.asyncDispose]()
    throw error
  })
  if (!mark) {
    await outcome
    throw new VmlError('remote.protocol', `Cannot run ${program}: the machine does not answer as a shell`)
  }
  session.group = mark.number

  async function* stdout(first: Buffer): AsyncIterable<Buffer> {
    if (first.length > 0) yield first
    for (;;) {
      const next = await iterator.next()
      if (next.done === true) break
      yield next.value
    }
    // An output that ends since the connection broke must not look complete.
    await outcome
  }
  return {
    stdout: stdout(mark.rest),
    outcome,
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  }
}

/** Ends what the program started, too: sshd gives each session a process group of its own. */
async function killGroup(words: string[], group: number): Promise<void> {
  const later = `(sleep 2;kill -KILL -${group}) >/dev/null 2>&1 </dev/null &`
  const killing = startChild({
    command: [...words, `exec sh -c 'kill -TERM -${group} || kill -TERM ${group};${later}'`],
    label: 'ending a program',
    idleTimeoutMs: killTimeoutMs,
  })
  for await (const _ of killing.stdout);
  await killing.outcome
}

interface OutcomeFacts {
  readonly nonce: string
  readonly program: string
  readonly through: Connection
}

async function readOutcome(ended: ShellOutcome, facts: OutcomeFacts): Promise<ShellOutcome> {
  const { nonce, program, through } = facts
  const at = ended.stderr.lastIndexOf(`${nonce}:`)
  const match = at === -1 ? undefined : /^[0-9a-f]+:(\d{1,3});/.exec(ended.stderr.toString('latin1', at))
  if (match) {
    const rest = ended.stderr.subarray(at + match[0].length)
    return { status: Number(match[1]), stderr: Buffer.concat([ended.stderr.subarray(0, at), rest]) }
  }
  const lastWords = await Promise.race([through.ended, sleep(1000, undefined, { ref: false })])
  if (lastWords !== undefined) {
    const trouble = troubleOf(lastWords) === 'timeout' ? 'timeout' : 'network'
    const said = lastWords.length > 0 ? lastWords : ended.stderr
    throw sshFailure(`Lost the connection while running ${program}`, said, trouble)
  }
  if (troubleOf(ended.stderr) === 'sessions')
    throw sshFailure(`Cannot run ${program}`, ended.stderr, 'sessions')
  throw new VmlError('remote.command', `Cannot tell how ${program} ended: ${lastLine(ended.stderr)}`, {
    details: { status: ended.status },
  })
}

function newNonce(): string {
  return randomBytes(12).toString('hex')
}

// oxlint-disable-next-line eslint/require-yield -- an input that never has anything, until it is torn down
async function* endless(): AsyncGenerator<Uint8Array, void, undefined> {
  await new Promise<void>(() => {})
}
