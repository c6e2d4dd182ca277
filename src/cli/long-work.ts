// A command of which the work tells of its progress: under --json its document is the `summary` behind those lines, and one line itself.
import type { Command } from './command.ts'
import type { Output } from './output.ts'

export function longWork(command: Command): Command {
  return {
    ...command,
    run: async (context, operands, typed) =>
      await command.run({ ...context, out: endingInSummary(context.out) }, operands, typed),
  }
}

function endingInSummary(out: Output): Output {
  return {
    ...out,
    document: (value) => out.message({ message_type: 'summary', ...(value as Record<string, unknown>) }),
  }
}
