// A shell on a machine: this host's own, or the system's OpenSSH with the user's configuration.
import { VmlError } from '../base/failure.ts'
import type { Machine } from '../model/machine.ts'
import type { Shell } from '../wire/shell.ts'
import type { Config } from './config.ts'

export interface OpenShellOptions {
  readonly signal?: AbortSignal | undefined
  /** Asks a person, and fails for a no; undefined without a terminal: an unknown host key is then refused. */
  readonly askPerson: ((question: string) => Promise<void>) | undefined
}

export async function openShell(config: Config, machine: Machine, options: OpenShellOptions): Promise<Shell> {
  const { signal } = options
  signal?.throwIfAborted()
  const { address } = machine
  if (address.kind === 'local') {
    const { openLocalShell } = await import('../wire/local-shell.ts')
    return openLocalShell()
  }
  const { openSshShell } = await import('../wire/ssh.ts')
  const request = {
    address,
    options: config.sshConfig === undefined ? {} : { configFile: config.sshConfig.value },
    ...(signal ? { signal } : {}),
  }
  try {
    return await openSshShell(request)
  } catch (error) {
    const key = unknownKey(error)
    if (!key || !options.askPerson) throw error
    await options.askPerson(
      `The key of ${address.host} is not known: ${key.fingerprint}. Compare it. Trust it?`,
    )
    const { trustHostKey } = await import('../wire/host-key.ts')
    await trustHostKey(key.keyLine)
    return await openSshShell(request)
  }
}

function unknownKey(error: unknown): { readonly fingerprint: string; readonly keyLine: string } | undefined {
  if (!(error instanceof VmlError) || error.details['reason'] !== 'host-key-unknown') return undefined
  const { fingerprint, keyLine } = error.details
  return typeof keyLine === 'string' && typeof fingerprint === 'string' ? { fingerprint, keyLine } : undefined
}
