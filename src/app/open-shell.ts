// A shell on a machine: this host's own, or OpenSSH with the user's configuration.
import type { Machine } from '../model/machine.ts'
import { openLocalShell } from '../wire/local-shell.ts'
import type { Shell } from '../wire/shell.ts'
import type { Config } from './config.ts'

export interface OpenShellOptions {
  readonly signal?: AbortSignal | undefined
  /** Asks a person to trust a key; fails without a terminal. */
  readonly confirm: (question: string) => Promise<void>
}

export async function openShell(
  _config: Config,
  machine: Machine,
  options: OpenShellOptions,
): Promise<Shell> {
  options.signal?.throwIfAborted()
  if (machine.address.kind === 'local') return openLocalShell()
  throw new TypeError('ssh is on its way')
}
