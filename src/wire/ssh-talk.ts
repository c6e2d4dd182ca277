// A session in which programs run one after the other: a shell there reads them from its input, so that not each starts a login shell.
import { VmlError } from '../base/failure.ts'
import { cancelled, idleTimeoutMsDefault, stderrBytesMax } from './child-process.ts'
import { execScript, octal } from './quote.ts'
import type { ShellOutcome, ShellProcess, ShellRequest } from './shell.ts'
import { badStart, noiseBytesMax, startMark, statusMark } from './ssh-marks.ts'
import {
  explainEnd,
  newNonce,
  openSession,
  programLabel,
  readStatus,
  type Session,
  type SessionRequest,
} from './ssh-session.ts'

/** A program that such a shell can be told to run, with all of its input. */
export interface TalkProgram extends Omit<ShellRequest, 'stdin'> {
  readonly input: Buffer
}

export interface Talk {
  /** One program at a time: the next one when this has ended. */
  start(program: TalkProgram): ShellProcess
  /** The last program has ended by itself, and all is as it was before. */
  isFree(): boolean
  /** Settles when the session has ended, however. */
  readonly ended: Promise<void>
  close(): Promise<void>
}

/** More input goes into a session of its own. */
export const talkInputBytesMax = 16 * 1024

/** The script of a session that `talkOver` then talks to. */
export function talkScript(nonce: string): string {
  return `LC_ALL=C;export LC_ALL;${startMark(nonce)};exec sh -s`
}

/** What comes on standard error of a session goes to whom its program belongs. */
export interface Ear {
  told?: ((chunk: Buffer) => void) | undefined
}

/** Opens the session. A program that is ended early takes it with it. */
export async function openTalk(
  request: Omit<SessionRequest, 'wanted'> & { readonly signal?: AbortSignal | undefined },
): Promise<Talk> {
  const { label, through } = request
  const nonce = newNonce()
  const ear: Ear = {}
  const session = await openSession(talkScript(nonce), {
    ...request,
    nonce,
    program: `"sh" on ${label}`,
    child: { isServer: true, onStderr: (chunk) => ear.told?.(chunk) },
    isBusy: () => ear.told !== undefined,
    opening: request.signal,
  })
  return talkOver(session, { label, through, ear })
}

/** Talks to a session that runs `talkScript`; `ear` has been told of its standard error from the beginning. */
export function talkOver(
  session: Session,
  { label, through, ear }: Pick<SessionRequest, 'label' | 'through'> & { readonly ear: Ear },
): Talk {
  const { child, iterator } = session
  let rest = session.rest
  let isClean = true

  function start({ argv, input, signal, idleTimeoutMs = idleTimeoutMsDefault }: TalkProgram): ShellProcess {
    if (signal?.aborted) throw cancelled(signal, programLabel(argv, label))
    const program = programLabel(argv, label)
    const words = {
      begin: Buffer.from(`${newNonce()};`),
      frame: Buffer.from(`${newNonce()};`),
      status: newNonce(),
    }
    const said = readSaid(words.status)
    const framed = Promise.withResolvers<void>()
    const { told } = said
    ear.told = told
    child.watch(idleTimeoutMs, program)
    const onAbort = () => child.fail(cancelled(signal, program))
    signal?.addEventListener('abort', onAbort, { once: true })
    const whole = Promise.all([said.status, framed.promise]).then(([status]) => status)
    const cut = child.outcome.then(async (ended) => await explainEnd(ended, { program, through }))
    const outcome = Promise.race([whole, cut]).finally(() => {
      signal?.removeEventListener('abort', onAbort)
      child.watch(Number.POSITIVE_INFINITY, program)
      ear.told = undefined
    })
    for (const promise of [whole, cut, outcome]) promise.catch(() => {})
    child.write(Buffer.from(programText({ argv, input, words }), 'latin1'))

    /** Gives what comes before a word, which it takes, too; false when the output ended before. */
    async function* upTo(word: Buffer): AsyncGenerator<Buffer, boolean> {
      for (;;) {
        const at = rest.indexOf(word)
        const ready = rest.subarray(0, at === -1 ? rest.length - beginningOf(word, rest) : at)
        rest = rest.subarray(ready.length)
        if (ready.length > 0) yield ready
        if (at !== -1) break
        const next = await iterator.next()
        if (next.done === true) return false
        rest = rest.length === 0 ? next.value : Buffer.concat([rest, next.value])
      }
      rest = rest.subarray(word.length)
      return true
    }
    async function* stdout(): AsyncIterable<Buffer> {
      let noiseBytes = 0
      for await (const noise of upTo(words.begin)) {
        // Of a program before, which was to leave nothing running.
        isClean = false
        noiseBytes += noise.length
        if (noiseBytes > noiseBytesMax) child.fail(badStart(label))
      }
      if (yield* upTo(words.frame)) {
        if (rest.length > 0) isClean = false
        framed.resolve()
      }
      // An output that ends since the connection broke must not look complete.
      await outcome
    }
    return {
      stdout: stdout(),
      outcome,
      async [Symbol.asyncDispose]() {
        if (ear.told !== told) return
        child.fail(new VmlError('cancelled', `Ended ${program} before it was done`))
        await child[Symbol.asyncDispose]()
      },
    }
  }

  let isUp = true
  async function untilEnd(): Promise<void> {
    await child.outcome.catch(() => {})
    isUp = false
  }
  return {
    start,
    isFree: () => isUp && isClean && ear.told === undefined,
    ended: untilEnd(),
    close: async () => await child[Symbol.asyncDispose](),
  }
}

interface ProgramWords {
  /** Before the output. */
  readonly begin: Buffer
  /** Before the status, on standard error. */
  readonly status: string
  /** Behind the output. */
  readonly frame: Buffer
}

/**
 * What a POSIX shell runs as one command. The shell's own input is never the program's: that comes from a builtin, so it is in no
 * process list and, unlike a here-document, in no file, for which a full disk has no room.
 */
function programText(program: {
  readonly argv: readonly string[]
  readonly input: Buffer
  readonly words: ProgramWords
}): string {
  const { argv, input, words } = program
  const run = `(printf '${words.begin.toString('latin1')}';${execScript(argv)})`
  const end = `${statusMark(words.status)};printf '${words.frame.toString('latin1')}'`
  return input.length === 0
    ? `${run} </dev/null;${end}\n`
    : `printf "${octal(input.toString('latin1'))}" 2>/dev/null | ${run};${end}\n`
}

/** Standard error up to the status, of which the end is kept. */
function readSaid(nonce: string): {
  readonly status: Promise<ShellOutcome>
  readonly told: (chunk: Buffer) => void
} {
  const { promise, resolve } = Promise.withResolvers<ShellOutcome>()
  let said: Buffer = Buffer.alloc(0)
  return {
    status: promise,
    told(chunk) {
      said = Buffer.concat([said, chunk])
      const outcome = readStatus(said, nonce)
      if (outcome) resolve({ ...outcome, stderr: outcome.stderr.subarray(-stderrBytesMax) })
      else if (said.length > 2 * stderrBytesMax) said = said.subarray(-stderrBytesMax)
    },
  }
}

/** How many bytes at the end of `bytes` may be the beginning of `word`. */
function beginningOf(word: Buffer, bytes: Buffer): number {
  for (let length = Math.min(word.length - 1, bytes.length); length > 0; length--)
    if (bytes.compare(word, 0, length, bytes.length - length) === 0) return length
  return 0
}
