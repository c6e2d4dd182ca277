// Walks two trees side by side and sorts their paths: on both sides, on one, or unknown to one.
import { openPool } from '../base/pool.ts'
import type { NotCompared } from '../model/compare.ts'
import { isWithin, joinPath, rootPath, type RawPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import { type Side, whyUnknown } from './compare-side.ts'
import { vmlPath } from './vml-path.ts'

export interface PairedNodes {
  readonly path: RawPath
  readonly left?: TreeNode
  readonly right?: TreeNode
}

export interface OneNode {
  readonly path: RawPath
  readonly node: TreeNode
}

export interface TreePairs {
  /** Paths that both sides have and that may differ, in any order. */
  readonly common: readonly Required<PairedNodes>[]
  /** With everything below them, in any order. */
  readonly deleted: readonly OneNode[]
  readonly added: readonly OneNode[]
  readonly notCompared: readonly NotCompared[]
}

/** Folders read at once: what is waited for is the storage. */
const foldersAtOnce = 16

/** `starts`: the root (without nodes), or paths with their nodes. Folders of equal subtree are not read. */
export async function pairTrees(
  sides: { readonly left: Side; readonly right: Side; readonly signal?: AbortSignal | undefined },
  starts: readonly PairedNodes[],
): Promise<TreePairs> {
  const common: Required<PairedNodes>[] = []
  const found = { left: [] as OneNode[], right: [] as OneNode[] }
  const notCompared: NotCompared[] = []
  const folders: PairedNodes[] = []
  const pool = openPool(foldersAtOnce)

  function take({ path, left, right }: PairedNodes): void {
    // VML's own documents are compared as what they say.
    if (isWithin(path, vmlPath)) return
    if (left !== undefined && right !== undefined) takeBoth({ path, left, right })
    else if (left !== undefined) takeOne('left', path, left)
    else if (right !== undefined) takeOne('right', path, right)
  }

  function takeBoth(pair: Required<PairedNodes>): void {
    const { path, left, right } = pair
    if (!isAlike(left, right)) common.push(pair)
    const leftFolder = left.type === 'dir'
    const rightFolder = right.type === 'dir'
    if (leftFolder && rightFolder) {
      if (left.subtree === undefined || left.subtree !== right.subtree) folders.push(pair)
    } else if (leftFolder) folders.push({ path, left })
    else if (rightFolder) folders.push({ path, right })
  }

  function takeOne(side: 'left' | 'right', path: RawPath, node: TreeNode): void {
    const other = side === 'left' ? 'right' : 'left'
    const reason = whyUnknown(sides[other].scope, path)
    if (reason !== undefined) {
      notCompared.push({ path, side: other, reason })
      return
    }
    found[side].push({ path, node })
    if (node.type === 'dir') folders.push(side === 'left' ? { path, left: node } : { path, right: node })
  }

  async function readFolder(folder: PairedNodes): Promise<void> {
    sides.signal?.throwIfAborted()
    const { path, left, right } = folder
    const isRoot = path === rootPath
    const [leftNodes, rightNodes] = await Promise.all([
      isRoot || left !== undefined ? sides.left.tree.children(path, left) : [],
      isRoot || right !== undefined ? sides.right.tree.children(path, right) : [],
    ])
    for (const pair of merge(path, leftNodes, rightNodes)) take(pair)
  }

  for (const start of starts) {
    if (start.path === rootPath) folders.push(start)
    else take(start)
  }
  while (folders.length > 0) {
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      const next = folder
      await pool.start(() => readFolder(next))
    }
    await pool.drain()
  }
  return { common, deleted: found.left, added: found.right, notCompared }
}

/** The quick answer for most files of two large trees; what it does not see is compared in full. */
function isAlike(left: TreeNode, right: TreeNode): boolean {
  return (
    left.type === right.type &&
    left.mode === right.mode &&
    left.uid === right.uid &&
    left.gid === right.gid &&
    left.mtimeNs === right.mtimeNs &&
    left.size === right.size &&
    left.linkTarget === right.linkTarget &&
    left.device === right.device &&
    left.xattrs === undefined &&
    right.xattrs === undefined &&
    (left.type !== 'file' || hasSameBlobs(left, right))
  )
}

function hasSameBlobs({ content: left }: TreeNode, { content: right }: TreeNode): boolean {
  if (left === undefined || right === undefined || left.length !== right.length) return false
  return left.every((id, index) => id === right[index])
}

/** Two lists in bytewise order of names. */
function* merge(
  path: RawPath,
  lefts: readonly TreeNode[],
  rights: readonly TreeNode[],
): Iterable<PairedNodes> {
  let i = 0
  let j = 0
  while (i < lefts.length || j < rights.length) {
    const left = lefts[i]
    const right = rights[j]
    const name =
      left === undefined || (right !== undefined && right.name < left.name) ? right?.name : left.name
    if (name === undefined) return
    const pair = {
      path: joinPath(path, name),
      ...(left?.name === name ? { left } : {}),
      ...(right?.name === name ? { right } : {}),
    }
    if (left?.name === name) i++
    if (right?.name === name) j++
    yield pair
  }
}
