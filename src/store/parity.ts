// The face of recovery data: what is protected, protecting the rest, and getting packs back. docs/format.md, "Parity".
import type { Reporter } from '../base/progress.ts'
import type { PackId } from '../model/ids.ts'
import type { HealPack } from './repair.ts'
import type { CallOptions } from './store.ts'

export type ParityOptions = CallOptions & { readonly reporter: Reporter }

export interface ParitySettings {
  /** Recovery data in proportion to packs, above 0 and up to 1; undefined where none is wanted. */
  readonly share: number | undefined
  /** RFC 3339: when it was set. */
  readonly setAt: string
}

/** A group, without the checksums of its blocks, and its files as they were found. */
export interface FoundGroup {
  readonly id: string
  readonly members: readonly { readonly pack: PackId; readonly bytes: number }[]
  readonly rowBytes: number
  /** The file of each row; undefined where it is missing. */
  readonly files: readonly (FoundRow | undefined)[]
}

export interface FoundRow {
  readonly name: string
  readonly size: number
  /** False where its size or its content is known to be wrong; some of it may still be right. */
  readonly whole: boolean
}

export interface ParityState {
  /** Undefined where nobody has ever set any. */
  readonly settings: ParitySettings | undefined
  readonly groups: number
  /** Bytes of recovery data. */
  readonly bytes: number
  readonly protectedPacks: number
  readonly protectedBytes: number
  /** Packs that an index names and that no recovery data covers. */
  readonly unprotected: readonly PackId[]
  readonly unprotectedBytes: number
  /** Packs that an index names, that are gone, and for which there is recovery data. */
  readonly missing: readonly PackId[]
  /** Files of recovery data that are damaged. */
  readonly damaged: readonly DamagedParity[]
}

export interface DamagedParity {
  readonly name: string
  readonly message: string
}

export interface ParityUpdate {
  /** Packs that this run protected, or protected anew. */
  readonly packs: number
  readonly bytesRead: number
  readonly bytesWritten: number
  readonly filesRemoved: number
  /** Packs that could not be protected, since they are not what their names say. */
  readonly damagedPacks: readonly PackId[]
}

export interface Parity {
  /** `damaged` by their beginnings and ends alone, unless `readData`. */
  state(options: ParityOptions & { readonly readData: boolean }): Promise<ParityState>
  settings(options?: CallOptions): Promise<ParitySettings | undefined>
  /** Undefined switches it off: that is durable before the first file goes. `unsupported` where the storage cannot keep any. */
  set(share: number | undefined, options: ParityOptions): Promise<void>
  /**
   * Protects what is not protected yet, and makes anew what is damaged or out of date; nothing where it is switched off. New files are durable
   * before those go that they replace: cut off anywhere, the next run goes on. `verify` reads every file of recovery data.
   */
  update(options: ParityOptions & { readonly verify?: boolean }): Promise<ParityUpdate>
  /** For a repair. Reads what the storage has at that moment; says by a warning why there is no way. */
  healer(options: ParityOptions): HealPack
}
