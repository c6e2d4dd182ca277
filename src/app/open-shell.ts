// A shell on a machine: this host's own, or the system's OpenSSH with the user's configuration.
import assert from 'node:assert/strict'
import { VmlError } from '../base/failure.ts'
import type { Machine } from '../model/machine.ts'
import type { Shell } from '../wire/shell.ts'
import type { Config } from './config.ts'

export interface OpenShellOptions {
  readonly signal?: AbortSignal | undefined
  /** What comes of `connectTo` this machine, begun before. */
  readonly reached?: Promise<Shell> | undefined
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
  try {
    return await (options.reached ?? connectTo(config, address, signal))
  } catch (error) {
    const key = unknownKey(error)
    if (!key || !options.askPerson) throw error
    await options.askPerson(
      `The key of ${address.host} is not known: ${key.fingerprint}. Compare it. Trust it?`,
    )
    const { trustHostKey } = await import('../wire/host-key.ts')
    await trustHostKey(key.keyLine)
    return await connectTo(config, address, signal)
  }
}

/** By the system's OpenSSH; asks nobody. */
export async function connectTo(
  { sshConfig }: Config,
  address: Machine['address'],
  signal: AbortSignal | undefined,
): Promise<Shell> {
  assert(address.kind === 'ssh')
  const { openSshShell } = await import('../wire/ssh.ts')
  return await openSshShell({
    address,
    options: sshConfig === undefined ? {} : { configFile: sshConfig.value },
    isForScripts: true,
    ...(signal ? { signal } : {}),
  })
}

function unknownKey(error: unknown): { readonly fingerprint: string; readonly keyLine: string } | undefined {
  if (!(error instanceof VmlError) || error.details['reason'] !== 'host-key-unknown') return undefined
  const { fingerprint, keyLine } = error.details
  return typeof keyLine === 'string' && typeof fingerprint === 'string' ? { fingerprint, keyLine } : undefined
}
