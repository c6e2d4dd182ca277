// Writes `/.vml/` of an entry: what restic's format has no field for, as ordinary files that any restore brings back.
import { rawFromString, type RawText } from '../base/raw-text.ts'
import { isRawName, type RawName } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import type { StoredFile, Writer } from '../store/store.ts'

/** A file or folder of `/.vml/`. */
export type VmlFile =
  | { readonly name: string; readonly bytes: Uint8Array }
  /** Its content is stored. */
  | { readonly name: string; readonly stored: StoredFile }
  | { readonly name: string; readonly files: readonly VmlFile[] }
  /** What lies in the folder is stored. */
  | { readonly name: string; readonly nodes: readonly TreeNode[] }
  | { readonly node: TreeNode }

/** Stores the folder and returns its node for the root. */
export async function storeVmlFolder(
  writer: Writer,
  files: readonly VmlFile[],
  takenAtMs: number,
): Promise<TreeNode> {
  return await storeFolder({ writer, mtimeNs: BigInt(takenAtMs) * 1_000_000n }, '.vml', files)
}

interface Folder {
  readonly writer: Writer
  readonly mtimeNs: bigint
}

async function storeFolder(folder: Folder, name: string, files: readonly VmlFile[]): Promise<TreeNode> {
  const nodes: TreeNode[] = []
  for (const file of files) {
    if ('node' in file) nodes.push(file.node)
    else if ('stored' in file) nodes.push(nodeOfFile(folder, file.name, file.stored))
    else if ('bytes' in file)
      nodes.push(nodeOfFile(folder, file.name, await storeBytes(folder.writer, file.bytes)))
    else if ('nodes' in file) nodes.push(await nodeOfFolder(folder, file.name, file.nodes))
    else nodes.push(await storeFolder(folder, file.name, file.files))
  }
  return await nodeOfFolder(folder, name, nodes)
}

async function nodeOfFolder(folder: Folder, name: string, nodes: readonly TreeNode[]): Promise<TreeNode> {
  const subtree = await folder.writer.storeTree(nodes)
  return { ...attributesIn(folder), name: nameOf(name), type: 'dir', mode: 0o700, subtree }
}

/** For whoever wants to know what it takes before the folder is stored. */
export async function storeBytes(writer: Writer, bytes: Uint8Array): Promise<StoredFile> {
  return await storePieces(writer, [bytes])
}

/** Of one file, in order. */
export async function storePieces(writer: Writer, pieces: readonly Uint8Array[]): Promise<StoredFile> {
  const sink = writer.openFile()
  for (const bytes of pieces) if (bytes.length > 0) await sink.write({ kind: 'data', bytes })
  return await sink.finish()
}

function nodeOfFile(folder: Folder, name: string, { content, size }: StoredFile): TreeNode {
  return { ...attributesIn(folder), name: nameOf(name), type: 'file', mode: 0o600, size, content }
}

function attributesIn({ mtimeNs }: Folder): { uid: number; gid: number; mtimeNs: bigint } {
  return { uid: 0, gid: 0, mtimeNs }
}

function nameOf(text: string): RawName {
  const name: RawText = rawFromString(text)
  if (!isRawName(name)) throw new TypeError('A document of an entry has a name that no file can have')
  return name
}
