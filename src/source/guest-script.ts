// Runs small POSIX sh scripts on a machine. Paths reach them as NUL-separated words on standard input, never as text of a script.
import { randomBytes } from 'node:crypto'
import { VmlError } from '../base/failure.ts'
import { printable, rawFromBytes, rawToBytes, type RawText } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Shell, ShellOutcome, ShellProcess } from '../wire/shell.ts'

export interface ScriptRequest {
  readonly script: string
  /** `$1`, `$2`, … of the script. Plain words only: they stand in the process list. */
  readonly words?: readonly string[]
  readonly stdin?: AsyncIterable<Uint8Array> | Iterable<Uint8Array>
  readonly idleTimeoutMs?: number
  readonly signal?: AbortSignal | undefined
}

/** `xargs` that passes as many words as fit, in one piece or not at all: longer lists fail (status 1). */
export const xargsAtOnce = 'xargs -0 -x -n 60000 -s 120000'
/** What may be fed to `xargsAtOnce`, with room for the program's own words. */
export const wordsAtOnceBytesMax = 110_000

/** Messages of the machine's tools that are kept for people. */
const messageCharactersMax = 300

/** What tools print is the same everywhere. Not for programs of the user's, whose environment this would change. */
export function plainScript(script: string): string {
  return `LC_ALL=C; export LC_ALL; TZ=UTC0; export TZ\n${script}`
}

export function scriptArgv({ script, words = [] }: ScriptRequest): string[] {
  return ['sh', '-c', plainScript(script), 'vml', ...words]
}

export function startScript(shell: Shell, request: ScriptRequest): Promise<ShellProcess> {
  const { script: _script, words: _words, ...rest } = request
  return shell.start({ ...rest, argv: scriptArgv(request), endsWhole: true })
}

/** Runs a script that answers briefly; fails with `remote.command` when its status is not 0. */
export async function runScript(
  shell: Shell,
  request: ScriptRequest & { readonly doing: string; readonly outputBytesMax?: number },
): Promise<Buffer> {
  const { script: _script, words: _words, doing, ...rest } = request
  const outcome = await shell.run({ ...rest, argv: scriptArgv(request), endsWhole: true })
  if (outcome.status !== 0) throw commandFailure(shell, doing, outcome)
  return outcome.stdout
}

/** `doing` completes "Cannot …". */
export function commandFailure(shell: Shell, doing: string, outcome: ShellOutcome): VmlError {
  const said = lastWords(outcome.stderr)
  return new VmlError(
    'remote.command',
    `Cannot ${doing} on ${shell.label}: its tools ended with status ${outcome.status}${said === '' ? '' : ` (${said})`}`,
    {
      details: { status: outcome.status },
      hint: 'See on the machine why its tools failed, then run the command again',
    },
  )
}

export function protocolFailure(shell: Shell, what: string, cause?: unknown): VmlError {
  return new VmlError('remote.protocol', `Cannot understand ${shell.label}: ${what}`, {
    cause,
    hint: 'Check that its find, stat and tar are the ones of the system, and that its shell start files print nothing',
  })
}

/** The end of what a tool said, safe to print. */
export function lastWords(stderr: Uint8Array): string {
  const lines = rawFromBytes(stderr)
    .split('\n')
    .filter((line) => line !== '')
  return safeMessage((lines.at(-1) ?? '') as RawText)
}

/** One message of a tool, bounded and safe to print. */
export function safeMessage(text: RawText): string {
  return printable(text.slice(0, messageCharactersMax) as RawText)
}

/** Words, each ended by NUL, in pieces of a useful size. */
export function* nulTerminated(words: Iterable<string>): Iterable<Buffer> {
  let text = ''
  for (const word of words) {
    text += `${word}\0`
    if (text.length > 32 * 1024) {
      yield rawToBytes(text as RawText)
      text = ''
    }
  }
  if (text !== '') yield rawToBytes(text as RawText)
}

/** A word that no file name on a machine can have been made to hold. */
export function freshNonce(): string {
  return `vml${randomBytes(16).toString('hex')}`
}

/** Cuts paths into runs of at most `countMax` paths and `bytesMax` bytes (at least one path each). */
export function* pathBatches(
  paths: readonly RawPath[],
  limits: { readonly countMax: number; readonly bytesMax: number },
): Iterable<RawPath[]> {
  let batch: RawPath[] = []
  let bytes = 0
  for (const path of paths) {
    if (batch.length >= limits.countMax || (batch.length > 0 && bytes + path.length > limits.bytesMax)) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(path)
    bytes += path.length + 1
  }
  if (batch.length > 0) yield batch
}
