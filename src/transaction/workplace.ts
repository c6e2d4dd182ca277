// Where transactions of a machine take place: its root, VML's own folder on it, and the ways to work there.
import { asRaw, rawFromString } from '../base/raw-text.ts'
import type { Clock } from '../base/clock.ts'
import { VmlError } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { PackageSystem } from '../packages/package-system.ts'
import { type CommitDisk, openCommitDisk } from '../stage/commit-disk.ts'
import type { RootIndex } from '../stage/root-index.ts'
import { type FolderReader, openFolderReader } from '../wire/folder-reader.ts'
import { type Libc, openLibc } from '../wire/libc.ts'
import type { Shell } from '../wire/shell.ts'

export interface Workplace {
  /** `/` in life; another folder in tests. */
  readonly root: RawPath
  /** VML's own folder: root's alone. */
  readonly state: RawPath
  readonly libc: Libc
  readonly reader: FolderReader
  readonly disk: CommitDisk
  readonly shell: Shell
  /** All that VML knows, whether the machine has them or not. */
  readonly packageSystems: readonly PackageSystem[]
  readonly clock: Clock
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
  /**
   * Told of the root right before a transaction changes it: what was changed by hand until then is recorded, and whether there was any is told. Never fails but
   * when it is cancelled.
   */
  beforeChange?(index?: RootIndex): Promise<boolean>
}

export function openWorkplace(
  parts: Omit<Workplace, 'libc' | 'reader' | 'disk'> & { readonly temporaryFolder: string },
): Workplace {
  const { temporaryFolder, ...place } = parts
  const libc = openLibc(temporaryFolder)
  const reader = openFolderReader(temporaryFolder)
  if (!libc || !reader)
    throw new VmlError(
      'unsupported',
      'Cannot record transactions here: calls of the C library cannot be made',
      {
        hint: 'Nothing was changed. It needs Linux on x64 or arm64 with glibc, a temporary folder that can be written, and VML_NO_FFI unset',
      },
    )
  return { ...place, libc, reader, disk: openCommitDisk(libc) }
}

/** Names are text of VML's own: bytes of a path of the machine would be taken for characters, and another path be meant (`inRoot`). */
export function pathIn(folder: RawPath, ...names: readonly string[]): RawPath {
  const path = parseRawPath(asRaw(`${folder}/${names.map(rawFromString).join('/')}`))
  if (path === undefined) throw new TypeError('A name in a folder of VML is no name')
  return path
}

/** The folder of the one stage that may be open. */
export function openFolder({ state }: Pick<Workplace, 'state'>): RawPath {
  return pathIn(state, 'stage', 'open')
}

export function inRoot({ root }: Pick<Workplace, 'root'>, path: RawPath): RawPath {
  return root === '/' ? path : (`${root}${path}` as RawPath)
}
