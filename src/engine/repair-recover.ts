// Entries whose snapshot file is damaged: found again in the catalogue, or by the entry's own document in a tree that no snapshot names.
import { isFailure } from '../base/failure.ts'
import { openIdSet } from '../base/id-set.ts'
import type { EntryDocument, Snapshot } from '../model/entry.ts'
import type { SnapshotId, TreeId } from '../model/ids.ts'
import type { Repair } from '../store/repair.ts'
import { joinDescription, ownTags } from './entries.ts'

export interface Recovered {
  readonly snapshot: Omit<Snapshot, 'id'>
  /** The damaged file; undefined where it cannot be told which of several it was. */
  readonly id: SnapshotId | undefined
  readonly from: 'catalogue' | 'tree'
}

/** Told to people, who may remove an entry that they had removed before. */
export const recoveredTag = 'recovered'
const pathsMax = 100

/** Reads every tree where the catalogue does not know an entry; ids of some 32 bytes each are held meanwhile. */
export async function recoverSnapshots(
  repair: Repair,
  {
    known,
    signal,
  }: {
    /** The catalogue's row of a snapshot. */
    readonly known: (id: SnapshotId) => Snapshot | undefined
    readonly signal?: AbortSignal | undefined
  },
): Promise<{ readonly recovered: readonly Recovered[]; readonly unknown: readonly SnapshotId[] }> {
  const recovered: Recovered[] = []
  const unknown: SnapshotId[] = []
  for (const { id } of repair.survey.damagedSnapshots) {
    const snapshot = known(id)
    if (!snapshot) {
      unknown.push(id)
      continue
    }
    const { id: old, ...fields } = snapshot
    recovered.push({ snapshot: { ...fields, original: fields.original ?? old }, id, from: 'catalogue' })
  }
  if (unknown.length === 0) return { recovered, unknown }
  const taken = new Set(
    [...repair.snapshots, ...recovered.map(({ snapshot }) => snapshot)].map(({ tree }) => tree),
  )
  const roots = await findRoots(repair, taken, signal)
  const [only] = roots
  // One of each: then it is that one.
  const id = roots.length === 1 && unknown.length === 1 ? unknown[0] : undefined
  if (only && id !== undefined) {
    recovered.push({ snapshot: { ...snapshotOf(only), original: id }, id, from: 'tree' })
    return { recovered, unknown: [] }
  }
  for (const root of roots) recovered.push({ snapshot: snapshotOf(root), id: undefined, from: 'tree' })
  return { recovered, unknown }
}

interface Root {
  readonly tree: TreeId
  readonly document: EntryDocument
}

/** Trees that nothing names and that have the document of an entry. */
async function findRoots(
  repair: Repair,
  taken: ReadonlySet<TreeId>,
  signal: AbortSignal | undefined,
): Promise<readonly Root[]> {
  const referenced = openIdSet()
  const candidates: TreeId[] = []
  for (const tree of repair.trees()) {
    signal?.throwIfAborted()
    const nodes = (await repair.readTree(tree)) ?? []
    for (const { subtree } of nodes) if (subtree !== undefined) referenced.add(subtree)
    if (nodes.some(({ name, type }) => name === '.vml' && type === 'dir') && !taken.has(tree))
      candidates.push(tree)
  }
  const roots: Root[] = []
  for (const tree of candidates) {
    if (referenced.has(tree)) continue
    const document = await readDocument(repair, tree)
    if (document) roots.push({ tree, document })
  }
  return roots
}

async function readDocument(repair: Repair, tree: TreeId): Promise<EntryDocument | undefined> {
  const folder = (await repair.readTree(tree))?.find(({ name }) => name === '.vml')?.subtree
  if (folder === undefined || !repair.has('tree', folder)) return undefined
  const file = (await repair.readTree(folder))?.find(({ name }) => name === 'entry.json')
  if (file?.type !== 'file' || (file.size ?? 0) > documentBytesMax) return undefined
  const parts: Buffer[] = []
  for (const id of file.content ?? []) {
    if (!repair.has('data', id)) return undefined
    parts.push(await repair.readBlob(id))
  }
  const { parseEntryDocument } = await import('../model/documents.ts')
  try {
    return parseEntryDocument(Buffer.concat(parts))
  } catch (error) {
    if (isFailure(error, 'integrity.format')) return undefined
    throw error
  }
}

const documentBytesMax = 256 * 1024 * 1024

function snapshotOf({ tree, document }: Root): Omit<Snapshot, 'id'> {
  const { kind, number, project, startedAt, machine, user, roots } = document
  return {
    time: startedAt,
    tree,
    paths: roots.slice(0, pathsMax).map(({ path }) => path),
    hostname: machine,
    username: user.name,
    tags: [...ownTags({ number, kind, project }), recoveredTag],
    description: joinDescription(document),
  }
}
