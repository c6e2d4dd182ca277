// Data of a service that an undo takes back in part: files of it that no record has were written since, and stay.
import { firstFew } from '../base/first-few.ts'
import { printable } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { ReadTransaction } from './transaction-entry.ts'
import type { UndoPaths, UndoView } from './undo-plan.ts'

export interface MixedData {
  readonly folder: RawPath
  /** That are taken back in it. */
  readonly takenBack: readonly RawPath[]
  /** Sorted; where there are too many paths to look at all, those that were found. */
  readonly written: readonly RawPath[]
  readonly isWhole: boolean
}

/**
 * Whether that is use nobody can tell: a service that is only started writes, too, and each restart by a later transaction is a start. So it decides nothing,
 * and is told. Reads only.
 */
export function findMixedData(
  view: UndoView,
  { paths }: UndoPaths,
  transactions: readonly ReadTransaction[],
): readonly MixedData[] {
  if (view.writtenSince === undefined) return []
  const folders = new Map<RawPath, RawPath[]>()
  for (const { path, now, wanted } of paths) {
    const folder = (wanted ?? now)?.type === 'dir' ? undefined : view.dataFolder(path)
    if (folder === undefined) continue
    const known = folders.get(folder)
    if (known) known.push(path)
    else folders.set(folder, [path])
  }
  if (folders.size === 0) return []
  const recorded = new Set(transactions.flatMap(({ changes }) => changes.map(({ path }) => path)))
  const found: MixedData[] = []
  for (const [folder, takenBack] of folders) {
    const looked = view.writtenSince(folder, sinceMs(transactions, takenBack))
    const written = looked.paths.filter((path) => !recorded.has(path)).toSorted()
    if (written.length > 0) found.push({ folder, takenBack, written, isWhole: looked.isWhole })
  }
  return found
}

/** When the last of those ended that changed any of these. */
function sinceMs(transactions: readonly ReadTransaction[], paths: readonly RawPath[]): number {
  const asked = new Set(paths)
  return Math.max(
    ...transactions
      .filter(({ changes }) => changes.some(({ path }) => asked.has(path)))
      .map(({ document }) => Date.parse(document.endedAt)),
  )
}

export function describeMixedData({ folder, takenBack, written, isWhole }: MixedData): string {
  const some = firstFew(written, toldMax, printable)
  const stays = written.length === 1 ? '1 other was' : `${written.length} others were`
  return `data in ${printable(folder)}: ${takenBack.length === 1 ? '1 path is' : `${takenBack.length} paths are`} taken back, while ${stays} written since and ${written.length === 1 ? 'stays' : 'stay'}: ${some}${isWhole ? '' : '; there are too many paths to look at all'}`
}

const toldMax = 10
