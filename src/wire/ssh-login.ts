// The time that a log-in over ssh may take, and what becomes of an ssh that does not come that far.
import { systemErrorCode, VmlError } from '../base/failure.ts'
import type { Child } from './child-process.ts'
import { connectTimeoutSDefault, type SshOptions } from './ssh-client.ts'

/** For all of the log-in, beyond what the connection itself may take. */
const loginTimeoutMs = 30_000

/** Waits for `loggedIn`, which hears from `ssh`; where it fails or takes too long, `ssh` is ended. `label` is `user@host:port`. */
export async function awaitLogin<T>(
  ssh: Child,
  { options, label }: { readonly options: SshOptions; readonly label: string },
  loggedIn: () => Promise<T>,
): Promise<T> {
  const limitMs = (options.connectTimeoutS ?? connectTimeoutSDefault) * 1000 + loginTimeoutMs
  const timer = setTimeout(
    () => ssh.fail(new VmlError('unavailable.timeout', `No log-in on ${label} within ${limitMs} ms`)),
    limitMs,
  )
  try {
    return await loggedIn()
  } catch (error) {
    await ssh[Symbol.asyncDispose]()
    if (systemErrorCode(error) !== 'ENOENT') throw error
    throw new VmlError('unsupported', 'Cannot run ssh: it is not installed', {
      cause: error,
      hint: 'Install the OpenSSH client',
    })
  } finally {
    clearTimeout(timer)
  }
}
