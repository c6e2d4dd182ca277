// Names of files that stay: what an undo brings back as a further name of such a file, and what it can only bring back as a file of its own.
import { firstFew } from '../base/first-few.ts'
import { printable } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { sameState } from '../model/transaction.ts'
import type { ReadTransaction } from './transaction-entry.ts'
import type { PlannedPath, UndoPaths, UndoView } from './undo-plan.ts'

/** A path that was a name of a file that has others, and comes back as a file of its own. */
export interface OwnFile {
  readonly path: RawPath
  /** Names that the file had beside it. */
  readonly otherNames: readonly RawPath[]
}

/** By the names that the records tell: a file with one of them is the same one still where nothing of it was changed since. */
export function planFurtherNames(
  view: UndoView,
  paths: UndoPaths,
  transactions: readonly ReadTransaction[],
): { readonly paths: UndoPaths; readonly ownFiles: readonly OwnFile[] } {
  const planned = new Set(paths.paths.map(({ path }) => path))
  const known = namesOf(transactions, planned)
  const ownFiles: OwnFile[] = []
  const named = paths.paths.map((each): PlannedPath => {
    const names = known.get(each.path) ?? []
    const nowOther = names.filter((name) => isOneFile(view, each, name))
    const wantedOther = wantedNames(each).filter((name) => !planned.has(name))
    const nameOf = wantedOther.find((name) => isWanted(view, each, name))
    if (nameOf === undefined && wantedNames(each).length > 0)
      ownFiles.push({ path: each.path, otherNames: wantedNames(each) })
    const otherNames = [...new Set([...(nameOf === undefined ? [] : [nameOf]), ...nowOther])]
    return {
      ...each,
      ...(nameOf === undefined ? {} : { nameOf }),
      ...(otherNames.length === 0 ? {} : { otherNames }),
    }
  })
  return { paths: { ...paths, paths: named }, ownFiles }
}

function namesOf(
  transactions: readonly ReadTransaction[],
  planned: ReadonlySet<RawPath>,
): ReadonlyMap<RawPath, readonly RawPath[]> {
  const known = new Map<RawPath, readonly RawPath[]>()
  for (const { changes } of transactions)
    for (const { path, otherNames } of changes) {
      if (otherNames === undefined || !planned.has(path)) continue
      const others = otherNames.filter((name) => !planned.has(name))
      known.set(path, [...(known.get(path) ?? []), ...others])
    }
  return known
}

/** Where it had several names before; what is merged is what no other name has. */
function wantedNames({ content, wanted }: PlannedPath): readonly RawPath[] {
  if (content?.kind !== 'before' || wanted?.type !== 'file') return []
  const { before, otherNames = [] } = content.change
  return sameState(before, wanted) && (before?.links ?? 1) > 1 ? otherNames : []
}

function isWanted(view: UndoView, { wanted }: PlannedPath, name: RawPath): boolean {
  const other = view.otherName?.(name)
  return other !== undefined && sameState(other, wanted) && other.mtimeNs === wanted?.mtimeNs
}

/** As it is now: so that whoever takes this back finds the file again. */
function isOneFile(view: UndoView, { now }: PlannedPath, name: RawPath): boolean {
  if (now?.type !== 'file' || (now.links ?? 1) < 2 || now.inode === undefined) return false
  const other = view.otherName?.(name)
  return other?.inode === now.inode && other.deviceId === now.deviceId
}

/** Of one or more. */
export function describeOwnFiles(files: readonly OwnFile[]): string {
  const some = firstFew(
    files,
    toldMax,
    ({ path, otherNames }) => `${printable(path)} (of ${otherNames.map(printable).join(', ')})`,
  )
  return `${files.length === 1 ? '1 path' : `${files.length} paths`} put back as a file of its own, no further name of the file that it was a name of before: ${some}`
}

const toldMax = 10
