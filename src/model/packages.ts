// What is installed on a machine, as its package manager tells it.

export type PackageManagerName = 'dpkg' | 'rpm' | 'apk'

export interface InstalledPackage {
  readonly name: string
  readonly version: string
  readonly architecture: string
}

export interface PackageSet {
  readonly manager: PackageManagerName
  /** Sorted by name, then architecture, then version. */
  readonly packages: readonly InstalledPackage[]
}

export type PackageChange =
  | {
      readonly kind: 'installed' | 'removed'
      readonly name: string
      readonly architecture: string
      readonly version: string
    }
  | {
      readonly kind: 'upgraded' | 'downgraded' | 'changed'
      readonly name: string
      readonly architecture: string
      readonly from: string
      readonly to: string
    }
