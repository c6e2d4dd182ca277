// What the machine's own file says of transactions: where old packages are, what records may take.
import { isFailure } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import { readMachineSettings } from './config.ts'
import type { TransactionSettings } from './settings.ts'
import { machineSettingsFile } from './system-logbook.ts'
import type { TransactionContext } from './transaction-context.ts'

export interface ReadMachineSettings {
  readonly settings: TransactionSettings
  /** False where it has a mistake: then nobody knows what was meant. */
  readonly isRead: boolean
}

/** A file with a mistake must not keep apt from working. */
export function machineSettings({ reporter }: Pick<TransactionContext, 'reporter'>): ReadMachineSettings {
  const known = readBy.get(reporter) ?? readSettings(reporter)
  readBy.set(reporter, known)
  return known
}

/** What is wrong with them is told once to each who listens. */
const readBy = new WeakMap<Reporter, ReadMachineSettings>()

function readSettings(reporter: Reporter): ReadMachineSettings {
  try {
    const { transactions: settings, warnings } = readMachineSettings(machineSettingsFile)
    for (const warning of warnings) reporter.warn({ warning })
    return { settings, isRead: true }
  } catch (error) {
    if (!isFailure(error, 'usage')) throw error
    reporter.warn({ warning: `Done without settings: ${error.message}` })
    return { settings: { pools: [], snapshots: [] }, isRead: false }
  }
}
