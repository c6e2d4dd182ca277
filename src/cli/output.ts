// Where results and messages go: data on standard output, messages on standard error, JSON where it was asked for.
import type { Writable } from 'node:stream'
import { printableText } from '../base/raw-text.ts'
import { plainStyle, type Style } from './style.ts'

export interface OutputOptions {
  readonly stdout: Writable
  readonly stderr: Writable
  readonly json: boolean
  readonly quiet: boolean
  readonly verbose: boolean
  /** Of standard output, and of standard error. */
  readonly color: { readonly stdout: boolean; readonly stderr: boolean }
  /** Columns of the terminal; undefined where standard output is none. */
  readonly width: number | undefined
}

/** Text given here must already be printable: names from machines go through `printable` first. */
export interface Output {
  readonly json: boolean
  readonly quiet: boolean
  readonly verbose: boolean
  readonly width: number | undefined
  /** For text on standard output. */
  readonly style: Style
  /** For text on standard error. */
  readonly noteStyle: Style
  /** A line of the result; nothing under --json. */
  line(text?: string): void
  /** The result of a query, as its one JSON document; nothing without --json. */
  document(value: unknown): void
  /** A line of the result on standard error, where standard output is that of a command that was run; nothing under --json. */
  aside(text: string): void
  /** A message of long work as a JSON line; nothing without --json. */
  message(
    value: { readonly message_type: 'status' | 'verbose_status' | 'error' | 'summary' } & Record<
      string,
      unknown
    >,
  ): void
  /** What a person should know, on standard error; nothing under --quiet or --json. */
  note(text: string): void
  /** The last word of long work: a line on standard error, or a JSON line of type `summary`. */
  summary(text: string, facts: Readonly<Record<string, unknown>>): void
  /** Raw bytes on standard output, in step with the reader. */
  bytes(chunk: Uint8Array): Promise<void>
  /** Called before anything else is printed, so that a progress bar can make room. */
  onPrint(clear: () => void): void
}

export function openOutput(options: OutputOptions): Output {
  const { stdout, stderr, json, quiet, verbose } = options
  let clear = nothing
  const print = (stream: Writable, text: string) => {
    clear()
    stream.write(text)
  }
  return {
    json,
    quiet,
    verbose,
    width: options.width,
    style: plainStyle(options.color.stdout),
    noteStyle: plainStyle(options.color.stderr),
    line: (text = '') => {
      if (!json) print(stdout, `${text}\n`)
    },
    aside: (text) => {
      if (!json) print(stderr, `${text}\n`)
    },
    document: (value) => {
      if (json) print(stdout, `${toJson(value, 2)}\n`)
    },
    message: (value) => {
      if (json) print(stdout, `${toJson(value)}\n`)
    },
    note: (text) => {
      if (!json && !quiet) print(stderr, `${text}\n`)
    },
    summary: (text, facts) => {
      if (json) print(stdout, `${toJson({ message_type: 'summary', ...facts })}\n`)
      else if (!quiet && text !== '') print(stderr, `${text}\n`)
    },
    bytes: async (chunk) => {
      clear()
      if (stdout.write(chunk)) return
      await new Promise<void>((resolve, reject) => {
        const settle = (error?: Error) => {
          stdout.off('drain', settle)
          stdout.off('close', settle)
          stdout.off('error', settle)
          if (error instanceof Error) reject(error)
          else resolve()
        }
        stdout.on('drain', settle)
        stdout.on('close', settle)
        stdout.on('error', settle)
      })
    },
    onPrint: (made) => {
      clear = made
    },
  }
}

function nothing(): void {}

/** The same for what is no result here, as a plan that is carried out at once: its lines are notes. */
export function asNotes(out: Output): Output {
  return { ...out, style: out.noteStyle, line: (text = '') => out.note(text) }
}

/** JSON with big integers as numbers where they fit and as text where not; dates as RFC 3339. */
export function toJson(value: unknown, indent?: number): string {
  return JSON.stringify(
    value,
    (_key, item: unknown) => {
      if (typeof item !== 'bigint') return item
      return item >= BigInt(Number.MIN_SAFE_INTEGER) && item <= BigInt(Number.MAX_SAFE_INTEGER)
        ? Number(item)
        : String(item)
    },
    indent,
  )
}

/** Text of another program or of a failure, made safe line by line. */
export function printableLines(text: string): string {
  return text
    .split('\n')
    .map((line) => printableText(line.replaceAll('\\', '\0')).replaceAll('\\x00', '\\'))
    .join('\n')
}
