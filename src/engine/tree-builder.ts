// Builds the stored tree of an entry from its paths, folders from the deepest up.
import { baseName, parentPath, type RawName, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Attributes, TreeNode } from '../model/tree.ts'
import type { Writer } from '../store/store.ts'
import type { CapturedFile } from './capture-run.ts'

/** A folder that nothing is known of: it stands above a path whose own folder could not be looked at. */
const unknownFolder: Attributes = { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n }

/** Stores every folder below the root and returns the root's nodes, to be stored with those that are not of the machine. */
export async function storeFolders(
  writer: Writer,
  files: ReadonlyMap<RawPath, CapturedFile>,
): Promise<readonly TreeNode[]> {
  const folders = new Map<RawPath, TreeNode[]>([[rootPath, []]])
  const attributes = new Map<RawPath, Attributes>()
  for (const [path, file] of files) {
    if (path === rootPath) continue
    if (file.attributes.type === 'dir') {
      attributes.set(path, file.attributes)
      ensureFolder(folders, path)
    } else ensureFolder(folders, parentPath(path)).push(nodeOf(baseName(path), file))
  }
  // Deepest first, so that a folder's subtrees are stored when it is its turn.
  const order = [...folders.keys()].sort((a, b) => depth(b) - depth(a))
  for (const path of order) {
    if (path === rootPath) continue
    const subtree = await writer.storeTree(folders.get(path) ?? [])
    const node: TreeNode = { ...(attributes.get(path) ?? unknownFolder), name: baseName(path), subtree }
    ensureFolder(folders, parentPath(path)).push(node)
  }
  return folders.get(rootPath) ?? []
}

function ensureFolder(folders: Map<RawPath, TreeNode[]>, path: RawPath): TreeNode[] {
  const known = folders.get(path)
  if (known) return known
  const nodes: TreeNode[] = []
  folders.set(path, nodes)
  if (path !== rootPath) ensureFolder(folders, parentPath(path))
  return nodes
}

function depth(path: RawPath): number {
  if (path === rootPath) return 0
  let slashes = 0
  for (let index = path.indexOf('/'); index >= 0; index = path.indexOf('/', index + 1)) slashes++
  return slashes
}

/** As it stands in its folder's tree. */
export function nodeOf(name: RawName, file: CapturedFile): TreeNode {
  if (file.content === undefined) return { ...file.attributes, name }
  return { ...file.attributes, name, content: file.content }
}
