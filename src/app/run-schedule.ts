// Carries out the steps that install or remove a timer.
import { execFile } from 'node:child_process'
import { mkdir, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { VmlError } from '../base/failure.ts'
import { writeFileDurable } from '../base/files.ts'
import type { ScheduleStep } from './schedule.ts'

const execute = promisify(execFile)
/** A manager that does not answer would hold the command for ever. */
const programMsMax = 60_000

/**
 * In order; what was done stays where a later step fails, and the steps can be repeated. Returns what optional programs complained of.
 */
export async function runSchedule(
  steps: readonly ScheduleStep[],
  signal: AbortSignal,
): Promise<readonly string[]> {
  const complaints: string[] = []
  for (const step of steps) {
    signal.throwIfAborted()
    if (step.kind === 'write') {
      await mkdir(dirname(step.path), { recursive: true })
      // No secret stands in it, and a manager of the system may run as somebody else.
      await writeFileDurable(step.path, Buffer.from(step.content, step.encoding), { mode: 0o644 })
    } else if (step.kind === 'remove') await rm(step.path, { force: true })
    else {
      const complaint = await runProgram(step, signal)
      if (complaint !== undefined) complaints.push(complaint)
    }
  }
  return complaints
}

async function runProgram(
  { argv: [program = '', ...words], optional }: Extract<ScheduleStep, { kind: 'run' }>,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    await execute(program, words, { timeout: programMsMax, signal })
    return undefined
  } catch (error) {
    signal.throwIfAborted()
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : ''
    const what = `${program} ${words.join(' ')} failed${said === '' ? '' : `: ${said.slice(0, 500)}`}`
    if (optional) return what
    throw new VmlError('failed', `Cannot have a timer call VML: ${what}`, {
      cause: error,
      hint: 'Its files are written. Correct what keeps that program from working, and run this command again; or call vml policy run --all --yes from a timer of your own',
    })
  }
}
