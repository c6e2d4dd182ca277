// Reads the messages of GNU find and GNU tar in the C locale. They quote names, so that one message is one line.
import type { RawText } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import { safeMessage } from './guest-script.ts'

/** A message about a path, or about the tool itself. */
export interface ToolMessage {
  readonly path: RawPath | undefined
  /** What is wrong, safe to print. */
  readonly text: string
}

/** Only the end of standard error is kept; that much of it says that the beginning may be missing. */
const stderrKeptBytes = 64 * 1024

/** Messages of a program, in order; `complete` is false when earlier ones may have been lost. */
export function parseMessages(
  stderr: Uint8Array,
  program: 'find' | 'tar',
): { readonly messages: readonly ToolMessage[]; readonly complete: boolean } {
  const lines = Buffer.from(stderr).toString('latin1').split('\n')
  const complete = stderr.length < stderrKeptBytes
  if (!complete) lines.shift()
  const messages = lines
    .filter((line) => line !== '' && !line.endsWith('Exiting with failure status due to previous errors'))
    .map((line) => (program === 'find' ? parseFindMessage(line) : parseTarMessage(line)))
  return { messages, complete }
}

/** `find: 'PATH': TEXT`, the path with C escapes and `\'` (gnulib, locale quoting style in the C locale). */
function parseFindMessage(line: string): ToolMessage {
  const match = /^find: '((?:[^'\\]|\\.)*)': (.*)$/.exec(line)
  if (match?.[1] === undefined || match[2] === undefined) return plainMessage(line)
  return { path: absolutePath(unescapeC(match[1])), text: safeMessage(match[2] as RawText) }
}

/** `tar: PATH: TEXT`, the path with C escapes and `\:` (gnulib, escape quoting style), relative to the root. */
function parseTarMessage(line: string): ToolMessage {
  const match = /^tar: ((?:[^\\:]|\\.|:(?! ))*?): (.*)$/.exec(line)
  if (match?.[1] === undefined || match[2] === undefined) return plainMessage(line)
  const path = absolutePath(`/${unescapeC(match[1])}`)
  return { path, text: safeMessage(match[2] as RawText) }
}

function plainMessage(line: string): ToolMessage {
  return { path: undefined, text: safeMessage(line as RawText) }
}

function absolutePath(text: string): RawPath | undefined {
  return parseRawPath(text as RawText)
}

const escapes: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
}

function unescapeC(text: string): string {
  return text.replace(/\\([0-3][0-7]{2}|.)/gs, (_, code: string) =>
    code.length === 3 ? String.fromCharCode(Number.parseInt(code, 8)) : (escapes[code] ?? code),
  )
}
