// Which of the package managers is the machine's, and what it has installed.
import type { PackageSet } from '../model/packages.ts'
import type { Shell } from '../wire/shell.ts'
import type { PackageManager } from './package-manager.ts'

/**
 * Undefined when the machine has none of these managers. Where several have a database (Debian with rpm installed
 * as a tool), the one with the most packages is the machine's own.
 */
export async function readMachinePackages(
  managers: readonly PackageManager[],
  shell: Shell,
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<PackageSet | undefined> {
  let best: PackageSet | undefined
  for (const manager of managers) {
    const found = await manager.inventory(shell, { signal })
    if (found !== undefined && (best === undefined || found.packages.length > best.packages.length))
      best = found
  }
  return best
}
