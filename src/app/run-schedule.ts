// Carries out the steps that install or remove a timer.
import { execFile } from 'node:child_process'
import { lstatSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { writeFileDurable } from '../base/files.ts'
import { describeSystemError } from '../base/system-error.ts'
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
  instead = 'Call vml policy run --all --yes from a timer of your own',
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
      const complaint = await runProgram(step, signal, instead)
      if (complaint !== undefined) complaints.push(complaint)
    }
  }
  return complaints
}

/** Whether anything that these steps would remove is there. */
export function findsAnything(steps: readonly ScheduleStep[]): boolean {
  return steps.some((step) => step.kind === 'remove' && lstatSync(step.path, { throwIfNoEntry: false }))
}

async function runProgram(
  { argv: [program = '', ...words], optional }: Extract<ScheduleStep, { kind: 'run' }>,
  signal: AbortSignal,
  instead: string,
): Promise<string | undefined> {
  try {
    await execute(program, words, { timeout: programMsMax, signal })
    return undefined
  } catch (error) {
    signal.throwIfAborted()
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : ''
    const code = systemErrorCode(error)
    const why = said !== '' ? said.slice(0, 500) : code === undefined ? '' : describeSystemError(code)
    const what = `${program} ${words.join(' ')} failed${why === '' ? '' : `: ${why}`}`
    if (optional) return what
    throw new VmlError('failed', `Cannot have a timer call VML: ${what}`, {
      cause: error,
      hint: `Its files are written. Correct what keeps that program from working, and run this command again. ${instead}`,
    })
  }
}

/** What a manager that is not there, or knows of no such timer, says: then there is nothing to stop. */
export function isNothingToStop(complaint: string): boolean {
  return /connect to (the )?bus|no medium found|does not exist|not loaded|no such file|not been booted with systemd/i.test(
    complaint,
  )
}

/** Whether timers of a user run while nobody is logged in (loginctl(1), "enable-linger"); undefined where that cannot be told. */
export async function lingers(user: string, signal: AbortSignal): Promise<boolean | undefined> {
  try {
    const words = ['show-user', '--property=Linger', '--value', user]
    const { stdout } = await execute('loginctl', words, { timeout: programMsMax, signal })
    const said = stdout.trim()
    return said === 'yes' ? true : said === 'no' ? false : undefined
  } catch {
    signal.throwIfAborted()
    return undefined
  }
}
