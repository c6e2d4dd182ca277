// Runs a command in the open stage, and finds who is in it.
import { spawn, type StdioOptions } from 'node:child_process'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { VmlError, systemErrorCode } from '../base/failure.ts'
import { printable, rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import { parseMountRows } from '../wire/mount-table.ts'
import type { StageFolder } from './stage-folder.ts'

export interface StageRun {
  readonly folder: StageFolder
  /** Program and words, as text of this host. */
  readonly command: readonly string[]
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly workingFolder?: string
  readonly stdio: StdioOptions
  /** Ends the command as SIGTERM does; one that does not end is killed after a while. */
  readonly signal?: AbortSignal | undefined
  /** Signals to this process that are the command's instead: of a terminal, both have them, and this one waits for the command. */
  readonly forward?: readonly NodeJS.Signals[]
  /** Told of the process once, for who wants to read its pipes. */
  readonly onStart?: (child: ReturnType<typeof spawn>) => void
}

/** As a shell says it: 128 and the number of the signal that ended it. */
export interface StageOutcome {
  readonly status: number
  readonly signal?: NodeJS.Signals
}

const refusalBytesMax = 4096
const killAfterMs = 10_000

/** Fails with `unsupported` where the stage cannot be entered: then nothing was run. */
export async function runInStage(run: StageRun): Promise<StageOutcome> {
  const { folder, signal, forward = [] } = run
  signal?.throwIfAborted()
  const enter = rawToBytes(folder.enter).toString('utf8')
  // The script removes it when it begins: what stands there in the end is why nothing was run, whatever the status.
  writeFileSync(rawToBytes(folder.refusal), 'a mount namespace cannot be had\n')
  const child = spawn('unshare', ['-m', '--propagation', 'private', '/bin/sh', enter, ...run.command], {
    stdio: run.stdio,
    env: { ...run.environment },
    ...(run.workingFolder === undefined ? {} : { cwd: run.workingFolder }),
  })
  const pass = (name: NodeJS.Signals) => void child.kill(name)
  let killing: NodeJS.Timeout | undefined
  const onAbort = () => {
    child.kill('SIGTERM')
    killing = setTimeout(() => child.kill('SIGKILL'), killAfterMs)
  }
  const ended = Promise.withResolvers<StageOutcome>()
  child.once('error', ended.reject)
  child.once('close', (status, name) => {
    ended.resolve(
      name === null ? { status: status ?? 1 } : { status: 128 + constants.signals[name], signal: name },
    )
  })
  for (const name of forward) process.on(name, pass)
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    run.onStart?.(child)
    const outcome = await ended.promise
    const refusal = refusalOf(folder)
    if (refusal !== undefined)
      throw new VmlError('unsupported', `Cannot enter the stage: ${refusal}`, {
        hint: 'Nothing was run. Where no stage can be had, the same can be recorded live',
      })
    signal?.throwIfAborted()
    return outcome
  } finally {
    clearTimeout(killing)
    signal?.removeEventListener('abort', onAbort)
    for (const name of forward) process.off(name, pass)
  }
}

function refusalOf({ refusal }: StageFolder): string | undefined {
  try {
    const bytes = readFileSync(rawToBytes(refusal)).subarray(0, refusalBytesMax)
    return printable(rawFromBytes(bytes)).replace(/(?:\\n)+$/, '')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/**
 * Processes of which the root is the stage of that token: as long as there is one, it may still write there, and what is read of the change set can be wrong.
 */
export function processesInStage(token: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => isIn(name, token))
    .map(Number)
}

function isIn(name: string, token: string): boolean {
  try {
    const table = readFileSync(`/proc/${name}/mountinfo`)
    // Most have nothing of it: no need to read those line by line.
    if (!table.includes(`vml-${token}`)) return false
    return parseMountRows(rawFromBytes(table)).some(
      ({ source, type }) => source === `vml-${token}` && type === 'overlay',
    )
  } catch {
    // It has ended, or is a kernel's.
    return false
  }
}
