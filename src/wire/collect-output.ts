// Runs a program to its end and keeps what it wrote, up to a limit.
import { VmlError } from '../base/failure.ts'
import type { Shell, ShellOutcome, ShellProcess, ShellRequest } from './shell.ts'

const outputBytesMaxDefault = 16 * 1024 * 1024

/** `Shell.run` on top of `Shell.start`. More output than the limit ends the program: `remote.protocol`. */
export async function runToEnd(
  start: (request: ShellRequest) => Promise<ShellProcess>,
  label: string,
  { outputBytesMax = outputBytesMaxDefault, ...request }: Parameters<Shell['run']>[0],
): Promise<ShellOutcome & { readonly stdout: Buffer }> {
  await using running = await start(request)
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of running.stdout) {
    length += chunk.length
    if (length > outputBytesMax)
      throw new VmlError(
        'remote.protocol',
        `Stopped "${request.argv[0] ?? ''}" on ${label}: it wrote more than ${outputBytesMax} bytes`,
      )
    chunks.push(chunk)
  }
  return { ...(await running.outcome), stdout: Buffer.concat(chunks) }
}
