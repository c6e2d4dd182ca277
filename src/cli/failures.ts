// What a person or a program is told when something fails: what happened, what was left unchanged, what to do next.
import { appendFile, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { explainDenied } from '../base/denied.ts'
import { exitStatus, messageOf, systemErrorCode, VmlError } from '../base/failure.ts'
import { makePrivateFolder } from '../base/files.ts'
import { printableLines, toJson } from './output.ts'
import type { Style } from './style.ts'

const logBytesMax = 1024 * 1024

/**
 * Failures of the system that are nobody's defect, and what was cancelled, in the words of the table; all else as it is.
 * `known` is what the command says of that.
 */
export function foreseen(error: unknown, signal: AbortSignal, known?: string): unknown {
  const ended = signal.aborted && signal.reason instanceof VmlError ? signal.reason : undefined
  // What was cancelled may say more of it than that.
  const saysMore = error instanceof VmlError && (error.code !== 'cancelled' || error.hint !== undefined)
  if (ended && !saysMore) return ended.code === 'cancelled' ? cancelled(known) : ended
  if (error instanceof VmlError) return error
  const code = systemErrorCode(error)
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new VmlError('unavailable.space', `No space left: ${messageOf(error)}`, {
      hint: 'Free some space, then repeat: what was already stored is found again',
      cause: error,
    })
  const denied = explainDenied(error)
  if (denied) return denied
  if (code === 'EFBIG')
    return new VmlError('failed', `A file would be larger than it may be here: ${messageOf(error)}`, {
      hint: 'See ulimit -f, and what the file system can hold; then repeat',
      cause: error,
    })
  if (code === 'EIO' || code === 'EMFILE')
    return new VmlError('failed', `The system refused: ${messageOf(error)}`, { cause: error })
  return error
}

/** The result is what is lost then, and nothing else: no word of what is stored. */
export function outputFailed(error: Error): Error {
  const code = systemErrorCode(error)
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error
  return new VmlError('unavailable.space', `No space left for the output: ${messageOf(error)}`, {
    hint: 'It is not whole. Free some space where it goes, or write it to another place',
    cause: error,
  })
}

/** What is known of every command: an entry is there when all of it is. Of a damaged logbook nobody may say more. */
const alwaysKnown = 'no entry is half written, and what was already stored is found again'

export function cancelled(known = alwaysKnown): VmlError {
  return new VmlError('cancelled', `Cancelled: ${known}`)
}

/** Prints on standard error; returns the exit status. */
export async function reportFailure(
  error: unknown,
  options: { json: boolean; style: Style; print: (text: string) => void; stateFolder: string | undefined },
): Promise<number> {
  const { json, style, print } = options
  const status = exitStatus(error)
  if (error instanceof VmlError) {
    const message = printableLines(error.message)
    const hint = error.hint === undefined ? undefined : printableLines(error.hint)
    if (json) {
      const { code } = error
      print(
        `${toJson({ message_type: 'exit_error', code: status, failure: code, message, hint, details: error.details })}\n`,
      )
    } else {
      print(`${style.red('vml:')} ${message.replaceAll('\n', '\n     ')}\n`)
      if (hint !== undefined) print(`     ${hint.replaceAll('\n', '\n     ')}\n`)
    }
    return status
  }
  const log = await logDefect(error, options.stateFolder)
  const message = `A defect of VML: ${printableLines(messageOf(error))}`
  const hint = log === undefined ? undefined : `The stack is in ${log}; please report it`
  if (json)
    print(`${toJson({ message_type: 'exit_error', code: status, failure: 'defect', message, hint })}\n`)
  else print(`${style.red('vml:')} ${message}\n${hint === undefined ? '' : `     ${hint}\n`}`)
  return status
}

async function logDefect(error: unknown, folder: string | undefined): Promise<string | undefined> {
  if (folder === undefined) return undefined
  const path = join(folder, 'vml.log')
  try {
    await makePrivateFolder(folder)
    const info = await stat(path).catch(() => undefined)
    if (info && info.size > logBytesMax) await rename(path, `${path}.old`)
    await appendFile(path, `${new Date().toISOString()} defect ${stackOf(error)}\n`, { mode: 0o600 })
    return path
  } catch {
    return undefined // The failure itself is still printed.
  }
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined ? '' : `\ncaused by ${stackOf(error.cause)}`
  return (error.stack ?? error.message) + cause
}
