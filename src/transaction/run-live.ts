// `vml tx run --live -- COMMAND`: a command on the machine itself, and what it changed as one transaction.
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'
import type { TransactionParts } from './end-stage.ts'
import { beginLive, endLive } from './live-transaction.ts'
import type { StageRequest } from './open-stage.ts'
import { requireStillOpen, withStageLock } from './stage-lock.ts'
import type { CommandRun, RunOutcome } from './run-transaction.ts'

/** Whatever becomes of the command: what it changed is recorded. That is everything that changes on the machine meanwhile, whoever does it. */
export async function runLive(
  parts: TransactionParts,
  request: StageRequest,
  run: CommandRun,
  reason: string,
): Promise<RunOutcome> {
  const note = await beginLive(parts, request, reason)
  let exitStatus: number
  let failure: unknown
  try {
    exitStatus = await runHere(parts, run)
  } catch (error) {
    exitStatus = notStartedStatus
    failure = error
  }
  const end = await withStageLock(parts, async () => {
    requireStillOpen(parts, note)
    return await endLive(parts, note, { kind: 'command', result: { exitStatus, validations: [] } })
  })
  if (failure !== undefined) throw failure
  return end.kind === 'nothing' ? { kind: 'nothing', exitStatus } : { kind: 'recorded', exitStatus, end }
}

/** As a shell says it. */
const notStartedStatus = 127

/** Outside of any stage. As a shell says it: 128 and the signal's number. `failed` where it cannot be started. SIGTERM is passed on by `signal`. */
export async function runHere(
  { signal }: { readonly signal?: AbortSignal | undefined },
  { argv: [program = '', ...words], environment, workingFolder, stdio }: CommandRun,
): Promise<number> {
  const child = spawn(program, words, { stdio, env: { ...environment }, cwd: workingFolder })
  const pass = () => void child.kill('SIGTERM')
  signal?.addEventListener('abort', pass, { once: true })
  const ended = Promise.withResolvers<number>()
  child.once('error', (cause) =>
    ended.reject(
      new VmlError(
        'failed',
        `Cannot run "${printableText(program)}": ${systemErrorCode(cause) ?? cause.message}`,
        {
          cause,
        },
      ),
    ),
  )
  child.once('close', (status, name) =>
    ended.resolve(name === null ? (status ?? 1) : 128 + constants.signals[name]),
  )
  try {
    return await ended.promise
  } finally {
    signal?.removeEventListener('abort', pass)
  }
}
