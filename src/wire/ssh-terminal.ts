// A program of a machine at this process's own standard streams: `ssh -t` where there is a terminal. On a connection of its own.
import { spawn, type StdioOptions } from 'node:child_process'
import { execScript } from './quote.ts'
import { aloneWords, option, type SshAddress, type SshOptions, sshProgram } from './ssh-client.ts'

export interface TerminalRun {
  readonly address: SshAddress
  readonly options: SshOptions
  /** Each word reaches the program as it is. */
  readonly argv: readonly string[]
  /** The program gets a terminal there, and its keys go there, ctrl-c too. */
  readonly terminal: boolean
  readonly stdio: StdioOptions
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Ends the connection, and so the program. */
  readonly signal?: AbortSignal | undefined
}

/** Settles when ssh has ended: its status is the program's, or 255 for a connection that was lost, which a program may have, too. */
export async function runAtTerminal(run: TerminalRun): Promise<number> {
  const { address, options, argv, terminal, stdio, environment, signal } = run
  signal?.throwIfAborted()
  const [program, ...words] = [
    ...sshProgram,
    // The first value of an option counts.
    ...option('RequestTTY', terminal ? 'force' : 'no'),
    ...(terminal ? option('LogLevel', 'QUIET') : []),
    ...aloneWords(address, options).slice(sshProgram.length),
    `exec sh -c '${execScript(argv)}'`,
  ]
  const child = spawn(program, words, { stdio, env: { ...environment } })
  const ended = Promise.withResolvers<number>()
  child.once('error', ended.reject)
  child.once('close', (status) => ended.resolve(status ?? 255))
  const onAbort = () => void child.kill('SIGTERM')
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    return await ended.promise
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}
