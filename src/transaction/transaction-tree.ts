// Stores single paths as a tree, each at its own place, with the folders above them.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
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
/** Of many small files each would cost memory of its own. The bytes are free again when a sink has taken them, and there is one sink at a time. */
const piece = Buffer.allocUnsafeSlow(pieceBytes)
/** Files whose blobs are still being made, in other threads. */
const unfinishedMax = 256

/** Nodes of the root. `folderAttributes` tells those of a folder above a path. */
export async function storePaths(
  writer: Writer,
  paths: Iterable<PathToStore>,
  folderAttributes: (path: RawPath) => Attributes,
): Promise<TreeNode[]> {
  const root: Folder = { folders: new Map(), files: [] }
  let unfinished: Promise<void>[] = []
  try {
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
      const { files } = folder
      const { stored } = await sendContent(writer, content, attributes.size)
      // What is stored is what was read: the size of the attributes is a claim.
      const noted = stored.then((file) => void files.push({ ...attributes, name, ...file }))
      noted.catch(() => {})
      unfinished.push(noted)
      if (unfinished.length < unfinishedMax) continue
      await Promise.all(unfinished)
      unfinished = []
    }
  } finally {
    // None is under way any more when this fails.
    await Promise.allSettled(unfinished)
  }
  await Promise.all(unfinished)
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

/**
 * Resolves when all of it was handed over; `stored` when it is stored, and the next one may be sent before. Of a file the first `bytesMax`: a program that
 * has it open may go on to write at its end.
 */
async function sendContent(
  writer: Writer,
  content: FileContent,
  bytesMax = Infinity,
): Promise<{ readonly stored: Promise<StoredFile> }> {
  if ('stored' in content) return { stored: Promise.resolve(content.stored) }
  if ('bytes' in content) {
    const { bytes } = content
    return await sendBytes(writer, bytes.length, async (sink) => {
      if (bytes.length > 0) await sink.write({ kind: 'data', bytes })
    })
  }
  const file = openSync(rawToBytes(content.file), 'r')
  try {
    return await sendBytes(writer, Math.min(fstatSync(file).size, bytesMax), async (sink) => {
      for (let at = 0; ;) {
        const length = readSync(file, piece, 0, Math.min(pieceBytes, bytesMax - at), at)
        if (length === 0) return
        at += length
        await sink.write({ kind: 'data', bytes: piece.subarray(0, length) })
      }
    })
  } finally {
    closeSync(file)
  }
}

async function sendBytes(
  writer: Writer,
  size: number,
  send: (sink: FileSink) => Promise<void>,
): Promise<{ readonly stored: Promise<StoredFile> }> {
  const sink = writer.openFile({ size })
  try {
    await send(sink)
    return { stored: sink.finish() }
  } catch (error) {
    sink.abort()
    throw error
  }
}
