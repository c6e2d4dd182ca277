// A shell over the system's OpenSSH client: one connection, many programs.
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { VmlError } from '../base/failure.ts'
import { startChild, type Child } from './child-process.ts'
import { runToEnd } from './collect-output.ts'
import { askHostKey } from './host-key.ts'
import type { Shell, ShellProcess, ShellRequest } from './shell.ts'
import { aloneWords, masterWords, sessionWords, type SshAddress, type SshOptions } from './ssh-client.ts'
import { isSessionRefusal, lastLine, sshFailure, troubleOf } from './ssh-failure.ts'
import { awaitLogin } from './ssh-login.ts'
import { readMark } from './ssh-marks.ts'
import {
  behindStatus,
  type Connection,
  killGroup,
  newNonce,
  type Session,
  startSession,
} from './ssh-session.ts'
import { type Ear, openTalk, type Talk, talkInputBytesMax, talkOver, talkScript } from './ssh-talk.ts'

/** sshd allows 10 sessions on a connection: these, the one that holds it, and one to end a program. */
const sessionsMax = 8
/** Sessions without a program that wait for the next one. */
const freeTalksMax = 2
/** A socket's path is at most 108 bytes long, and ssh adds 17 while it makes it. */
const socketPathBytesMax = 88

interface HeldConnection extends Connection {
  readonly child: Child
  /** Its own session serves, too; with it the connection ends. */
  readonly talk: Talk
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
  /** Programs that end whole come next: a session for them is opened at once. */
  readonly isForScripts?: boolean
  readonly signal?: AbortSignal
}): Promise<Shell> {
  const { address, options = {} } = request
  const label = formatLabel(address)
  const folder = await privateFolder(options)
  const running = new Set<Child>()
  let connecting: Promise<HeldConnection> | undefined
  let up: HeldConnection | undefined
  let closed = false

  async function connection(signal?: AbortSignal): Promise<HeldConnection> {
    if (closed) throw new TypeError('Cannot use a shell that was closed')
    if (up?.isUp) return up
    connecting ??= connect({ address, options, label, folder, signal }).finally(
      () => (connecting = undefined),
    )
    const held = await connecting
    if (up !== held) free.push(held.talk)
    up = held
    return held
  }

  const waiting: (() => void)[] = []
  let places = sessionsMax
  async function takePlace(): Promise<void> {
    if (places-- > 0) return
    const spare = free.findIndex((talk) => talk !== up?.talk)
    if (spare >= 0) void free.splice(spare, 1)[0]?.close()
    await new Promise<void>((resolve) => waiting.push(resolve))
  }
  function givePlace(): void {
    places++
    waiting.shift()?.()
  }

  let isRefused = false
  /** `sshd` may allow fewer sessions on a connection, even one: from then on each has a connection of its own. */
  async function through<T>(
    signal: AbortSignal | undefined,
    open: (way: Connection) => Promise<T>,
  ): Promise<T> {
    const shared = await connection(signal)
    const alone = { words: aloneWords(address, options), isUp: true, ended: Promise.resolve(Buffer.alloc(0)) }
    if (isRefused) return await open(alone)
    try {
      return await open(shared)
    } catch (error) {
      if (!isSessionRefusal(error)) throw error
      isRefused = true
      return await open(alone)
    }
  }

  const free: Talk[] = []
  let coming: Promise<Talk> | undefined
  /** One that is free, or a new one. */
  async function takeTalk(signal?: AbortSignal): Promise<Talk> {
    await connection(signal)
    for (let talk = free.pop(); talk; talk = free.pop()) if (talk.isFree()) return talk
    const early = coming
    coming = undefined
    return await (early ?? newTalk(signal))
  }
  async function newTalk(signal?: AbortSignal): Promise<Talk> {
    await takePlace()
    try {
      const talk = await through(signal, (way) => openTalk({ label, through: way, running, signal }))
      void talk.ended.then(givePlace)
      return talk
    } catch (error) {
      givePlace()
      throw error
    }
  }
  function keepTalk(talk: Talk): void {
    const isWanted = talk === up?.talk || (waiting.length === 0 && free.length < freeTalksMax)
    if (talk.isFree() && isWanted) free.push(talk)
    else void talk.close()
  }

  async function start(wanted: ShellRequest): Promise<ShellProcess> {
    if (!wanted.endsWhole) return await startApart(wanted)
    const { stdin = [], ...program } = wanted
    const known = takeInput(stdin)
    if (known.input === undefined) return await startApart({ ...program, ...known })
    const talk = await takeTalk(wanted.signal)
    try {
      const started = talk.start({ ...program, input: known.input })
      started.outcome.catch(() => {}).finally(() => keepTalk(talk))
      return started
    } catch (error) {
      keepTalk(talk)
      throw error
    }
  }

  async function startApart(wanted: ShellRequest): Promise<ShellProcess> {
    await takePlace()
    try {
      const started = await through(wanted.signal, (way) =>
        startSession({ label, through: way, wanted, running }),
      )
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
  if (request.isForScripts) coming = newTalk(request.signal)
  coming?.catch(() => {})
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

type Input = NonNullable<ShellRequest['stdin']>

/** What is known already, where it is little; else the same input, of which nothing was lost. */
function takeInput(
  stdin: Input,
): { readonly input: Buffer } | { readonly input?: undefined; readonly stdin: Input } {
  if (!(Symbol.iterator in stdin)) return { stdin }
  const iterator = stdin[Symbol.iterator]()
  const taken: Uint8Array[] = []
  let bytes = 0
  for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
    taken.push(next.value)
    bytes += next.value.length
    if (bytes > talkInputBytesMax) return { stdin: all(taken, iterator) }
  }
  return { input: Buffer.concat(taken) }
}

function* all(taken: readonly Uint8Array[], more: Iterator<Uint8Array>): Iterable<Uint8Array> {
  yield* taken
  for (let next = more.next(); next.done !== true; next = more.next()) yield next.value
}

interface ConnectRequest {
  readonly address: SshAddress
  readonly options: SshOptions
  readonly label: string
  readonly folder: string
  readonly signal: AbortSignal | undefined
}

/** Its own session runs a shell whose input ends with this process: then the connection ends too. */
async function connect({ address, options, label, folder, signal }: ConnectRequest): Promise<HeldConnection> {
  const nonce = newNonce()
  const socket = join(folder, randomBytes(4).toString('hex'))
  const words = sessionWords(address, socket)
  const ear: Ear = {}
  const session: { group?: number } = {}
  const child = startChild({
    command: [...masterWords(address, options, socket), `exec sh -c '${talkScript(nonce)}'`],
    isServer: true,
    onStderr: (chunk) => ear.told?.(chunk),
    beforeKill: async () => {
      if (session.group !== undefined && ear.told) await killGroup({ words }, session.group)
    },
    label: `the connection to ${label}`,
    // It lives on when the call that opened it is cancelled later.
  })
  const onAbort = () => child.fail(new VmlError('cancelled', `Cancelled connecting to ${label}`))
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    return await awaitLogin(child, { options, label }, async () => {
      const iterator = child.stdout[Symbol.asyncIterator]()
      const mark = await readMark(iterator, nonce, label)
      if (mark) {
        session.group = mark.number
        return holdConnection({ child, iterator, rest: mark.rest }, { label, words, ear })
      }
      const { status, stderr } = await child.outcome
      throw await explainRefusal({ address, options, label, folder, signal }, status, stderr)
    })
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}

function holdConnection(
  session: Session,
  { label, words, ear }: { readonly label: string; readonly words: readonly string[]; readonly ear: Ear },
): HeldConnection {
  const ended = session.child.outcome.then(
    ({ stderr }) => behindStatus(stderr),
    () => Buffer.alloc(0),
  )
  const through = { words, ended, isUp: true }
  void ended.then(() => (through.isUp = false))
  // An object that lives: whoever holds the connection sees it end.
  return Object.assign(through, { child: session.child, talk: talkOver(session, { label, through, ear }) })
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
  const failure = sshFailure(action, stderr, trouble, { ...key })
  const { configFile } = options
  if (trouble !== 'host-key-unknown' || configFile === undefined) return failure
  // Without that file ssh would look at another list of keys, and maybe at another host.
  return new VmlError(failure.code, failure.message, {
    details: failure.details,
    hint: `Connect once with ssh -F ${configFile} and accept the key after comparing it`,
  })
}
