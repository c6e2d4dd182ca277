// Writes the record of a transaction anew with other pre-images: a delta becomes a blob, or what cannot be had is said to be lost.
import type { EntryFacts } from '../catalog/catalog.ts'
import { joinPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { TransactionDocument } from '../model/transaction-record.ts'
import { encodeChanges, encodeTransaction } from '../model/transaction-record.ts'
import type { PreImage, RecordedChange } from '../model/transaction.ts'
import type { Attributes, TreeNode } from '../model/tree.ts'
import type { Repository, Writer } from '../store/store.ts'
import { type OpenLogbook, readEntryDocument, revisionOf } from '../engine/entries.ts'
import { requireProven } from '../engine/proven-entries.ts'
import type { ReadTransaction } from './transaction-entry.ts'
import { type PathToStore, storePaths } from './transaction-tree.ts'
import { storeVmlFolder, type VmlFile } from '../engine/vml-folder.ts'

/** `content` comes with a blob. */
export type NewPreImage =
  | { readonly preImage: Extract<PreImage, { kind: 'blob' }>; readonly content: Buffer }
  | { readonly preImage: Extract<PreImage, { kind: 'lost' }> }

export interface Rewriting {
  readonly preImages: ReadonlyMap<RawPath, NewPreImage>
  /** What cannot be had any more, beside the gaps that it has. */
  readonly gaps: TransactionDocument['gaps']
  /** Contents after it go, too: without those before it nothing is merged. */
  readonly dropAfter?: boolean
}

/**
 * The new snapshot, then the old one goes, under one exclusive lock: cut off between the two, the one of the higher revision counts. Id and
 * number stay. What no entry needs any more is freed by a prune.
 */
export async function rewriteTransaction(
  logbook: OpenLogbook,
  { entry, document, changes }: ReadTransaction,
  rewriting: Rewriting,
  signal?: AbortSignal,
): Promise<void> {
  const { repository, catalog } = logbook
  const recorded = changes.map((change): RecordedChange => {
    const preImage = rewriting.preImages.get(change.path)?.preImage ?? change.preImage
    return { ...change, preImage, afterKept: change.afterKept && !rewriting.dropAfter }
  })
  const gaps = [...document.gaps, ...rewriting.gaps]
  const newDocument: TransactionDocument = { ...document, gaps, complete: gaps.length === 0 }
  await using writer = await repository.beginWrite({ signal, lock: 'exclusive', thorough: true })
  await requireProven(logbook, [entry], { signal, damaged: 'fail' })
  const { id: old, ...fields } = await repository.readSnapshot(entry.snapshot.id, { signal })
  const tree = await storeTree({ repository, writer, signal }, fields.tree, {
    changes: recorded,
    preImages: rewriting.preImages,
    vml: await documentsOf(repository, entry, newDocument, recorded, signal),
    dropAfter: rewriting.dropAfter ?? false,
    endedAtMs: Date.parse(document.endedAt),
  })
  const written = await writer.commit(
    {
      ...fields,
      tree,
      original: fields.original ?? old,
      tags: [
        ...fields.tags.filter((tag) => !tag.startsWith(revisionTag)),
        `${revisionTag}${revisionOf(entry.snapshot) + 1}`,
      ],
    },
    { signal },
  )
  // No signal from here on: the new form is written, and the old one goes with it.
  for (const id of [old, ...entry.twins]) await repository.removeSnapshot(id)
  const facts: EntryFacts | undefined = entry.facts && {
    ...entry.facts,
    outcome: newDocument.complete ? entry.facts.outcome : 'partial',
  }
  catalog.put([{ snapshot: written, facts }])
  catalog.remove([old, ...entry.twins])
}

const revisionTag = 'vml:rev='

async function documentsOf(
  repository: Repository,
  entry: ReadTransaction['entry'],
  document: TransactionDocument,
  changes: readonly RecordedChange[],
  signal: AbortSignal | undefined,
): Promise<{ readonly name: string; readonly bytes: Uint8Array }[]> {
  const { encodeEntryDocument } = await import('../model/documents.ts')
  const own = await readEntryDocument(repository, entry.snapshot, { signal })
  const outcome = document.complete ? own?.outcome : 'partial'
  return [
    ...(own && outcome ? [{ name: 'entry.json', bytes: encodeEntryDocument({ ...own, outcome }) }] : []),
    { name: 'transaction.json', bytes: encodeTransaction(document) },
    { name: 'changes.jsonl', bytes: Buffer.concat([...encodeChanges(changes)]) },
  ]
}

interface Store {
  readonly repository: Repository
  readonly writer: Writer
  readonly signal: AbortSignal | undefined
}

/** What the old tree has and the record still speaks of, with what is new. */
async function storeTree(
  store: Store,
  old: NonNullable<TreeNode['subtree']>,
  {
    changes,
    preImages,
    vml,
    dropAfter,
    endedAtMs,
  }: {
    readonly changes: readonly RecordedChange[]
    readonly preImages: Rewriting['preImages']
    readonly vml: readonly { readonly name: string; readonly bytes: Uint8Array }[]
    readonly dropAfter: boolean
    readonly endedAtMs: number
  },
): Promise<NonNullable<TreeNode['subtree']>> {
  const { repository, writer, signal } = store
  const root = await repository.readTree(old, { signal })
  const known = await nodesBelow(
    store,
    root.filter(({ name }) => name !== '.vml'),
  )
  const toStore = changes.flatMap(({ path, before, preImage }): PathToStore[] => {
    if (preImage.kind !== 'blob' || !before) return []
    const fresh = preImages.get(path)
    if (fresh && 'content' in fresh) return [{ path, attributes: before, content: { bytes: fresh.content } }]
    const node = known.get(path)
    // A blob that is missing is damage, and stays one: `vml check` tells.
    if (node?.content === undefined) return []
    return [
      { path, attributes: before, content: { stored: { content: node.content, size: node.size ?? 0 } } },
    ]
  })
  const { nodes } = await storePaths(writer, toStore, (path) => folderOf(known.get(path)))
  const vmlNode = root.find(({ name }) => name === '.vml')
  const files: VmlFile[] = [...vml]
  const replaced = new Set(vml.map(({ name }) => name))
  const deltas = new Set(
    changes.flatMap(({ preImage }) => (preImage.kind === 'delta' ? [preImage.file] : [])),
  )
  for (const node of vmlNode?.subtree ? await repository.readTree(vmlNode.subtree, { signal }) : []) {
    if (replaced.has(node.name) || (node.name === 'after' && dropAfter)) continue
    if (node.name === 'deltas' && node.subtree) {
      const all = await repository.readTree(node.subtree, { signal })
      const some = all.filter(({ name }) => deltas.has(name))
      if (some.length > 0) files.push({ name: 'deltas', nodes: some })
    } else files.push({ node })
  }
  return await writer.storeTree([...nodes, await storeVmlFolder(writer, files, endedAtMs)])
}

function folderOf(node: TreeNode | undefined): Attributes {
  if (node === undefined) return { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n }
  const { name: _, content: _content, subtree: _subtree, ...attributes } = node
  return attributes
}

async function nodesBelow(
  { repository, signal }: Store,
  nodes: readonly TreeNode[],
): Promise<Map<RawPath, TreeNode>> {
  const found = new Map<RawPath, TreeNode>()
  const pending = nodes.map((node) => ({ node, path: joinPath(rootPath, node.name) }))
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    found.set(next.path, next.node)
    if (next.node.subtree === undefined) continue
    for (const node of await repository.readTree(next.node.subtree, { signal }))
      pending.push({ node, path: joinPath(next.path, node.name) })
  }
  return found
}
