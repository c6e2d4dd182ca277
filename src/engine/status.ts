// How things stand: the last entry of each machine.
import { holdsPathsOnly } from '../model/entry.ts'
import { isImported, type LoggedEntry } from './entries.ts'

export interface MachineStatus {
  readonly machine: string
  /** Stands in the user's configuration. */
  readonly configured: boolean
  /** Without safety entries, transactions and those of somebody else. */
  readonly entries: number
  readonly safetyEntries: number
  readonly last: LoggedEntry | undefined
}

/** Machines of the configuration and those that only entries know, by name. */
export function machineStatuses(
  entries: readonly LoggedEntry[],
  configured: ReadonlySet<string>,
): readonly MachineStatus[] {
  const counted = entries.filter((entry) => !holdsPathsOnly(entry.kind) && !isImported(entry))
  const names = new Set([...configured, ...counted.map((entry) => entry.machine)])
  return [...names].sort().map((machine) => {
    const own = counted.filter((entry) => entry.machine === machine)
    const safetyEntries = entries.filter(
      (entry) => entry.kind === 'safety' && entry.machine === machine,
    ).length
    return {
      machine,
      configured: configured.has(machine),
      entries: own.length,
      safetyEntries,
      last: own.at(-1),
    }
  })
}
