// Builds the stored tree of an entry from what was captured, folders from the deepest up.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import type { TreeId } from '../model/ids.ts'
import type { RawName, RawPath } from '../model/raw-path.ts'
import type { Attributes, TreeNode } from '../model/tree.ts'
import type { Writer } from '../store/store.ts'
import type { Run } from './capture-run.ts'
import type { CapturedFile } from './captured-files.ts'
import { type Row, rootRow } from './listing-row.ts'

/** A folder that nothing is known of: it stands above a path whose own folder could not be looked at. */
const unknownFolder: Attributes = { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n }

export interface BuiltFolders {
  /** Of the root, to be stored with those that are not of the machine. */
  readonly nodes: readonly TreeNode[]
  /** Of every other folder that was built. */
  readonly trees: ReadonlyMap<Row, TreeId>
}

/** Stores every folder below the root in which something changed. */
export async function storeFolders(writer: Writer, run: Run): Promise<BuiltFolders> {
  const trees = new Map<Row, TreeId>()
  const build = async (folder: Row): Promise<TreeNode[]> => {
    const nodes: TreeNode[] = []
    const names = new Set<RawName>()
    for (const row of run.listing.children(folder)) {
      const name = run.listing.name(row)
      if (names.has(name)) throw listedTwice(run.listing.path(row))
      names.add(name)
      if (!run.listing.isFolder(row)) {
        const file = run.files.get(row)
        if (!file) throw new Error('A path was neither read nor taken over nor given up')
        nodes.push(nodeOf(name, file))
        continue
      }
      let subtree = run.trees.get(row)
      if (subtree === undefined) {
        subtree = await writer.storeTree(await build(row))
        trees.set(row, subtree)
      }
      const attributes = run.listing.isKnown(row) ? run.files.attributes(row) : unknownFolder
      nodes.push({ ...attributes, name, subtree })
    }
    return nodes
  }
  return { nodes: await build(rootRow), trees }
}

function listedTwice(path: RawPath): VmlError {
  return new VmlError('remote.protocol', `Cannot save "${printable(path)}": the machine lists it twice`, {
    hint: 'No entry was made. Look at its find and at its file system',
  })
}

/** As it stands in its folder's tree. */
export function nodeOf(name: RawName, file: CapturedFile): TreeNode {
  if (file.content === undefined) return { ...file.attributes, name }
  return { ...file.attributes, name, content: file.content }
}
