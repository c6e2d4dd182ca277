// A machine of the configuration, ready to be asked: shell, files, facts and package managers put together.
import { openPackageManagers } from '../packages/all.ts'
import { readFacts } from '../source/facts.ts'
import { findRealPaths } from '../source/real-paths.ts'
import { openShellSource } from '../source/shell-source.ts'
import type { OpenMachine } from '../engine/save.ts'
import type { Machine } from '../model/machine.ts'
import type { Shell } from '../wire/shell.ts'
import type { Config } from './config.ts'
import { ownPaths } from './own-paths.ts'

export interface MachineContext {
  readonly config: Config
  readonly signal: AbortSignal
  openShell(machine: Machine): Promise<Shell>
}

/** Asks the machine for its tools and facts. What was opened is closed with it. */
export async function openMachine(
  context: MachineContext,
  machine: Machine,
): Promise<OpenMachine & AsyncDisposable> {
  const shell = await context.openShell(machine)
  const source = await openShellSource(shell, { signal: context.signal })
  const told = await readFacts(shell, { signal: context.signal })
  // Entries and restores go by real names: a home behind a link would be a link to them.
  const [home = told.user.home] = await findRealPaths(shell, [told.user.home], context.signal)
  const facts = { ...told, user: { ...told.user, home } }
  return {
    machine,
    shell,
    source,
    facts,
    packageManagers: openPackageManagers(),
    ownPaths: machine.address.kind === 'local' ? ownPaths(context.config) : [],
    async [Symbol.asyncDispose]() {
      await source[Symbol.asyncDispose]()
    },
  }
}
