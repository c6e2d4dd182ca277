// Finds what the trees of entries have lost: files of which a part cannot be read any more, folders whose tree is gone.
import { openIdSet } from '../base/id-set.ts'
import type { Reporter } from '../base/progress.ts'
import type { TreeId } from '../model/ids.ts'
import { joinPath, type RawName, type RawPath, rootPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import type { Repair } from '../store/repair.ts'

/** What a tree whose own bytes can be read has lost. */
export interface TreeDamage {
  /** Its own files, and folders whose tree cannot be read at all. */
  readonly lost: readonly TreeNode[]
  /** Folders that can be read and have lost something further down. */
  readonly inner: readonly { readonly name: RawName; readonly tree: TreeId }[]
}

export interface DamageFinder {
  /** Undefined for a tree that is whole; `gone` for one that cannot be read itself. */
  find(tree: TreeId): Promise<TreeDamage | 'gone' | undefined>
  /** Every lost file and folder below a tree, in order. */
  lostBelow(tree: TreeId, at?: RawPath): AsyncIterable<LostNode>
  /** Trees whose bytes are right and that VML cannot read: they stay as they are. */
  readonly unread: number
}

export interface LostNode {
  readonly path: RawPath
  readonly node: TreeNode
}

/** Sound trees are looked at once; of them only a set of ids is kept. */
export function openDamageFinder(
  repair: Pick<Repair, 'has' | 'readTree'>,
  { reporter, signal }: { readonly reporter: Reporter; readonly signal?: AbortSignal | undefined },
): DamageFinder {
  const sound = openIdSet()
  const damaged = new Map<TreeId, TreeDamage>()
  let unread = 0
  let filesDone = 0

  const find: DamageFinder['find'] = async (tree) => {
    if (sound.has(tree)) return undefined
    const known = damaged.get(tree)
    if (known) return known
    if (!repair.has('tree', tree)) return 'gone'
    signal?.throwIfAborted()
    reporter.progress({ phase: 'reading trees', filesDone: ++filesDone })
    const nodes = await repair.readTree(tree)
    if (!nodes) {
      unread++
      sound.add(tree)
      return undefined
    }
    const lost: TreeNode[] = []
    const inner: { name: RawName; tree: TreeId }[] = []
    for (const node of nodes) {
      // Every blob is asked for: each may be what makes a pack needed.
      const missing = (node.content ?? []).filter((id) => !repair.has('data', id))
      if (missing.length > 0) lost.push(node)
      if (node.subtree === undefined) continue
      const below = await find(node.subtree)
      if (below === 'gone') lost.push(node)
      else if (below) inner.push({ name: node.name, tree: node.subtree })
    }
    if (lost.length === 0 && inner.length === 0) {
      sound.add(tree)
      return undefined
    }
    const found = { lost, inner }
    damaged.set(tree, found)
    return found
  }
  async function* lostBelow(tree: TreeId, at: RawPath = rootPath): AsyncIterable<LostNode> {
    const found = await find(tree)
    if (found === undefined || found === 'gone') return
    for (const node of found.lost) yield { path: joinPath(at, node.name), node }
    for (const { name, tree: below } of found.inner) yield* lostBelow(below, joinPath(at, name))
  }
  return {
    find,
    lostBelow,
    get unread() {
      return unread
    },
  }
}
