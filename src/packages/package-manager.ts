// The face of a machine's package manager: what is installed, and in which order versions stand.
import type { PackageManagerName, PackageSet } from '../model/packages.ts'
import type { Shell } from '../wire/shell.ts'

export interface InquiryAnswer {
  /** 3 means that this manager is not the machine's. */
  readonly status: number
  readonly stdout: Buffer
}

/** A script that reads a package database, its words, and how much it may say in how much time. */
export interface Inquiry {
  readonly script: string
  readonly words: readonly string[]
  readonly timeoutMs: number
  readonly outputBytesMax: number
}

export interface PackageManager {
  readonly name: PackageManagerName
  /** What `inventory` asks, for whoever asks a machine many things at once. */
  readonly inquiry: Inquiry
  /** What an answer says that came with status 0 or 3; `label` is the machine's. */
  parseInventory(answer: InquiryAnswer, label: string): PackageSet | undefined
  /** Undefined when this manager is not the machine's. Works without root. */
  inventory(shell: Shell, options?: { signal?: AbortSignal | undefined }): Promise<PackageSet | undefined>
  /** The manager's own version order. */
  compareVersions(left: string, right: string): -1 | 0 | 1
}
