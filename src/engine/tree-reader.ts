// Looks paths up in a stored tree, reading each folder once.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { isDamage } from '../store/damage.ts'
import type { TreeId } from '../model/ids.ts'
import { baseName, joinPath, parentPath, type RawName, type RawPath, rootPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import type { Repository } from '../store/store.ts'

export interface TreeReader {
  /** The node of a path; undefined when the tree does not have it. The root has no node. */
  node(path: RawPath): Promise<TreeNode | undefined>
  /** The nodes of a folder by name; undefined when there is no such folder. */
  folder(path: RawPath): Promise<ReadonlyMap<RawName, TreeNode> | undefined>
}

export interface WalkedNode {
  readonly path: RawPath
  readonly node: TreeNode
}

/** Folders stay in memory once read, `foldersMax` at most: a scan asks for them in nearly the order of the tree. */
const foldersMax = 4096

export function openTreeReader(repository: Repository, root: TreeId, signal?: AbortSignal): TreeReader {
  const folders = new Map<RawPath, Promise<ReadonlyMap<RawName, TreeNode> | undefined>>()

  function folder(path: RawPath): Promise<ReadonlyMap<RawName, TreeNode> | undefined> {
    const known = folders.get(path)
    if (known) return known
    const promise = load(path)
    if (folders.size >= foldersMax) folders.clear()
    folders.set(path, promise)
    return promise
  }

  async function load(path: RawPath): Promise<ReadonlyMap<RawName, TreeNode> | undefined> {
    const tree = path === rootPath ? root : (await node(path))?.subtree
    if (tree === undefined) return undefined
    const nodes = await repository.readTree(tree, { signal })
    return new Map(nodes.map((each) => [each.name, each]))
  }

  async function node(path: RawPath): Promise<TreeNode | undefined> {
    if (path === rootPath) return undefined
    return (await folder(parentPath(path)))?.get(baseName(path))
  }

  return { node, folder }
}

export interface WalkOptions {
  readonly at?: RawPath
  readonly signal?: AbortSignal | undefined
  readonly enter?: (path: RawPath) => boolean
  /** Told of a folder that is damaged, right after its node was given; without it the walk fails there. */
  readonly onDamage?: (path: RawPath, why: string) => void
}

/** Everything below a folder of a stored tree, parents first, in bytewise order of names. */
export async function* walkTree(
  repository: Repository,
  tree: TreeId,
  options: WalkOptions = {},
): AsyncIterable<WalkedNode> {
  const at = options.at ?? rootPath
  const { signal, onDamage } = options
  let nodes: readonly TreeNode[] = []
  try {
    nodes = await repository.readTree(tree, { signal })
  } catch (error) {
    if (!onDamage || !isDamage(error)) throw error
    onDamage(at, error.message)
  }
  for (const node of nodes) {
    const path = joinPath(at, node.name)
    yield { path, node }
    if (node.type === 'dir' && node.subtree !== undefined && (options.enter?.(path) ?? true)) {
      yield* walkTree(repository, node.subtree, { ...options, at: path })
    }
  }
}

/** The node of a path, or `not-found`. */
export async function requireNode(reader: TreeReader, path: RawPath, entryName: string): Promise<TreeNode> {
  const node = await reader.node(path)
  if (node) return node
  throw new VmlError('not-found', `Cannot find "${printable(path)}" in ${entryName}`, {
    hint: `Look what is there with: vml ls ${entryName.replace('#', '')}`,
  })
}
