// Shared libraries: which ones an entry's own programs need from the machine around them, and what a machine has of those.
import type { RawText } from '../base/raw-text.ts'
import type { ElfFacts } from './elf.ts'
import type { RawPath } from './raw-path.ts'

/** A library that programs of the entry need and the entry itself does not bring. */
export interface LibraryNeed {
  /** As the programs name it: `libfit.so.1`. */
  readonly soname: RawText
  readonly bits: ElfFacts['bits']
  readonly machine: ElfFacts['machine']
  /** Folders outside of the entry in which the programs say to look first. */
  readonly folders: readonly RawPath[]
  /** Some of the programs, in order of path. */
  readonly neededBy: readonly RawPath[]
  /** How many there are. */
  readonly programs: number
}

/** A library as a machine has it. */
export interface MachineLibrary {
  readonly soname: RawText
  readonly bits: ElfFacts['bits']
  readonly machine: ElfFacts['machine']
  /** Where the linker finds it. */
  readonly path: RawPath
  /** The file behind all links: its name tells the version (`libfit.so.1.0.3`). */
  readonly target: RawPath
  readonly package?: string
  readonly packageVersion?: string
  /** Of the file, lower-case hex. */
  readonly sha256?: string
}

/** `/.vml/libraries.json`: the needs of an entry and what its machine had for them when it was saved. */
export interface LibrariesDocument {
  readonly needs: readonly LibraryNeed[]
  readonly libraries: readonly MachineLibrary[]
  /** False where there were more programs than are looked at. */
  readonly complete: boolean
}

/** A library is asked for by name and kind of machine: a 32-bit one is of no use to a 64-bit program. */
export function libraryKey(library: {
  readonly soname: RawText
  readonly bits: ElfFacts['bits']
  readonly machine: ElfFacts['machine']
}): string {
  return `${library.bits} ${library.machine} ${library.soname}`
}
