// Asks a machine many things at once, since over ssh each question is a way there and back: each part has limits of its own, and none can hold up, cut off or imitate another.
import { VmlError } from '../base/failure.ts'
import type { RawPath } from '../model/raw-path.ts'
import { singleQuoted } from '../wire/quote.ts'
import type { Shell } from '../wire/shell.ts'
import { commandFailure, freshNonce, protocolFailure } from './guest-script.ts'
import { rawToBytes, type RawText } from '../base/raw-text.ts'

export interface GuestPart {
  /** POSIX sh, run by a shell of its own with nothing on standard input. */
  readonly script: string
  /** `$1`, `$2`, … of the script: bytes. They stand in the process list. */
  readonly words?: readonly string[]
  readonly timeoutMs: number
  readonly outputBytesMax: number
  /** Passed over (`skipped`) unless this is a regular file that can be read. */
  readonly onlyIf?: RawPath
}

export interface PartOutcome {
  /** Undefined when it was passed over, or ended because of a limit. */
  readonly status: number | undefined
  /** What it printed within the limits. */
  readonly stdout: Buffer
  /** Which limit ended it. */
  readonly limit?: 'time' | 'output'
  readonly skipped?: boolean
}

export interface PartsRun extends AsyncDisposable {
  /** In the order of the parts; each settles as soon as its part has ended. A lost connection rejects what is left. */
  readonly outcomes: readonly Promise<PartOutcome>[]
}

/** Beyond the limits of a part, for the machine to end it. */
const graceMs = 15_000
/** From the last answer to the end of the session. */
const endsByItselfMs = 2000
/** Between asking a part to end and ending it. */
const killAfterS = 2
/** After the output of a part: what is said of its end, and room to tell one byte too many. */
const trailerBytes = 128
/** Of a shell that SIGKILL ended. */
const killedStatus = 128 + 9

/** Runs the parts one after the other. Disposing ends what still runs, with everything that it started. */
export function startParts(
  shell: Shell,
  parts: readonly GuestPart[],
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): PartsRun {
  const settlers = parts.map(() => Promise.withResolvers<PartOutcome>())
  for (const { promise } of settlers) promise.catch(() => {})
  const stop = new AbortController()
  let left = parts.length
  const running = readParts(shell, parts, {
    signal: signal ? AbortSignal.any([signal, stop.signal]) : stop.signal,
    settle: (index, outcome) => {
      left--
      settlers[index]?.resolve(outcome)
    },
  }).catch((error: unknown) => {
    for (const { reject } of settlers) reject(error)
  })
  return {
    outcomes: settlers.map(({ promise }) => promise),
    async [Symbol.asyncDispose]() {
      const end = () => stop.abort(new VmlError('cancelled', `Stopped asking ${shell.label}`))
      // After its last answer the session ends by itself, which spares one that would end it.
      const timer = setTimeout(end, left > 0 ? 0 : endsByItselfMs)
      await running
      clearTimeout(timer)
    },
  }
}

export async function runParts(
  shell: Shell,
  parts: readonly GuestPart[],
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<PartOutcome[]> {
  await using run = startParts(shell, parts, options)
  return await Promise.all(run.outcomes)
}

/** What a part answered; a part that failed or was late is a failure. `doing` completes "Cannot …". */
export function endedPart(shell: Shell, doing: string, { status, stdout, limit }: PartOutcome): Buffer {
  if (status === 0) return stdout
  if (limit === 'time')
    throw new VmlError(
      'unavailable.timeout',
      `Cannot ${doing} on ${shell.label}: it did not answer in time`,
      {
        hint: 'See whether a file system of the machine does not answer, then run the command again',
      },
    )
  if (limit === 'output') throw protocolFailure(shell, 'it says more than it was asked')
  throw commandFailure(shell, doing, { status: status ?? 0, stderr: Buffer.alloc(0) })
}

async function readParts(
  shell: Shell,
  parts: readonly GuestPart[],
  {
    signal,
    settle,
  }: { readonly signal: AbortSignal; readonly settle: (index: number, outcome: PartOutcome) => void },
): Promise<void> {
  if (parts.length === 0) return
  const words: PartWords = { frame: freshNonce(), mark: freshNonce() }
  await using process = await shell.start({
    // The script comes on standard input: there it may be long, and nobody sees its words in the process list.
    argv: ['sh', '-c', 'eval "$(cat)"'],
    stdin: [rawToBytes(partsScript(parts, words) as RawText)],
    idleTimeoutMs: Math.max(...parts.map(({ timeoutMs }) => timeoutMs)) + graceMs,
    // What a part leaves behind has none of the streams.
    endsWhole: true,
    signal,
  })
  let index = 0
  let late = false
  let kept: Buffer[] = []
  let keptBytes = 0
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of process.stdout) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    for (;;) {
      const part = parts[index]
      const at = rest.indexOf(words.frame)
      const end = at === -1 ? -1 : rest.indexOf(';', at)
      // What may be the beginning of a frame stays until more has come.
      const whole = at === -1 ? Math.max(0, rest.length - words.frame.length) : at
      if (end === -1 && whole === 0) break
      kept.push(rest.subarray(0, whole))
      keptBytes += whole
      rest = rest.subarray(whole)
      if (part === undefined || keptBytes > part.outputBytesMax + trailerBytes)
        throw protocolFailure(shell, 'it says more than it was asked')
      if (end === -1) break
      const said = rest.toString('latin1', words.frame.length, end - whole)
      rest = rest.subarray(end - whole + 1)
      const outcome = readOutcome(part, { said, mark: words.mark, content: Buffer.concat(kept) })
      if (outcome === undefined) throw protocolFailure(shell, 'it does not say how a question ended')
      late ||= outcome.limit === 'time'
      settle(index++, outcome)
      kept = []
      keptBytes = 0
    }
    // What did not end in time may hold the session open: it is ended with it.
    if (late && index === parts.length) return
  }
  const { status } = await process.outcome
  if (index < parts.length || status !== 0)
    throw protocolFailure(shell, `it stopped answering (status ${status})`)
}

