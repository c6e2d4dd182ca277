// Makes calls of dpkg again that were made in a stage, on the system itself: the same words, folder, environment and input.
import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { constants } from 'node:os'
import { VmlError } from '../base/failure.ts'
import { rawToUtf8, type RawText } from '../base/raw-text.ts'
import { inheritedDescriptors, stdioWith } from '../wire/inherited-descriptors.ts'
import type { KeptCall } from './hook-calls.ts'

export interface RedoRequest {
  /** The folder of the open stage, in which the calls are kept. */
  readonly stage: string
  readonly calls: readonly KeptCall[]
  readonly dpkg: string
}

/** What is written by `export -p` of the shell that kept the call is read by the same one. */
const script = `environment=$1 folder=$2 dpkg=$3
shift 3
. "$environment"
cd "$folder" 2>/dev/null || cd /
exec "$dpkg" "$@"`

/**
 * In their order, until one fails; the status of the last one, as a shell says it. They have all the descriptors that this process was
 * started with: apt reads dpkg's progress through one of them.
 */
export async function redoCalls({ stage, calls, dpkg }: RedoRequest): Promise<number> {
  const descriptors = inheritedDescriptors()
  for (const call of calls) {
    const status = await redoCall(call, { stage, dpkg, descriptors })
    if (status !== 0) return status
  }
  return 0
}

async function redoCall(
  { number, argv, folder, inputFile }: KeptCall,
  { stage, dpkg, descriptors }: { stage: string; dpkg: string; descriptors: readonly number[] },
): Promise<number> {
  const environment = `${stage}/calls/${String(number).padStart(4, '0')}/environment`
  const words = withoutClosed([folder, ...argv].map(wordOf), descriptors)
  const input = inputFile === undefined ? 0 : openSync(inputFile, 'r')
  // A signal of the terminal is dpkg's, too: this process waits for what dpkg makes of it.
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const
  const stay = () => {}
  for (const signal of signals) process.on(signal, stay)
  try {
    const child = spawn(
      '/bin/sh',
      ['-c', script, 'sh', environment, words[0] ?? '/', dpkg, ...words.slice(1)],
      {
        stdio: stdioWith([input, 1, 2], descriptors),
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      },
    )
    const ended = Promise.withResolvers<number>()
    child.once('error', ended.reject)
    child.once('exit', (status, signal) =>
      ended.resolve(signal === null ? (status ?? 1) : 128 + constants.signals[signal]),
    )
    return await ended.promise
  } finally {
    for (const signal of signals) process.off(signal, stay)
    if (input !== 0) closeSync(input)
  }
}

/** Node gives words as UTF-8. */
function wordOf(word: RawText): string {
  const text = rawToUtf8(word)
  if (text !== undefined) return text
  throw new VmlError('unsupported', 'Cannot repeat what dpkg was told: a word of it is no UTF-8')
}

/** After apt has ended its work, nobody reads dpkg's progress any more, and dpkg refuses a descriptor that is not open. */
function withoutClosed(words: readonly string[], descriptors: readonly number[]): string[] {
  const kept: string[] = []
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    const [, inWord] = /^--status-fd(?:=(\d+))?$/.exec(word) ?? [undefined, undefined]
    const isStatus = /^--status-fd(?:=\d+)?$/.test(word)
    const given = Number(inWord ?? words[at + 1])
    if (!isStatus || given <= 2 || descriptors.includes(given)) kept.push(word)
    else if (inWord === undefined) at++
  }
  return kept
}
