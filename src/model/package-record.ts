// What became of one package in a transaction: versions before and after, where they came from, and why they came or went.
import type { DependencyField } from './dependency.ts'

export type PackageFate =
  | 'installed'
  | 'upgraded'
  | 'downgraded'
  /** The same version was set up again, or its state or its conffiles changed. */
  | 'reconfigured'
  /** Its files are gone, its configuration stays. */
  | 'removed'
  | 'purged'
  /** Nothing but whether it is there for its own sake changed. */
  | 'marked'

/** One version on one side of the transaction. */
export interface PackageVersion {
  readonly version: string
  /** As the package manager calls it: `installed`, `half-configured`, `config-files`, … */
  readonly state: string
  readonly source: { readonly name: string; readonly version: string }
  readonly section?: string
  /** Of the archive: `main`, `contrib`, … as the section tells it. */
  readonly component: string
  /** There because others need it, not because somebody asked for it. */
  readonly automatic: boolean
  /** Absent where no source that is configured has this version. */
  readonly origin?: PackageOrigin
}

/** Where a version can be downloaded, as of the lists that the machine had. */
export interface PackageOrigin {
  readonly sources: readonly PackageSource[]
  /** Below the address of the source. */
  readonly file?: string
  readonly sizeBytes?: number
  /** Of the package's file, lower-case hex. */
  readonly sha256?: string
}

export interface PackageSource {
  readonly address: string
  readonly site?: string
  readonly label?: string
  /** `stable`, `oldstable-security`, … */
  readonly archive?: string
  /** `bookworm`, … */
  readonly suite?: string
  readonly component?: string
}

/** Another package of the same transaction that says something of this one. */
export interface PackageReason {
  readonly package: string
  readonly field: DependencyField
  /** As it is written there. */
  readonly relation: string
}

export interface PackageRecord {
  readonly name: string
  readonly architecture: string
  readonly fate: PackageFate
  readonly before?: PackageVersion
  readonly after?: PackageVersion
  /** Of what is there after it: who needs it. Of what is gone: what it needed that went or changed, and what does not bear it. */
  readonly reasons: readonly PackageReason[]
}
