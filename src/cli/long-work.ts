// A command of which the work tells of its progress: under --json its document is the `summary` behind those lines, and one line itself.
import type { Command } from './command.ts'
import type { Output } from './output.ts'

const made = new WeakMap<Command, Command>()

/** The same for the same command, however often it is loaded. */
export function longWork(command: Command): Command {
  const known = made.get(command)
  if (known) return known
  const long: Command = {
    ...command,
    run: async (context, operands, typed) =>
      await command.run({ ...context, out: endingInSummary(context.out) }, operands, typed),
  }
  made.set(command, long)
  return long
}

function endingInSummary(out: Output): Output {
  return {
    ...out,
    document: (value) => out.message({ message_type: 'summary', ...(value as Record<string, unknown>) }),
  }
}
