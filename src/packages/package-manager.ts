// The face of a machine's package manager: what is installed, and in which order versions stand.
import type { PackageManagerName, PackageSet } from '../model/packages.ts'
import type { Shell } from '../wire/shell.ts'

export interface PackageManager {
  readonly name: PackageManagerName
  /** Undefined when this manager is not the machine's. Works without root. */
  inventory(shell: Shell, options?: { signal?: AbortSignal | undefined }): Promise<PackageSet | undefined>
  /** The manager's own version order. */
  compareVersions(left: string, right: string): -1 | 0 | 1
}
