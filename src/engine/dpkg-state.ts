// What dpkg and apt say of all packages, before and after a change of the root.
import { type RawPath, rootPath } from '../model/raw-path.ts'
import type { PackageSet } from '../model/packages.ts'
import type { PackageTransition } from '../model/transaction-record.ts'
import { type DpkgFiles, readDpkgFiles } from '../packages/dpkg-files.ts'
import { type DpkgState, packageRecords } from '../packages/dpkg-records.ts'
import { transitionOf } from '../packages/package-transitions.ts'
import { rawFromBytes } from '../base/raw-text.ts'
import { readIfThere } from './open-stage.ts'
import { inRoot, pathIn, type Workplace } from './workplace.ts'

export interface PackagesNow {
  readonly state: DpkgState
  readonly files: DpkgFiles
}

export const statusPath: RawPath = pathIn(rootPath, '/var/lib/dpkg/status')
export const extendedStatesPath: RawPath = pathIn(rootPath, '/var/lib/apt/extended_states')

/** Undefined where the machine has no dpkg. `extendedStates` instead of those that lie there now. */
export function readPackagesNow(place: Workplace, extendedStates?: Buffer): PackagesNow | undefined {
  const status = readIfThere(inRoot(place, statusPath))
  if (status === undefined) return undefined
  const extended = extendedStates ?? readIfThere(inRoot(place, extendedStatesPath)) ?? Buffer.alloc(0)
  return {
    state: { status: rawFromBytes(status), extendedStates: rawFromBytes(extended) },
    files: readDpkgFiles(place.root),
  }
}

export function transitions(
  before: PackagesNow | undefined,
  after: PackagesNow | undefined,
): PackageTransition[] {
  if (before === undefined || after === undefined) return []
  return transitionsOf(before.state, after.state)
}

export function transitionsOf(before: DpkgState, after: DpkgState): PackageTransition[] {
  return packageRecords({ before, after }).map(transitionOf)
}

const statesWithoutFiles: readonly string[] = ['config-files', 'not-installed']

export function packageSetOf({ files }: PackagesNow): PackageSet {
  const packages = files.packages
    .filter(({ state }) => !statesWithoutFiles.includes(state))
    .map(({ name, version, architecture }) => ({ name, version, architecture }))
    .toSorted((one, other) =>
      one.name < other.name ? -1 : one.name > other.name ? 1 : one.architecture < other.architecture ? -1 : 1,
    )
  return { manager: 'dpkg', packages }
}
