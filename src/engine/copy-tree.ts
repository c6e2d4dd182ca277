// Copies a tree from one repository to another, blob by blob as they were cut, and leaves out or replaces what must not go along.
import type { Reporter } from '../base/progress.ts'
import type { BlobId, TreeId } from '../model/ids.ts'
import { joinPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import type { Repository, Writer } from '../store/store.ts'

/** What becomes of a path: as it is, not at all, or another content. */
export type TreeEdit = (path: RawPath, node: TreeNode) => 'keep' | 'drop' | { readonly bytes: Buffer }

export interface CopyRequest {
  readonly from: Repository
  readonly writer: Writer
  readonly tree: TreeId
  readonly edit: TreeEdit
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
}

/** Contents before the trees that name them. Returns the root's tree in the target: the same id where nothing was edited. */
export async function copyTree(request: CopyRequest): Promise<TreeId> {
  const progress = { filesDone: 0, bytesDone: 0 }
  return await copyFolder(request, rootPath, request.tree, progress)
}

async function copyFolder(
  request: CopyRequest,
  at: RawPath,
  tree: TreeId,
  progress: { filesDone: number; bytesDone: number },
): Promise<TreeId> {
  const { from, writer, edit, signal } = request
  const nodes = await from.readTree(tree, { signal })
  const copied: TreeNode[] = []
  let edited = false
  for (const node of nodes) {
    const path = joinPath(at, node.name)
    const verdict = edit(path, node)
    if (verdict === 'drop') {
      edited = true
      continue
    }
    const result =
      verdict === 'keep'
        ? await copyNode(request, path, node, progress)
        : await replace(writer, node, verdict.bytes)
    edited ||= result !== node
    copied.push(result)
  }
  if (edited) return await writer.storeTree(copied)
  await writer.copyBlob('tree', await from.readTreeBytes(tree, { signal }))
  return tree
}

async function copyNode(
  request: CopyRequest,
  path: RawPath,
  node: TreeNode,
  progress: { filesDone: number; bytesDone: number },
): Promise<TreeNode> {
  if (node.subtree !== undefined) {
    const subtree = await copyFolder(request, path, node.subtree, progress)
    return subtree === node.subtree ? node : { ...node, subtree }
  }
  for (const id of node.content ?? []) await copyContent(request, id)
  if (node.type === 'file') {
    progress.filesDone++
    progress.bytesDone += node.size ?? 0
    request.reporter.progress({ phase: 'copying', ...progress })
  }
  return node
}

async function copyContent({ from, writer, signal }: CopyRequest, id: BlobId): Promise<void> {
  if (!writer.hasBlob('data', id)) await writer.copyBlob('data', await from.readBlob(id, { signal }))
}

async function replace(writer: Writer, node: TreeNode, bytes: Buffer): Promise<TreeNode> {
  const sink = writer.openFile()
  if (bytes.length > 0) await sink.write({ kind: 'data', bytes })
  const { content, size } = await sink.finish()
  return { ...node, content, size }
}
