// Runs what belongs to the user of a machine (start files, hooks): it may be slow, talk too much or never end.
import { isFailure } from '../base/failure.ts'
import type { Shell } from '../wire/shell.ts'

export interface BoundedOutcome {
  /** Undefined when it was ended because of a limit. */
  readonly status: number | undefined
  readonly stdout: Buffer
  /** Which limit ended it. */
  readonly limit?: 'time' | 'output'
}

/** What it printed within the limits; whoever exceeds one is ended. */
export async function runBounded(
  shell: Shell,
  request: {
    readonly argv: readonly string[]
    readonly timeoutMs: number
    readonly outputBytesMax: number
    readonly signal?: AbortSignal | undefined
  },
): Promise<BoundedOutcome> {
  const { argv, timeoutMs, outputBytesMax, signal } = request
  const timer = AbortSignal.timeout(timeoutMs)
  const chunks: Buffer[] = []
  let bytes = 0
  const collected = (): Buffer => Buffer.concat(chunks).subarray(0, outputBytesMax)
  try {
    await using process = await shell.start({
      argv,
      idleTimeoutMs: timeoutMs * 2,
      signal: signal ? AbortSignal.any([signal, timer]) : timer,
    })
    for await (const chunk of process.stdout) {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes > outputBytesMax) return { status: undefined, stdout: collected(), limit: 'output' }
    }
    const { status } = await process.outcome
    return { status, stdout: collected() }
  } catch (error) {
    if (signal?.aborted === true || !timer.aborted || !isFailure(error, 'cancelled', 'unavailable.timeout'))
      throw error
    return { status: undefined, stdout: collected(), limit: 'time' }
  }
}
