// What happened to the packages of a machine between two inventories.
import type { InstalledPackage, PackageChange, PackageSet } from './packages.ts'
import { compareRaw } from './raw-path.ts'
import { compareVersions } from './version-order.ts'

/**
 * Sorted by name, architecture, version. Where several versions of a name stand side by side (kernels), versions
 * come and go; else a new version is an upgrade or a downgrade in the manager's own order, and `changed` where that
 * order sees no difference (`1.0` and `1.00`). Inventories of two managers have nothing in common.
 */
export function diffPackages(left: PackageSet, right: PackageSet): readonly PackageChange[] {
  if (left.manager !== right.manager) {
    return sorted([
      ...left.packages.map((one) => single('removed', one)),
      ...right.packages.map((one) => single('installed', one)),
    ])
  }
  const before = byName(left.packages)
  const after = byName(right.packages)
  const names = new Set([...before.keys(), ...after.keys()])
  return sorted(
    [...names].flatMap((name) => diffName(left.manager, before.get(name) ?? [], after.get(name) ?? [])),
  )
}

/** Names under which rpm keeps many things side by side, none of which replaces another. */
const neverReplaced = new Set(['gpg-pubkey'])

function diffName(
  manager: PackageSet['manager'],
  before: readonly InstalledPackage[],
  after: readonly InstalledPackage[],
): PackageChange[] {
  const architectures = new Set([...before, ...after].map((one) => one.architecture))
  const [from, to] = [before[0], after[0]]
  // `all` that becomes `amd64` is the same package.
  if (before.length === 1 && after.length === 1 && from !== undefined && to !== undefined) {
    if (from.version !== to.version || architectures.size === 1) return replaced(manager, from, to)
  }
  return [...architectures].flatMap((architecture) =>
    diffVersions(
      manager,
      before.filter((one) => one.architecture === architecture),
      after.filter((one) => one.architecture === architecture),
    ),
  )
}

function diffVersions(
  manager: PackageSet['manager'],
  before: readonly InstalledPackage[],
  after: readonly InstalledPackage[],
): PackageChange[] {
  const [from, to] = [before[0], after[0]]
  if (before.length === 1 && after.length === 1 && from !== undefined && to !== undefined)
    return replaced(manager, from, to)
  const was = new Set(before.map((one) => one.version))
  const is = new Set(after.map((one) => one.version))
  return [
    ...before.filter((one) => !is.has(one.version)).map((one) => single('removed', one)),
    ...after.filter((one) => !was.has(one.version)).map((one) => single('installed', one)),
  ]
}

function replaced(
  manager: PackageSet['manager'],
  from: InstalledPackage,
  to: InstalledPackage,
): PackageChange[] {
  if (from.version === to.version) return []
  if (neverReplaced.has(from.name)) return [single('removed', from), single('installed', to)]
  const order = compareVersions(manager, from.version, to.version)
  return [
    {
      kind: order < 0 ? 'upgraded' : order > 0 ? 'downgraded' : 'changed',
      name: to.name,
      architecture: to.architecture,
      from: from.version,
      to: to.version,
    },
  ]
}

function single(
  kind: 'installed' | 'removed',
  { name, version, architecture }: InstalledPackage,
): PackageChange {
  return { kind, name, architecture, version }
}

function byName(packages: readonly InstalledPackage[]): ReadonlyMap<string, InstalledPackage[]> {
  return Map.groupBy(packages, (one) => one.name)
}

function sorted(changes: PackageChange[]): PackageChange[] {
  return changes.toSorted(
    (a, b) =>
      compareRaw(a.name, b.name) ||
      compareRaw(a.architecture, b.architecture) ||
      compareRaw(versionOf(a), versionOf(b)) ||
      compareRaw(b.kind, a.kind),
  )
}

function versionOf(change: PackageChange): string {
  return 'version' in change ? change.version : change.from
}