interface PartWords {
  /** Ends each part. No part knows it, and what a part leaves behind writes nowhere that is read. */
  readonly frame: string
  /** Stands in the output of a part before what is said of its end: its status, or that it was late. */
  readonly mark: string
}

function readOutcome(
  part: GuestPart,
  { said, mark, content }: { readonly said: string; readonly mark: string; readonly content: Buffer },
): PartOutcome | undefined {
  if (said === 'skip') return { status: undefined, stdout: content, skipped: true }
  if (said !== '') return undefined
  const own: Buffer[] = []
  let status: number | undefined
  let late = false
  let from = 0
  for (;;) {
    const at = content.indexOf(mark, from)
    own.push(content.subarray(from, at === -1 ? undefined : at))
    if (at === -1) break
    const word = /^(late|\d{1,3});/.exec(content.toString('latin1', at + mark.length, at + mark.length + 5))
    if (word?.[1] === 'late') late = true
    else if (word) status = Number(word[1])
    from = at + mark.length + (word?.[0].length ?? 0)
  }
  const all = Buffer.concat(own)
  const stdout = all.subarray(0, part.outputBytesMax)
  if (all.length > part.outputBytesMax) return { status: undefined, stdout, limit: 'output' }
  if (late) return { status: undefined, stdout, limit: 'time' }
  // Without a word on its end, its shell was killed.
  return { status: status ?? killedStatus, stdout }
}

/**
 * A part writes into a pipe of its own, which `cat` reads and `head` bounds. When its time is over, `cat` is ended and the next
 * part begins: a program that cannot even be killed (its file system does not answer) is left behind. It works with any POSIX
 * shell, busybox's too, and needs no `timeout`.
 */
function partsScript(parts: readonly GuestPart[], words: PartWords): string {
  return [takeScript(words), ...parts.map((part) => partScript(part, words)), 'exit 0', ''].join('\n')
}

function partScript(
  { script, words: own = [], timeoutMs, outputBytesMax, onlyIf }: GuestPart,
  { frame, mark }: PartWords,
): string {
  // Its first line tells which process is to be ended.
  const program = ['sh', '-c', `echo $$\n${script}`, 'vml', ...own].map(singleQuoted).join(' ')
  const run =
    `{ { ${program} </dev/null 2>/dev/null; printf '${mark}%s;' "$?"; } & } 2>/dev/null |` +
    ` vml_take ${Math.ceil(timeoutMs / 1000)} | head -c ${outputBytesMax + trailerBytes}\nprintf '${frame};'`
  if (onlyIf === undefined) return run
  const path = singleQuoted(onlyIf)
  return `if [ -f ${path} ] && [ -r ${path} ]; then\n${run}\nelse\nprintf '${frame}skip;'\nfi`
}

// A shell gives background programs no standard input, hence the third file; and it tells of killed ones. The end may come before
// the number of the sleep is known, or before it has become one: until then it is a shell that catches TERM, and would forget it.
const takeScript = ({ mark }: PartWords): string => `
unset vml_program vml_reader vml_watch vml_sleep vml_ended
vml_take() {
  {
    read -r vml_program
    exec 3<&0
    cat <&3 &
    vml_reader=$!
    exec 3<&-
    (
      trap 'vml_ended=1; [ -z "$vml_sleep" ] || { kill -KILL "$vml_sleep"; exit 0; }' TERM
      sleep "$1" & vml_sleep=$!
      [ -z "$vml_ended" ] || { kill -KILL "$vml_sleep"; exit 0; }
      wait "$vml_sleep"
      kill -KILL "$vml_reader"
      kill -TERM "$vml_program"
      sleep ${killAfterS}
      kill -KILL "$vml_program"
    ) </dev/null >/dev/null &
    vml_watch=$!
    wait "$vml_reader"
    case $? in
      ${killedStatus}) printf '${mark}late;' ;;
      *) kill "$vml_watch" ;;
    esac
  } 2>/dev/null
}`
