// Paths that a side is known to have had and does not have, lost to damage or unreadable: a comparison names them, since
// where the other side does not have them either, nothing else would tell of them.
import { type NotCompared, compareTreeOrder } from '../model/compare.ts'
import {
  baseName,
  isWithin,
  nearestIn,
  parentPath,
  type RawName,
  type RawPath,
  rootPath,
} from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import type { ComparableTree, Side } from './compare-side.ts'

/** Those at, below and around `starts` of which `told` says nothing yet. */
export async function findGaps(
  sides: { readonly left: Side; readonly right: Side },
  starts: readonly { readonly path: RawPath }[],
  told: readonly NotCompared[],
): Promise<readonly NotCompared[]> {
  const gaps: NotCompared[] = []
  for (const side of ['left', 'right'] as const) {
    const { scope, tree } = sides[side]
    if (scope?.gaps === undefined || scope.gaps.size === 0) continue
    const known = new Set(told.filter((each) => each.side === side).map(({ path }) => path))
    const aroundKnown = new Set([...known].flatMap((path) => [...pathAndAbove(path)]))
    const nodeAt = openNodes(tree)
    for (const path of [...scope.gaps].toSorted(compareTreeOrder)) {
      if (!starts.some((start) => isWithin(path, start.path) || isWithin(start.path, path))) continue
      if (aroundKnown.has(path) || nearestIn(path, known) !== undefined) continue
      // A folder may be there without what was in it.
      const node = await nodeAt(path)
      if (node !== undefined && node.type !== 'dir') continue
      gaps.push({ path, side, reason: scope.lost?.has(path) ? 'lost' : 'unreadable' })
      known.add(path)
    }
  }
  return gaps
}

function* pathAndAbove(path: RawPath): Iterable<RawPath> {
  let at = path
  for (; at !== rootPath; at = parentPath(at)) yield at
  yield at
}

/** Folders kept in memory once read; gaps come in the order of the tree. */
const foldersMax = 4096

function openNodes(tree: ComparableTree): (path: RawPath) => Promise<TreeNode | undefined> {
  const folders = new Map<RawPath, ReadonlyMap<RawName, TreeNode>>()
  const folderAt = async (path: RawPath): Promise<ReadonlyMap<RawName, TreeNode>> => {
    const known = folders.get(path)
    if (known) return known
    const folder = await nodeAt(path)
    const nodes = path === rootPath || folder?.type === 'dir' ? await tree.children(path, folder) : []
    const byName = new Map(nodes.map((node) => [node.name, node]))
    if (folders.size >= foldersMax) folders.clear()
    folders.set(path, byName)
    return byName
  }
  const nodeAt = async (path: RawPath): Promise<TreeNode | undefined> =>
    path === rootPath ? undefined : (await folderAt(parentPath(path))).get(baseName(path))
  return nodeAt
}
