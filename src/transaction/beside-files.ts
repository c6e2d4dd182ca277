// Where an undo puts both sides of what it cannot merge: beside it, under names that nothing has and that the kernel takes.
import { freeBeside } from '../model/beside-path.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Fingerprint } from '../model/transaction.ts'
import type { UndoPlan } from './undo.ts'
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

/** Nothing of it comes back, or goes: both sides of what stays are put beside it, and that is all. */
export function isBesideAlone({
  paths,
  regenerations,
  beside,
}: Pick<UndoPlan, 'paths' | 'regenerations' | 'beside'>): boolean {
  return paths.paths.length + regenerations.length === 0 && beside.length > 0
}

/** Where there was nothing before, what is there now stays, and has no other side. */
export function planBeside({ paths, conflicts }: UndoPaths, now: UndoView['now']): readonly BesideFile[] {
  const taken = new Set(paths.map(({ path }) => path))
  const free = (path: RawPath, side: BesideFile['side']): RawPath => {
    const found = freeBeside(path, side, (candidate) => !taken.has(candidate) && now(candidate) === undefined)
    taken.add(found)
    return found
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
