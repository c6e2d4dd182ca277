// One program in one session of an ssh connection: how it starts, how it ended, and how it is ended early.
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { VmlError } from '../base/failure.ts'
import {
  cancelled,
  type Child,
  type ChildRequest,
  idleTimeoutMsDefault,
  startChild,
} from './child-process.ts'
import { execScript } from './quote.ts'
import type { ShellOutcome, ShellProcess, ShellRequest } from './shell.ts'
import { lastLine, sshFailure, troubleOf } from './ssh-failure.ts'
import { readMark, startMark, statusMark } from './ssh-marks.ts'

/** What a session goes through. */
export interface Connection {
  /** Of a program of this host that runs one command line on the machine. */
  readonly words: readonly string[]
  /** Settles when the connection has ended, with what ssh said last. */
  readonly ended: Promise<Buffer>
  readonly isUp: boolean
}

export interface SessionRequest {
  readonly label: string
  readonly through: Connection
  readonly wanted: ShellRequest
  /** All that has to be ended with the shell. */
  readonly running: Set<Child>
}

/**
 * A 255 of ssh may be the program's own, and a program ended by a signal has no status in ssh's eyes. So a shell
 * stays between and says on standard error, behind a word that cannot be guessed, how the program ended; where that
 * is missing, the connection was lost. It says on standard output when the program starts, so that what a login
 * shell prints before is not taken for the program's.
 */
export async function startSession({
  label,
  through,
  wanted,
  running,
}: SessionRequest): Promise<ShellProcess> {
  const nonce = newNonce()
  const { argv, endsWhole: _, ...streams } = wanted
  const program = programLabel(argv, label)
  const script = `LC_ALL=C;export LC_ALL;${startMark(nonce)};(${execScript(argv)});${statusMark(nonce)}`
  const started = Promise.withResolvers<void>()
  const session = await openSession(script, {
    label,
    through,
    nonce,
    program,
    // A session that is refused has taken nothing of it.
    child: { ...streams, feedAfter: started.promise },
    running,
  })
  started.resolve()
  const { child, iterator } = session
  const outcome = child.outcome.then(
    async (ended) => readStatus(ended.stderr, nonce) ?? (await explainEnd(ended, { program, through })),
  )
  outcome.catch(() => {})

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
    stdout: stdout(session.rest),
    outcome,
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  }
}

export interface Session {
  readonly child: Child
  /** Of the output, behind what came with the start mark: `rest`. */
  readonly iterator: AsyncIterator<Buffer>
  readonly rest: Buffer
}

/** Runs a script of one line that begins with a `startMark`. Ended early, it takes its process group with it. */
export async function openSession(
  script: string,
  request: Omit<SessionRequest, 'wanted'> & {
    readonly nonce: string
    readonly program: string
    readonly child: Omit<ChildRequest, 'command' | 'label' | 'beforeKill'>
    /** Whether there is anything to be ended on the machine. */
    readonly isBusy?: () => boolean
    /** Cancels only the opening. */
    readonly opening?: AbortSignal | undefined
  },
): Promise<Session> {
  const { label, through, nonce, program, running, opening, isBusy = () => true } = request
  if (opening?.aborted) throw cancelled(opening, program)
  const session: { group?: number } = {}
  const child = startChild({
    ...request.child,
    command: [...through.words, `exec sh -c '${script}'`],
    label: program,
    beforeKill: async () => {
      if (session.group !== undefined && through.isUp && isBusy()) await killGroup(through, session.group)
    },
  })
  running.add(child)
  child.outcome.catch(() => {}).finally(() => running.delete(child))
  if (request.child.isServer) child.watch(idleTimeoutMsDefault, program)
  const onAbort = () => child.fail(cancelled(opening, program))
  opening?.addEventListener('abort', onAbort, { once: true })
  const iterator = child.stdout[Symbol.asyncIterator]()
  const mark = await readMark(iterator, nonce, label)
    .catch(async (error: unknown) => {
      await child[Symbol.asyncDispose]()
      throw error
    })
    .finally(() => opening?.removeEventListener('abort', onAbort))
  if (request.child.isServer) child.watch(Number.POSITIVE_INFINITY, program)
  if (!mark) {
    const ended = await child.outcome
    if (!readStatus(ended.stderr, nonce)) await explainEnd(ended, { program, through })
    throw new VmlError('remote.protocol', `Cannot run ${program}: the machine does not answer as a shell`)
  }
  session.group = mark.number
  return { child, iterator, rest: mark.rest }
}

/** Ends what the program started, too: sshd gives each session a process group of its own. */
export async function killGroup({ words }: Pick<Connection, 'words'>, group: number): Promise<void> {
  const later = `(sleep 2;kill -KILL -${group}) >/dev/null 2>&1 </dev/null &`
  const killing = startChild({
    command: [...words, `exec sh -c 'kill -TERM -${group} || kill -TERM ${group};${later}'`],
    label: 'ending a program',
    idleTimeoutMs: killTimeoutMs,
  })
  for await (const _ of killing.stdout);
  await killing.outcome
}

const killTimeoutMs = 5000

/** How the program ended, where standard error tells it. */
export function readStatus(stderr: Buffer, nonce: string): ShellOutcome | undefined {
  const at = stderr.lastIndexOf(`${nonce}:`)
  const match = at === -1 ? undefined : /^[0-9a-f]+:(\d{1,3});/.exec(stderr.toString('latin1', at, at + 64))
  if (!match) return undefined
  const rest = stderr.subarray(at + match[0].length)
  return { status: Number(match[1]), stderr: Buffer.concat([stderr.subarray(0, at), rest]) }
}

/** What came on standard error after the last program had told how it ended. */
export function behindStatus(stderr: Buffer): Buffer {
  const said = stderr.toString('latin1')
  return Buffer.from(said.slice((/^.*[0-9a-f]{24}:\d{1,3};/s.exec(said)?.[0] ?? '').length), 'latin1')
}

/** Why a program did not tell how it ended. */
export async function explainEnd(
  ended: ShellOutcome,
  { program, through }: { readonly program: string; readonly through: Connection },
): Promise<never> {
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

export function programLabel(argv: readonly string[], label: string): string {
  return `"${argv[0] ?? ''}" on ${label}`
}

export function newNonce(): string {
  return randomBytes(12).toString('hex')
}
