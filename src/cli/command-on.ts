// How a command for a machine over ssh is written: numbers count from #1 there and here, so that a line without its name would be about this computer.
import { VmlError } from '../base/failure.ts'
import type { Context } from './command.ts'

/** What takes `--on`, with the numbers and options that follow. */
const commands = /\bvml tx (?:list|show|undo|redo)\b(?: (?:\d+|[\da-f]{8,64}|ID|--[a-z-]+)(?![\w-]))*/g

/** Every command of a text, for `machine`; undefined is this computer. */
export function textOn(text: string, machine: string | undefined): string {
  if (machine === undefined) return text
  return text.replace(commands, (line) => (line.includes(' --on') ? line : `${line} --on ${machine}`))
}

/** Whatever `work` warns of, or fails with, comes from layers that know nothing of `--on`. */
export async function workOn<Result>(
  context: Context,
  machine: string | undefined,
  work: (context: Context) => Promise<Result>,
): Promise<Result> {
  if (machine === undefined) return await work(context)
  const { reporter } = context
  try {
    return await work({
      ...context,
      reporter: {
        ...reporter,
        warn: (event) => reporter.warn({ ...event, warning: textOn(event.warning, machine) }),
      },
    })
  } catch (error) {
    throw error instanceof VmlError ? failureOn(error, machine) : error
  }
}

function failureOn(error: VmlError, machine: string): VmlError {
  const { code, message, details, hint } = error
  if (hint === undefined) return error
  return new VmlError(code, message, { details, hint: textOn(hint, machine), cause: error })
}
