// How much room each of several trees needs in the packs beyond those before it: an estimate for a budget, from the index alone.
import type { BlobId, TreeId } from '../model/ids.ts'
import type { CallOptions, IndexView, Repository } from './store.ts'
import { readTreeReferences } from './tree-references.ts'

/**
 * Bytes that each root adds to those before it. Every folder is read once; files are not. A blob that is missing counts as nothing: what
 * is lost takes no room. Memory: some 40 bytes for each blob that is met.
 */
export async function* growthOf(
  repository: Repository,
  roots: AsyncIterable<TreeId> | Iterable<TreeId>,
  options: CallOptions = {},
): AsyncIterable<number> {
  const index = await repository.indexView(options)
  const seen = openIdSet()
  for await (const root of roots) yield await growth({ repository, index, seen }, root, options)
}

interface Measuring {
  readonly repository: Repository
  readonly index: IndexView
  readonly seen: IdSet
}

async function growth(
  { repository, index, seen }: Measuring,
  root: TreeId,
  options: CallOptions,
): Promise<number> {
  let bytes = 0
  const waiting: TreeId[] = []
  const data = (id: BlobId) => {
    if (seen.add('data', id)) bytes += index.storedBytes('data', id)
  }
  const tree = (id: TreeId) => {
    if (!seen.add('tree', id) || !index.has('tree', id)) return
    bytes += index.storedBytes('tree', id)
    waiting.push(id)
  }
  tree(root)
  for (let id = waiting.pop(); id !== undefined; id = waiting.pop())
    readTreeReferences(await repository.readTreeBytes(id, options), { data, tree })
  return bytes
}

interface IdSet {
  /** False where it is there. */
  add(type: 'data' | 'tree', id: string): boolean
}

/** By 56 of the 256 bits: that two of five million blobs share them is a chance of 1 in 6000, and then an estimate is off by one blob. */
function openIdSet(): IdSet {
  const parts = new Map<string, Set<number>>()
  return {
    add(type, id) {
      const name = `${type === 'tree' ? 't' : 'd'}${id.slice(0, 2)}`
      let part = parts.get(name)
      if (!part) parts.set(name, (part = new Set()))
      const key = Number.parseInt(id.slice(2, 14), 16)
      if (part.has(key)) return false
      part.add(key)
      return true
    },
  }
}
