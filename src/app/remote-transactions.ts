// Puts together what transactions of a machine over ssh need: its root's shell, its files, the logbook here.
import type { StdioOptions } from 'node:child_process'
import { VmlError } from '../base/failure.ts'
import { rawFromString } from '../base/raw-text.ts'
import type { RemoteMachine } from '../transaction/remote-machine.ts'
import type { RemoteParts } from '../transaction/remote-run.ts'
import type { RemoteUndo } from '../transaction/remote-undo.ts'
import { openTransactionContents } from '../transaction/transaction-contents.ts'
import { type ReadTransaction, readTransactionsOf } from '../transaction/transaction-entry.ts'
import { type ListedTransaction, transactionsOn } from '../transaction/transactions.ts'
import type { Machine } from '../model/machine.ts'
import { openShellSource } from '../source/shell-source.ts'
import type { Shell } from '../wire/shell.ts'
import { runAtTerminal } from '../wire/ssh-terminal.ts'
import { applyDelta } from '../wire/zstd-delta.ts'
import { type Config, findMachine } from './config.ts'
import type { Logbook } from './open.ts'
import { asRoot, wordsOfRoot } from './root-shell.ts'
import type { TransactionContext } from './transaction-context.ts'
import { restartServices, stateFolder, stopServicesBy, whoIsAtWork } from './transactions.ts'

export interface RemoteContext extends TransactionContext {
  openShell(machine: Machine): Promise<Shell>
}

export interface OpenRemote extends RemoteParts {
  readonly logbook: Logbook
  /** Runs a program there as root at this process's own streams. */
  attach(
    argv: readonly string[],
    how: { readonly terminal: boolean; readonly stdio: StdioOptions },
  ): Promise<void>
}

/** `name` is a machine of the configuration. Its shell is closed by the context that opened it. */
export async function openRemoteParts(
  context: RemoteContext,
  logbook: Logbook,
  name: string,
): Promise<OpenRemote> {
  const { config, clock, reporter, signal } = context
  const machine = findMachine(config, name)
  const { address } = machine
  if (address.kind === 'local')
    throw new VmlError('usage', `Cannot take --on ${name}: that is this host`, {
      hint: 'Leave --on away: transactions of this host have a logbook of their own',
    })
  const login = await context.openShell(machine)
  const words = await wordsOfRoot(login, name)
  const shell = asRoot(login, words)
  const source = await openShellSource(shell, { signal })
  const remote: RemoteMachine = { name, shell, source, state: stateFolder, clock, reporter, signal }
  return {
    machine: remote,
    logbook,
    restartServices: async (queue) => await restartServices(shell, context, queue),
    async attach(argv, how) {
      await runAtTerminal({
        ...how,
        address,
        options: sshOptions(config),
        argv: [...words, ...argv],
        environment: config.environment,
        signal,
      })
    },
  }
}

function sshOptions({ sshConfig }: Config): { readonly configFile?: string } {
  return sshConfig === undefined ? {} : { configFile: sshConfig.value }
}

export interface OpenRemoteUndo {
  readonly run: RemoteUndo
  readonly listed: readonly ListedTransaction[]
}

export async function openRemoteUndo(
  context: RemoteContext,
  parts: OpenRemote,
  command: readonly string[],
): Promise<OpenRemoteUndo> {
  const { machine, logbook } = parts
  const { clock, signal } = context
  const listed = await transactionsOn(parts.logbook, machine.name, context)
  let read: Promise<readonly ReadTransaction[]> | undefined
  const contents = openTransactionContents({
    repository: logbook.repository,
    transactions: () =>
      (read ??= readTransactionsOf(
        logbook.repository,
        listed.map(({ entry }) => entry),
        { signal },
      )),
    isElsewhere: true,
    pinned: () => undefined,
    applyDelta: (delta, base) => applyDelta({ delta, base }),
    fromPackage: async ({ package: name }) =>
      await Promise.reject(
        new VmlError(
          'integrity.missing',
          `Cannot get a file of ${name}: sources of packages are asked on the machine itself only`,
        ),
      ),
    signal,
  })
  return {
    listed,
    run: {
      ...parts,
      contents,
      user: whoIsAtWork(context.config),
      command: command.map(rawFromString),
      stopServices: async (units) => await stopServicesBy(machine.shell, units, clock),
    },
  }
}
