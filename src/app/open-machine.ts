// A machine of the configuration, ready to be asked: shell, files, facts and package managers put together.
import { tmpdir } from 'node:os'
import { VmlError } from '../base/failure.ts'
import { openPackageManagers } from '../packages/all.ts'
import { askedAlready } from '../packages/asked-already.ts'
import { interviewMachine } from '../source/facts.ts'
import { openLocalSource } from '../source/local-source.ts'
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

/** Asks the machine for its tools, facts and packages, in two questions. What was opened is closed with it. */
export async function openMachine(
  context: MachineContext,
  machine: Machine,
): Promise<OpenMachine & AsyncDisposable> {
  const shell = await context.openShell(machine)
  const { signal } = context
  const managers = openPackageManagers()
  const also = managers.map(({ inquiry }) => inquiry)
  await using resources = new AsyncDisposableStack()
  const {
    facts: told,
    realHome,
    also: answers,
  } = resources.use(await interviewMachine(shell, { signal, also }))
  const asked = resources.use(await openShellSource(shell, { signal }))
  const source = readsItself(context.config, machine) ? openLocalSource(asked, tmpdir()) : asked
  // Entries and restores go by real names: a home behind a link would be a link to them.
  const facts = { ...told, user: { ...told.user, home: realHome } }
  const owned = resources.move()
  return {
    machine,
    shell,
    source,
    facts,
    packageManagers: askedAlready(managers, answers),
    ownPaths: machine.address.kind === 'local' ? ownPaths(context.config) : [],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** Begins to open a machine beside something else. Disposing closes it, and ends what is not done yet. */
export function openMachineAhead(
  context: MachineContext,
  machine: Machine,
): AsyncDisposable & { readonly opened: Promise<OpenMachine> } {
  const stop = new AbortController()
  const signal = AbortSignal.any([context.signal, stop.signal])
  const opened = openMachine({ ...context, signal }, machine)
  opened.catch(() => {})
  return {
    opened,
    async [Symbol.asyncDispose]() {
      stop.abort(new VmlError('cancelled', `Cancelled asking ${machine.name}`))
      await (await opened.catch(() => undefined))?.[Symbol.asyncDispose]()
    },
  }
}

/** `VML_NO_FFI` keeps this process from calling the C library, should a system not take it well. */
function readsItself({ environment }: Config, { address }: Machine): boolean {
  return address.kind === 'local' && !environment['VML_NO_FFI']
}
