// The hypervisor that `vml open` starts machines under, and root's way into one of its guests.
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import type { OpenMachine } from '../engine/save.ts'
import { hypervisors } from '../hypervisor/all.ts'
import type { Hypervisor, SshAccess } from '../hypervisor/hypervisor.ts'
import { openPackageManagers } from '../packages/all.ts'
import { readFacts } from '../source/facts.ts'
import { openShellSource } from '../source/shell-source.ts'
import { openSshShell } from '../wire/ssh.ts'
import type { Config } from './config.ts'

export function openHypervisor(config: Config, clock: Clock, id = 'qemu'): Hypervisor {
  const open = hypervisors.get(id)
  if (!open) throw new VmlError('unsupported', `Cannot use the hypervisor "${id}": VML has no driver for it`)
  const { accelerator } = config.open
  return open({ folder: join(config.folders.data, 'vms'), clock, accelerator })
}

/** Enters with the machine's own key and known hosts: nothing of the user's ssh takes part. */
export async function openGuest(
  name: string,
  access: SshAccess,
  user: string,
  signal?: AbortSignal,
): Promise<OpenMachine & AsyncDisposable> {
  const shell = await openSshShell(loginOf(access, user, signal))
  try {
    const source = await openShellSource(shell, { signal })
    // Nothing that an entry brought is run on the way in.
    const facts = await readFacts(shell, { hooks: false, signal })
    return {
      machine: { name, address: { kind: 'ssh', host: access.host, port: access.port, user } },
      shell,
      source,
      facts,
      packageManagers: openPackageManagers(),
      ownPaths: [],
      async [Symbol.asyncDispose]() {
        await source[Symbol.asyncDispose]()
        await shell[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await shell[Symbol.asyncDispose]()
    throw error
  }
}

/** A server that reads its configuration anew is away for a moment. */
const enterTriesMax = 20
const enterPauseMs = 500

/** Logs in and out again; fails with `remote.denied` when the guest does not let the user in. */
export async function enterGuest(
  { access, user, clock }: { access: SshAccess; user: string; clock: Clock },
  signal: AbortSignal,
): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await using _shell = await openSshShell(loginOf(access, user, signal))
      return
    } catch (error) {
      if (!isFailure(error, 'unavailable.network') || tries === enterTriesMax) throw error
      await clock.sleep(enterPauseMs, { signal })
    }
  }
}

function loginOf(
  access: SshAccess,
  user: string,
  signal: AbortSignal | undefined,
): Parameters<typeof openSshShell>[0] {
  return {
    address: { host: access.host, port: access.port, user },
    options: {
      identityFile: access.identityFile,
      knownHostsFile: access.knownHostsFile,
      hostKeyAlias: access.hostKeyAlias,
      strictHostKeyChecking: 'accept-new',
      configFile: 'none',
    },
    ...(signal ? { signal } : {}),
  }
}
