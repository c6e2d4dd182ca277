// Contents that the entries of transactions hold, each by what it is of. Whoever takes a transaction back asks for thousands.
import { VmlError } from '../base/failure.ts'
import { printable, rawFromString, type RawText } from '../base/raw-text.ts'
import { entryName, type LoggedEntry } from '../engine/entries.ts'
import type { TreeId } from '../model/ids.ts'
import { pathParts, type RawPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import type { Repository } from '../store/store.ts'

interface ReadOptions {
  readonly signal?: AbortSignal | undefined
}

/** Which content of a transaction: of a path before it (a blob), after it, or a delta by its name. */
export type ContentOf =
  | { readonly kind: 'before' | 'after'; readonly path: RawPath }
  | { readonly kind: 'delta'; readonly name: string }

export interface EntryContents {
  /** Undefined where the entry does not have it. */
  find(entry: LoggedEntry, what: ContentOf): Promise<TreeNode | undefined>
  /** The node of a file, for whoever reads it piece by piece. Fails with `integrity.missing` where the entry does not have it. */
  require(entry: LoggedEntry, what: ContentOf): Promise<TreeNode>
  /** Up to `bytesMax` bytes of it. Fails as `require` does, and with `unsupported` where it is larger. */
  read(entry: LoggedEntry, what: ContentOf, bytesMax: number): Promise<Buffer>
}

type Folder = ReadonlyMap<RawText, TreeNode>

/** An upgrade has thousands of deltas in one folder: it is read once, not for each. Of all folders together, beside the one in use. */
const knownNodesMax = 100_000

export function openEntryContents(repository: Repository, options: ReadOptions = {}): EntryContents {
  // The one that was used last is at the end.
  const known = new Map<TreeId, Folder>()
  let knownNodes = 0
  const readFolder = async (id: TreeId): Promise<Folder> => {
    const folder =
      known.get(id) ??
      new Map((await repository.readTree(id, options)).map((node): [RawText, TreeNode] => [node.name, node]))
    if (known.delete(id)) knownNodes -= folder.size
    for (const [oldest, { size }] of known) {
      if (knownNodes + folder.size <= knownNodesMax) break
      known.delete(oldest)
      knownNodes -= size
    }
    known.set(id, folder)
    knownNodes += folder.size
    return folder
  }

  const find = async ({ snapshot }: LoggedEntry, what: ContentOf): Promise<TreeNode | undefined> => {
    let tree: TreeId | undefined = snapshot.tree
    let found: TreeNode | undefined
    for (const name of namesOf(what)) {
      if (tree === undefined) return undefined
      found = (await readFolder(tree)).get(name)
      tree = found?.subtree
    }
    return found
  }

  const requireFile = async (entry: LoggedEntry, what: ContentOf): Promise<TreeNode> => {
    const node = await find(entry, what)
    if (node?.type === 'file') return node
    throw new VmlError(
      'integrity.missing',
      `Cannot read ${nameOf(what)} of ${entryName(entry)}: the entry does not have it`,
      { hint: 'vml check tells whether the logbook is damaged' },
    )
  }

  return {
    find,
    require: requireFile,
    async read(entry, what, bytesMax) {
      const node = await requireFile(entry, what)
      if ((node.size ?? 0) > bytesMax)
        throw new VmlError(
          'unsupported',
          `Cannot read ${nameOf(what)} of ${entryName(entry)} at once: it is too large`,
        )
      return await readWhole(repository, node, options)
    },
  }
}

/** All of a file at once. */
export async function readWhole(
  repository: Repository,
  node: TreeNode,
  { signal }: ReadOptions,
): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const segment of repository.readFile(node.content ?? [], { signal }))
    parts.push(segment.kind === 'data' ? Buffer.from(segment.bytes) : Buffer.alloc(segment.length))
  return Buffer.concat(parts)
}

function namesOf(what: ContentOf): readonly RawText[] {
  if (what.kind === 'delta') return ['.vml', 'deltas', what.name].map(rawFromString)
  return [...(what.kind === 'after' ? ['.vml', 'after'].map(rawFromString) : []), ...pathParts(what.path)]
}

function nameOf(what: ContentOf): string {
  return what.kind === 'delta' ? `delta ${what.name}` : `"${printable(what.path)}" ${what.kind} it`
}
