// Stores single paths as a tree, each at its own place, with the folders above them.
import { createHash } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { type RawText, rawToBytes } from '../base/raw-text.ts'
import { joinPath, pathParts, type RawName, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Attributes, TreeNode } from '../model/tree.ts'
import type { StoredFile, Writer } from '../store/store.ts'

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
  /** What it was when it was looked at, in lower-case hex; absent where nobody did. */
  readonly sha256?: string | undefined
}

export interface StoredPaths {
  /** Of the root. */
  readonly nodes: readonly TreeNode[]
  /** What was read of them is another content by now: they are in no node. */
  readonly altered: readonly RawPath[]
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

/** `folderAttributes` tells those of a folder above a path. */
export async function storePaths(
  writer: Writer,
  paths: Iterable<PathToStore>,
  folderAttributes: (path: RawPath) => Attributes,
): Promise<StoredPaths> {
  const root: Folder = { folders: new Map(), files: [] }
  const altered: RawPath[] = []
  let unfinished: Promise<void>[] = []
  try {
    for (const { path, attributes, content, sha256 } of paths) {
      const parts = pathParts(path)
      const name = parts.pop()
      if (name === undefined) throw new TypeError('The root is no file')
      const { stored, isAltered } = await sendContent(writer, content, { bytesMax: attributes.size, sha256 })
      if (isAltered) altered.push(path)
      let folder = root
      for (const part of parts) {
        const inner = folder.folders.get(part) ?? { folders: new Map(), files: [] }
        folder.folders.set(part, inner)
        folder = inner
      }
      const { files } = folder
      // What is stored is what was read: the size of the attributes is a claim.
      const noted = stored.then((file) => void (isAltered || files.push({ ...attributes, name, ...file })))
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
  return { nodes: await storeFolder({ writer, folderAttributes }, root, rootPath), altered }
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

interface SentContent {
  readonly stored: Promise<StoredFile>
  readonly isAltered: boolean
}

/**
 * Resolves when all of it was handed over; `stored` when it is stored, and the next one may be sent before. Of a file the first `bytesMax`: a program that
 * has it open may go on to write at its end.
 */
async function sendContent(
  writer: Writer,
  content: FileContent,
  {
    bytesMax = Infinity,
    sha256,
  }: { readonly bytesMax?: number | undefined; readonly sha256?: string | undefined },
): Promise<SentContent> {
  if ('stored' in content) return { stored: Promise.resolve(content.stored), isAltered: false }
  if ('bytes' in content) {
    const { bytes } = content
    return await sendBytes(writer, { size: bytes.length, sha256 }, async (write) => {
      if (bytes.length > 0) await write(bytes)
    })
  }
  const file = openSync(rawToBytes(content.file), 'r')
  try {
    const size = Math.min(fstatSync(file).size, bytesMax)
    return await sendBytes(writer, { size, sha256 }, async (write) => {
      for (let at = 0; ;) {
        const length = readSync(file, piece, 0, Math.min(pieceBytes, bytesMax - at), at)
        if (length === 0) return
        at += length
        await write(piece.subarray(0, length))
      }
    })
  } finally {
    closeSync(file)
  }
}

async function sendBytes(
  writer: Writer,
  { size, sha256 }: { readonly size: number; readonly sha256: string | undefined },
  send: (write: (bytes: Uint8Array) => Promise<void>) => Promise<void>,
): Promise<SentContent> {
  const sink = writer.openFile({ size })
  const sum = sha256 === undefined ? undefined : createHash('sha256')
  try {
    await send(async (bytes) => {
      sum?.update(bytes)
      await sink.write({ kind: 'data', bytes })
    })
    return { stored: sink.finish(), isAltered: sum !== undefined && sum.digest('hex') !== sha256 }
  } catch (error) {
    sink.abort()
    throw error
  }
}
