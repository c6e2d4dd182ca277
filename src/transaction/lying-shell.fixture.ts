// A shell of a machine that prints what a test says, whatever it is asked to run.
import { runToEnd } from '../wire/collect-output.ts'
import type { Shell, ShellOutcome, ShellProcess } from '../wire/shell.ts'

export function lyingShell(says: string | (() => Iterable<Buffer>)): Shell {
  const label = 'liar'
  const start = (): Promise<ShellProcess> => {
    const outcome = Promise.withResolvers<ShellOutcome>()
    async function* output(): AsyncIterable<Buffer> {
      yield* typeof says === 'string' ? [Buffer.from(says, 'latin1')] : says()
      outcome.resolve({ status: 0, stderr: Buffer.alloc(0) })
    }
    return Promise.resolve({
      stdout: output(),
      outcome: outcome.promise,
      [Symbol.asyncDispose]: async () => {},
    })
  }
  return {
    label,
    start,
    run: async (request) => await runToEnd(start, label, request),
    [Symbol.asyncDispose]: async () => {},
  }
}
