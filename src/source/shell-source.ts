// The files of a machine behind a shell, with nothing but the tools that the machine has.
import type { Shell } from '../wire/shell.ts'
import { readClock } from './clock.ts'
import { digestFiles } from './digest.ts'
import { fidelityOf, probeTools } from './probe.ts'
import { readFiles } from './read.ts'
import { removeFiles } from './remove.ts'
import { scanFiles } from './scan.ts'
import type { Source } from './source.ts'
import { statFiles } from './stat.ts'
import { writeFiles } from './write.ts'

/**
 * Asks for the machine's tools, then works with them. Fails with `unsupported` where there is no usable find, stat,
 * xargs or tar. The source does not own the shell: who opened the shell ends it.
 */
export async function openShellSource(
  shell: Shell,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<Source> {
  const tools = await probeTools(shell, options.signal)
  return {
    fidelity: fidelityOf(tools),
    clockNs: (signal) => readClock(shell, tools, signal),
    scan: (request) => scanFiles(shell, tools, request),
    stat: (paths, signal) => statFiles(shell, tools, paths, signal),
    read: (paths, signal) => readFiles(shell, tools, paths, signal),
    digest: (paths, signal) => digestFiles(shell, tools, paths, signal),
    remove: (paths, signal) => removeFiles(shell, paths, signal),
    write: (items, parents, signal) => writeFiles(shell, tools, { items, parents, signal }),
    async [Symbol.asyncDispose]() {},
  }
}
