// The shell of this host.
import { startChild } from './child-process.ts'
import { runToEnd } from './collect-output.ts'
import { execScript } from './quote.ts'
import type { Shell, ShellProcess, ShellRequest } from './shell.ts'

/**
 * Programs run in the C locale. A program that is not there ends with status 127, as over ssh. Node passes words
 * as UTF-8, so `sh` stands between: it makes the bytes, then becomes the program.
 */
export function openLocalShell(): Shell {
  const label = 'this host'
  // oxlint-disable-next-line typescript/require-await -- a failure to start is a rejection, as over ssh
  async function start({ argv, ...request }: ShellRequest): Promise<ShellProcess> {
    return startChild({
      ...request,
      command: ['/bin/sh', '-c', `LC_ALL=C;export LC_ALL;${execScript(argv)}`],
      label: `"${argv[0] ?? ''}" on ${label}`,
    })
  }
  return {
    label,
    start,
    run: (request) => runToEnd(start, label, request),
    async [Symbol.asyncDispose]() {},
  }
}
