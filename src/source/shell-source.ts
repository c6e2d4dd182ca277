// The files of a machine behind a shell, with nothing but the tools that the machine has.
import type { Shell } from '../wire/shell.ts'
import { readClock } from './clock.ts'
import { fidelityOf, probeTools } from './probe.ts'
import { scanFiles } from './scan.ts'
import type { Source } from './source.ts'
import { statFiles } from './stat.ts'

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
    // Loaded on use: most saves find nothing changed, and those of this host never come to it.
    async *read(paths, signal) {
      const { readFiles } = await import('./read.ts')
      yield* readFiles(shell, tools, paths, signal)
    },
    async *digest(paths, signal) {
      const { digestFiles } = await import('./digest.ts')
      yield* digestFiles(shell, tools, paths, signal)
    },
    async remove(paths, signal) {
      const { removeFiles } = await import('./remove.ts')
      return await removeFiles(shell, paths, signal)
    },
    async write(items, parents, signal) {
      const { writeFiles } = await import('./write.ts')
      return await writeFiles(shell, tools, { items, parents, signal })
    },
    async [Symbol.asyncDispose]() {},
  }
}
