// Finds which of the deleted files and folders are added ones under another name: equal content, one to one.
import { baseName, parentPath, type RawPath } from './raw-path.ts'
import type { TreeNode } from './tree.ts'

/** A path that only one side has. */
export interface OneSided {
  readonly path: RawPath
  readonly node: TreeNode
  /** Folders: how many of the items after this one lie below it. */
  readonly below: number
  /** Of these, the regular files and their bytes. */
  readonly files: number
  readonly bytes: number
}

export interface Rename {
  readonly from: OneSided
  readonly to: OneSided
}

export interface Renames {
  readonly renames: readonly Rename[]
  readonly deleted: readonly OneSided[]
  readonly added: readonly OneSided[]
}

/**
 * Both lists hold folders before what is in them, with nothing in between. Folders with one subtree are matched
 * whole, outermost first; then files of equal, not empty content. Of several candidates the best is taken: the same
 * name, the same folder, the same time, else the first by path.
 */
export function findRenames(deleted: readonly OneSided[], added: readonly OneSided[]): Renames {
  const renames: Rename[] = []
  const goneLeft = new Set<OneSided>()
  const goneRight = new Set<OneSided>()
  const placeLeft = new Map(deleted.map((item, index) => [item, index]))
  const placeRight = new Map(added.map((item, index) => [item, index]))
  // The largest folder first: what lies around another has more below it, so nothing is taken out of a match.
  const folders = deleted.filter((item) => item.below > 0).toSorted((a, b) => b.below - a.below)
  for (const { keyOf, items } of [
    { keyOf: folderKey, items: folders },
    { keyOf: fileKey, items: deleted },
  ]) {
    const candidates = candidatesByKey(added, keyOf, goneRight)
    for (const from of items) {
      const key = keyOf(from)
      if (key === undefined || goneLeft.has(from)) continue
      const to = takeBest(candidates.get(key), from, goneRight)
      if (to === undefined) continue
      renames.push({ from, to })
      for (const item of withBelow(deleted, placeLeft, from)) goneLeft.add(item)
      for (const item of withBelow(added, placeRight, to)) goneRight.add(item)
    }
  }
  return {
    renames,
    deleted: deleted.filter((item) => !goneLeft.has(item)),
    added: added.filter((item) => !goneRight.has(item)),
  }
}

/** Only folders with something to recognise in them: empty ones are equal by chance. */
function folderKey({ node, below, bytes }: OneSided): string | undefined {
  return node.type === 'dir' && below > 0 && bytes > 0 ? node.subtree : undefined
}

function fileKey({ node }: OneSided): string | undefined {
  return node.type === 'file' && (node.size ?? 0) > 0 && node.content !== undefined
    ? node.content.join()
    : undefined
}

/** Candidates of one key, also by name, so that a thousand copies of one file do not cost a million comparisons. */
interface Candidates {
  readonly all: OneSided[]
  readonly byName: Map<string, OneSided[]>
}

const comparedMax = 64

function candidatesByKey(
  items: readonly OneSided[],
  keyOf: (item: OneSided) => string | undefined,
  gone: ReadonlySet<OneSided>,
): ReadonlyMap<string, Candidates> {
  const candidates = new Map<string, Candidates>()
  for (const item of items) {
    const key = gone.has(item) ? undefined : keyOf(item)
    if (key === undefined) continue
    let group = candidates.get(key)
    if (group === undefined) candidates.set(key, (group = { all: [], byName: new Map() }))
    group.all.push(item)
    const name = baseName(item.path)
    const named = group.byName.get(name)
    if (named === undefined) group.byName.set(name, [item])
    else named.push(item)
  }
  return candidates
}

function takeBest(
  group: Candidates | undefined,
  from: OneSided,
  gone: ReadonlySet<OneSided>,
): OneSided | undefined {
  if (group === undefined) return undefined
  return bestOf(group.byName.get(baseName(from.path)), from, gone) ?? bestOf(group.all, from, gone)
}

function bestOf(
  items: OneSided[] | undefined,
  from: OneSided,
  gone: ReadonlySet<OneSided>,
): OneSided | undefined {
  let best: OneSided | undefined
  let bestScore = -1
  let compared = 0
  let taken = 0
  for (const item of items ?? []) {
    if (gone.has(item)) {
      if (compared === 0) taken++
      continue
    }
    const score = scoreOf(from, item)
    if (score > bestScore) {
      best = item
      bestScore = score
    }
    if (++compared === comparedMax) break
  }
  // What is taken at the front is never looked at again.
  if (taken > 0) items?.splice(0, taken)
  return best
}

function scoreOf(from: OneSided, to: OneSided): number {
  return (
    (parentPath(from.path) === parentPath(to.path) ? 2 : 0) + (from.node.mtimeNs === to.node.mtimeNs ? 1 : 0)
  )
}

function withBelow(
  items: readonly OneSided[],
  places: ReadonlyMap<OneSided, number>,
  item: OneSided,
): readonly OneSided[] {
  const place = places.get(item) ?? items.length
  return items.slice(place, place + 1 + item.below)
}
