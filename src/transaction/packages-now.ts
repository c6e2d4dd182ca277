// What the package systems of the machine say, before and after a change of the root: most machines have one, some have two.
import type { InstalledPackage, PackageSet } from '../model/packages.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { PackageTransition } from '../model/transaction-record.ts'
import type { UnfinishedPackage } from '../packages/dpkg-oracle.ts'
import type {
  PackageCondition,
  PackageHost,
  PackageRecords,
  PackageState,
  PackageSystem,
  SourcedFiles,
} from '../packages/package-system.ts'
import { openFolder, pathIn, type Workplace } from './workplace.ts'

/** One for each system that the machine has; none where it has none. */
export type PackagesNow = readonly PackageState[]

type Systems = Pick<Workplace, 'packageSystems'>

export function packageHostOf({ shell, root, state, signal }: Workplace): PackageHost {
  return { shell, root, state, signal }
}

/** `was`: files as they were before, in the place of those that lie there. */
export async function readPackagesNow(
  place: Workplace,
  was?: (path: RawPath) => Buffer | undefined,
): Promise<PackagesNow> {
  const host = packageHostOf(place)
  const found: PackageState[] = []
  for (const system of place.packageSystems) {
    const state = await system.read(host, was)
    if (state) found.push(state)
  }
  return found
}

/** Of whichever system has it. */
export function sourcedFiles(packages: PackagesNow): SourcedFiles {
  return {
    fileOf(path) {
      for (const { files } of packages) {
        const file = files.fileOf(path)
        if (file !== undefined) return file
      }
      return undefined
    },
  }
}

export function systemOf({ packageSystems }: Systems, { manager }: PackageState): PackageSystem {
  const system = packageSystems.find((each) => each.manager === manager)
  if (system === undefined) throw new TypeError(`There is no package system "${manager}"`)
  return system
}

/** Each system with what it said before and after; one that came or went is none. */
function* pairs(place: Systems, before: PackagesNow, after: PackagesNow) {
  for (const is of after) {
    const was = before.find(({ manager }) => manager === is.manager)
    if (was) yield { system: systemOf(place, is), before: was, after: is }
  }
}

export interface SystemTransitions {
  readonly system: PackageSystem
  readonly transitions: readonly PackageTransition[]
  /** What the system said of all packages before. */
  readonly before?: PackageCondition | undefined
  /** What the plan leaves half done. */
  readonly unfinished?: readonly UnfinishedPackage[] | undefined
  readonly touched?: readonly TouchedPackage[]
}

/** One that stays as it is, while files of it are written or go. */
export interface TouchedPackage {
  readonly package: InstalledPackage
  /** The newest transaction that brought it to another version since, as it is told: `#12`. */
  readonly changedBy: string | undefined
}

export function changedSystems(place: Systems, before: PackagesNow, after: PackagesNow): SystemTransitions[] {
  return [...pairs(place, before, after)].map(({ system, before: was, after: is }) => ({
    system,
    transitions: system.transitions(was, is),
  }))
}

/** Of all systems, and the one that it was done with: the first that changed, or the first that there is. */
export function transitionsOf(
  place: Systems,
  before: PackagesNow,
  after: PackagesNow,
): { readonly manager?: PackageState['manager']; readonly packages: readonly PackageTransition[] } {
  const packages: PackageTransition[] = []
  let manager: PackageState['manager'] | undefined
  for (const { system, transitions } of changedSystems(place, before, after)) {
    if (transitions.length > 0) manager ??= system.manager
    packages.push(...transitions)
  }
  manager ??= after[0]?.manager
  return { ...(manager === undefined ? {} : { manager }), packages }
}

export function packageSetOf(
  states: PackagesNow,
  manager: PackageState['manager'] | undefined,
): PackageSet | undefined {
  const state = states.find((each) => each.manager === manager)
  return state && { manager: state.manager, packages: state.packages }
}

/** Names of packages that list a path. */
export function ownersOf(states: PackagesNow, path: RawPath): readonly string[] {
  return states.flatMap((state) => state.ownersOf(path))
}

export function unfinishedPackages(states: PackagesNow): readonly string[] {
  return states.flatMap(({ unfinished }) => unfinished)
}

/** Documents of the record, by their names. */
export async function packageRecords(
  place: Workplace,
  before: PackagesNow,
  after: PackagesNow,
): Promise<PackageRecords> {
  const found = new Map<string, Uint8Array>()
  for (const pair of pairs(place, before, after))
    for (const [name, bytes] of await pair.system.record(packageHostOf(place), pair)) found.set(name, bytes)
  return found
}

/** Where they are kept as they were while a change is under way. */
function keptFolder(place: Pick<Workplace, 'state'>): RawPath {
  return pathIn(openFolder(place), 'packages')
}

/** What they give is good for a record when the databases have changed. */
export async function keepPackages(place: Workplace, states: PackagesNow): Promise<PackagesNow> {
  const host = packageHostOf(place)
  const kept: PackageState[] = []
  for (const state of states) kept.push(await systemOf(place, state).keep(host, state, keptFolder(place)))
  return kept
}

export async function readKeptPackages(place: Workplace): Promise<PackagesNow> {
  const found: PackageState[] = []
  for (const system of place.packageSystems) {
    const state = await system.readKept(packageHostOf(place), keptFolder(place))
    if (state) found.push(state)
  }
  return found
}
