// Puts together what transactions of this machine need: its root, its logbook, its services, who is at work.
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import type { Clock } from '../base/clock.ts'
import { rawFromBytes } from '../base/raw-text.ts'
import type { TransactionParts } from '../transaction/end-stage.ts'
import type { StageNote } from '../transaction/stage-note.ts'
import type { RecordedMachine } from '../transaction/transaction-entry.ts'
import { requireOwnNamesHere } from '../transaction/misnamed-part.ts'
import { openWorkplace, pathIn } from '../transaction/workplace.ts'
import { parseOsRelease } from '../model/os-release.ts'
import { type RawPath, rootPath } from '../model/raw-path.ts'
import type { ServiceAction } from '../model/transaction-record.ts'
import { openPackageSystems } from '../packages/all-systems.ts'
import { hasServices, reloadServices, startServices, stopServices } from '../packages/services.ts'
import { planServices, type ServiceStep } from '../stage/service-queue.ts'
import { openLocalShell } from '../wire/local-shell.ts'
import type { Config } from './config.ts'
import { machineSettings } from './machine-settings.ts'
import type { Logbook } from './open.ts'
import { ownNames } from './own-names.ts'
import { configuredSources, referenceFinder } from './package-archives.ts'
import { requireNoLink, systemFolder } from './system-logbook.ts'
import { VmlError } from '../base/failure.ts'
import type { TransactionContext } from './transaction-context.ts'
import type { Shell } from '../wire/shell.ts'

export const rootOfMachine: RawPath = rootPath
export const stateFolder: RawPath = pathIn(rootPath, systemFolder)
/** As `vml tx enable` puts it. */
const policyScriptPath: RawPath = pathIn(rootPath, '/usr/lib/vml/policy-rc.d')

export function openTransactionParts(context: TransactionContext, logbook: Logbook): TransactionParts {
  requireNoLink()
  const shell = openLocalShell()
  const { config, clock, reporter, signal } = context
  const { settings, isRead } = machineSettings(context)
  if (config.environment['VML_NO_FFI'])
    throw new VmlError('unsupported', 'Cannot record transactions: VML_NO_FFI is set', {
      hint: 'Nothing was changed. Unset it: they need calls of the C library',
    })
  const place = {
    ...openWorkplace({
      root: rootOfMachine,
      state: stateFolder,
      shell,
      packageSystems: openPackageSystems(),
      clock,
      reporter,
      signal,
      temporaryFolder: tmpdir(),
    }),
    logbook,
  }
  requireOwnNamesHere(place)
  const parts: TransactionParts = {
    ...place,
    findReferences: referenceFinder({ context, settings, shell }),
    packageSources: configuredSources({ context, settings, shell }),
    afterRecord: async () => {
      const { lookAfterRecords } = await import('./record-keeping.ts')
      await lookAfterRecords(context, place, isRead ? settings : undefined)
    },
    machine: recordedMachine(config),
    restartServices: async (queue) => await restartServices(shell, context, queue),
    beforeChange: async (index) => {
      const { lookForHandChanges } = await import('../transaction/hand-changes.ts')
      const stored = await lookForHandChanges(parts, index)
      if (stored) reporter.note?.(`Recorded #${stored.number}: ${stored.title}`)
      return stored !== undefined
    },
  }
  return parts
}

/** Gives back a function that starts those that ran again. */
export async function stopServicesBy(
  shell: Shell,
  units: readonly string[],
  clock: Clock,
): Promise<() => Promise<readonly ServiceAction[]>> {
  const stopped = await stopServices(shell, units, clock)
  return async () => {
    await reloadServices(shell)
    const standings = await startServices(shell, stopped, clock)
    return standings.map(({ unit, stoodMs, failure }): ServiceAction => ({
      unit,
      action: 'restart',
      outcome: failure === undefined ? 'done' : 'failed',
      stoppedMs: stoodMs,
    }))
  }
}

/** root, and the login behind sudo. */
export function whoIsAtWork({ environment, userName }: Config): StageNote['user'] {
  const login = environment['SUDO_USER']
  return {
    name: userName,
    uid: process.getuid?.() ?? 0,
    ...(login === undefined || login === userName ? {} : { login }),
  }
}

export function policyScriptOf(): RawPath | undefined {
  try {
    readFileSync(policyScriptPath)
    return policyScriptPath
  } catch {
    return undefined
  }
}

/** Whether transactions of this machine are recorded under that name. */
export function isRecordedAs(config: Config, name: string): boolean {
  return recordedMachine(config).name === name
}

function recordedMachine(config: Config): RecordedMachine {
  const [name = config.hostName] = ownNames(config)
  return { name, facts: { hostname: config.hostName, ...systemFacts() } }
}

function systemFacts(): { os?: Readonly<Record<string, string>> } {
  try {
    return { os: parseOsRelease(readFileSync('/etc/os-release', 'utf8')) }
  } catch {
    return {}
  }
}

/** What scripts of packages asked of services in the stage, where none was touched: it is done now, each once. */
export async function restartServices(
  shell: Shell,
  { clock, reporter }: Pick<TransactionContext, 'clock' | 'reporter'>,
  queue: Buffer,
): Promise<readonly ServiceAction[]> {
  if (queue.length === 0) return []
  const systemd = await hasServices(shell)
  const { stops, reload, starts } = planServices(rawFromBytes(queue), { systemd })
  const done: ServiceAction[] = []
  const ask = async ({ service, action, command }: ServiceStep) => {
    const startedAt = clock.now()
    const { status } = await shell.run({ argv: command, idleTimeoutMs: serviceTimeoutMs })
    if (status !== 0)
      reporter.warn({ warning: `${service}: ${action} ended with status ${status}; see its log` })
    done.push({
      unit: service,
      action: action === 'try-restart' ? 'restart' : action,
      outcome: status === 0 ? 'done' : 'failed',
      ...(action === 'restart' || action === 'try-restart' ? { stoppedMs: clock.now() - startedAt } : {}),
    })
  }
  for (const step of stops) await ask(step)
  if (reload) await shell.run({ argv: reload, idleTimeoutMs: serviceTimeoutMs })
  for (const step of starts) await ask(step)
  return done
}

/** systemd's own limit for a unit to start or stop is 90 s; some have a longer one. */
const serviceTimeoutMs = 600_000
