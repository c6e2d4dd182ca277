// Stores single paths as a tree, each at its own place, with the folders above them.
import { createReadStream } from 'node:fs'
import { type RawText, rawToBytes } from '../base/raw-text.ts'
import { joinPath, pathParts, type RawName, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Attributes, TreeNode } from '../model/tree.ts'
import type { FileSink, StoredFile, Writer } from '../store/store.ts'

/** Content of a regular file: bytes, a file of this computer by its path, or what is stored already. */
export type FileContent =
  | { readonly bytes: Uint8Array }
  | { readonly file: RawText }
  | { readonly stored: StoredFile }

export interface PathToStore {
  readonly path: RawPath
  /** Of a regular file. */
  readonly attributes: Attributes
  readonly content: FileContent
}

interface Folder {
  readonly folders: Map<RawName, Folder>
  readonly files: TreeNode[]
}

const pieceBytes = 1024 * 1024

/** Nodes of the root. `folderAttributes` tells those of a folder above a path. */
export async function storePaths(
  writer: Writer,
  paths: Iterable<PathToStore>,
  folderAttributes: (path: RawPath) => Attributes,
): Promise<TreeNode[]> {
  const root: Folder = { folders: new Map(), files: [] }
  for (const { path, attributes, content } of paths) {
    const parts = pathParts(path)
    const name = parts.pop()
    if (name === undefined) throw new TypeError('The root is no file')
    let folder = root
    for (const part of parts) {
      const inner = folder.folders.get(part) ?? { folders: new Map(), files: [] }
      folder.folders.set(part, inner)
      folder = inner
    }
    // What is stored is what was read: the size of the attributes is a claim.
    folder.files.push({ ...attributes, name, ...(await storeContent(writer, content)) })
  }
  return await storeFolder({ writer, folderAttributes }, root, rootPath)
}

async function storeFolder(
  context: { writer: Writer; folderAttributes: (path: RawPath) => Attributes },
  folder: Folder,
  at: RawPath,
): Promise<TreeNode[]> {
  const nodes: TreeNode[] = [...folder.files]
  for (const [name, inner] of folder.folders) {
    const path = joinPath(at, name)
    const subtree = await context.writer.storeTree(await storeFolder(context, inner, path))
    nodes.push({ ...context.folderAttributes(path), type: 'dir', name, subtree })
  }
  return nodes
}

export async function storeContent(writer: Writer, content: FileContent): Promise<StoredFile> {
  if ('stored' in content) return content.stored
  const sink = writer.openFile()
  try {
    if ('bytes' in content) {
      if (content.bytes.length > 0) await sink.write({ kind: 'data', bytes: content.bytes })
    } else {
      await storeFrom(sink, content.file)
    }
    return await sink.finish()
  } catch (error) {
    sink.abort()
    throw error
  }
}

async function storeFrom(sink: FileSink, file: RawText): Promise<void> {
  for await (const piece of createReadStream(rawToBytes(file), { highWaterMark: pieceBytes })) {
    const bytes: unknown = piece
    if (!(bytes instanceof Uint8Array)) throw new TypeError('A file gave something else than bytes')
    if (bytes.length > 0) await sink.write({ kind: 'data', bytes })
  }
}
