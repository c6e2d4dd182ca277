// Where an undo puts both sides of what it cannot merge: beside it, under names that nothing has and that the kernel takes.
import {
  baseName,
  callPathBytesMax,
  nameBytesMax,
  parentPath,
  type RawPath,
  rootPath,
} from '../model/raw-path.ts'
import type { Fingerprint } from '../model/transaction.ts'
import type { PlannedContent, UndoPaths, UndoView } from './undo-plan.ts'

export interface BesideFile {
  readonly path: RawPath
  /** The path that stays as it is. */
  readonly of: RawPath
  readonly side: 'mine' | 'old'
  readonly wanted: Fingerprint
  /** Without it the content of `of` as it is now. */
  readonly content?: PlannedContent
}

/** Where there was nothing before, what is there now stays, and has no other side. */
export function planBeside({ paths, conflicts }: UndoPaths, now: UndoView['now']): readonly BesideFile[] {
  const taken = new Set(paths.map(({ path }) => path))
  const free = (path: RawPath, side: BesideFile['side']): RawPath => {
    for (let number = 0; ; number++) {
      const candidate = besidePath(path, `.${side}${number === 0 ? '' : `.${number}`}`)
      if (taken.has(candidate) || now(candidate) !== undefined) continue
      taken.add(candidate)
      return candidate
    }
  }
  return conflicts.flatMap(({ path: of, now: mine, old }) => {
    if (old?.kind !== 'before') return []
    const sides: readonly (Omit<BesideFile, 'path' | 'wanted'> & { wanted: Fingerprint | undefined })[] = [
      { of, side: 'mine', wanted: mine },
      { of, side: 'old', wanted: old.change.before, content: old },
    ]
    return sides.flatMap(({ wanted, ...rest }) =>
      wanted?.type === 'file' ? [{ ...rest, wanted, path: free(of, rest.side) }] : [],
    )
  })
}

/** A name that would be too long loses its end; a folder that is too deep for any has it in the nearest one above that is not. */
export function besidePath(path: RawPath, ending: string): RawPath {
  for (let folder = parentPath(path); ; folder = parentPath(folder)) {
    const start = folder === rootPath ? '/' : `${folder}/`
    const stemBytesMax = Math.min(nameBytesMax, callPathBytesMax - start.length) - ending.length
    if (stemBytesMax > 0) return `${start}${cut(baseName(path), stemBytesMax)}${ending}` as RawPath
  }
}

/** Not within a character: one of UTF-8 has three more bytes at most, each 10xxxxxx (RFC 3629). */
function cut(name: string, bytesMax: number): string {
  let end = bytesMax
  while (end > Math.max(1, bytesMax - 3) && (name.charCodeAt(end) & 0xc0) === 0x80) end--
  return name.slice(0, end)
}
