// How much room each of several trees needs in the packs beyond those before it: an estimate for a budget, from the index alone.
import type { BlobId, TreeId } from '../model/ids.ts'
import type { TreeNode } from '../model/tree.ts'
import type { CallOptions, IndexView, Repository } from './store.ts'
import { readTreeReferences } from './tree-references.ts'

export interface Growth {
  /**
   * Bytes that this root adds to those that were counted before. Where that is more than `within`, it stays uncounted, and undefined is
   * returned as soon as that is known.
   */
  add(root: TreeId, within?: number): Promise<number | undefined>
  /** As of a root, of some of its nodes. */
  addNodes(nodes: readonly Pick<TreeNode, 'content' | 'subtree'>[]): Promise<number>
}

/**
 * Every folder is read once; files are not. A blob that is missing counts as nothing: what is lost takes no room. Memory: some 40 bytes
 * for each blob that is met, and as much again for those of one root that may yet be left out.
 */
export async function openGrowth(repository: Repository, options: CallOptions = {}): Promise<Growth> {
  const index = await repository.indexView(options)
  const seen = openIdSet()
  const measuring = { repository, index, seen }
  return {
    add: async (root, within) => await growth(measuring, { trees: [root], blobs: [], within }, options),
    addNodes: async (nodes) => {
      const trees = nodes.flatMap(({ subtree }) => subtree ?? [])
      const blobs = nodes.flatMap(({ content }) => content ?? [])
      return (await growth(measuring, { trees, blobs, within: undefined }, options)) ?? 0
    },
  }
}

/** What each root adds to those before it. */
export async function* growthOf(
  repository: Repository,
  roots: AsyncIterable<TreeId> | Iterable<TreeId>,
  options: CallOptions = {},
): AsyncIterable<number> {
  const growing = await openGrowth(repository, options)
  for await (const root of roots) yield (await growing.add(root)) ?? 0
}

interface Measuring {
  readonly repository: Repository
  readonly index: IndexView
  readonly seen: IdSet
}

async function growth(
  { repository, index, seen }: Measuring,
  {
    trees,
    blobs,
    within,
  }: {
    readonly trees: readonly TreeId[]
    readonly blobs: readonly BlobId[]
    readonly within: number | undefined
  },
  options: CallOptions,
): Promise<number | undefined> {
  let bytes = 0
  const waiting: TreeId[] = []
  const added: (readonly ['data' | 'tree', string])[] = []
  const isNew = (type: 'data' | 'tree', id: string) => {
    if (!seen.add(type, id)) return false
    if (within !== undefined) added.push([type, id])
    return true
  }
  const data = (id: BlobId) => {
    if (isNew('data', id)) bytes += index.storedBytes('data', id)
  }
  const tree = (id: TreeId) => {
    if (!isNew('tree', id) || !index.has('tree', id)) return
    bytes += index.storedBytes('tree', id)
    waiting.push(id)
  }
  for (const id of blobs) data(id)
  for (const id of trees) tree(id)
  for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
    readTreeReferences(await repository.readTreeBytes(id, options), { data, tree })
    if (within === undefined || bytes <= within) continue
    for (const [type, each] of added) seen.remove(type, each)
    return undefined
  }
  return bytes
}

interface IdSet {
  /** False where it is there. */
  add(type: 'data' | 'tree', id: string): boolean
  remove(type: 'data' | 'tree', id: string): void
}

/** By 56 of the 256 bits: that two of five million blobs share them is a chance of 1 in 6000, and then an estimate is off by one blob. */
function openIdSet(): IdSet {
  const parts = new Map<string, Set<number>>()
  const nameOf = (type: 'data' | 'tree', id: string) => `${type === 'tree' ? 't' : 'd'}${id.slice(0, 2)}`
  const keyOf = (id: string) => Number.parseInt(id.slice(2, 14), 16)
  return {
    add(type, id) {
      const name = nameOf(type, id)
      let part = parts.get(name)
      if (!part) parts.set(name, (part = new Set()))
      const key = keyOf(id)
      if (part.has(key)) return false
      part.add(key)
      return true
    },
    remove(type, id) {
      parts.get(nameOf(type, id))?.delete(keyOf(id))
    },
  }
}
