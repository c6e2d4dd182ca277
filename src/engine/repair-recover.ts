// Entries whose snapshot file is damaged: found again in the catalogue, or by the entry's own document in a tree that no snapshot names.
import { isFailure } from '../base/failure.ts'
import { openIdSet } from '../base/id-set.ts'
import { documentBytesMax } from '../model/document-json.ts'
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
    // Written again by a repair that was cut off, or the old form of an entry that was edited.
    if (repair.snapshots.some(({ original }) => original === id)) continue
    const snapshot = known(id)
    if (!snapshot) {
      unknown.push(id)
      continue
    }
    const { id: old, ...fields } = snapshot
    recovered.push({ snapshot: { ...fields, original: fields.original ?? old }, id, from: 'catalogue' })
  }
  if (unknown.length === 0) return { recovered, unknown }
  const there = [...repair.snapshots, ...recovered.map(({ snapshot }) => snapshot)]
  const found = await findRoots(repair, new Set(there.map(({ tree }) => tree)), signal)
  // The tree of an entry that is there was written anew without what it lost: the old one is nobody's any more.
  const roots = eachEntryOnce(found).filter(
    ({ document }) =>
      !there.some(
        ({ time, hostname }) =>
          hostname === document.machine && Date.parse(time) === Date.parse(document.startedAt),
      ),
  )
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

/** A repair that was cut off may have left the tree that it had made of another one: it makes the same again. */
function eachEntryOnce(roots: readonly Root[]): readonly Root[] {
  const chosen = new Map<string, Root>()
  for (const root of roots) {
    const { machine, startedAt, number } = root.document
    const name = JSON.stringify([machine, startedAt, number])
    const known = chosen.get(name)
    if (!known || (known.repaired && !root.repaired)) chosen.set(name, root)
  }
  return [...chosen.values()]
}

interface Root {
  readonly tree: TreeId
  /** Whether a repair wrote it. */
  readonly repaired: boolean
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
    const root = await readRoot(repair, tree)
    if (root) roots.push(root)
  }
  return roots
}

async function readRoot(repair: Repair, tree: TreeId): Promise<Root | undefined> {
  const folder = (await repair.readTree(tree))?.find(({ name }) => name === '.vml')?.subtree
  if (folder === undefined || !repair.has('tree', folder)) return undefined
  const nodes = (await repair.readTree(folder)) ?? []
  const file = nodes.find(({ name }) => name === 'entry.json')
  if (file?.type !== 'file' || (file.size ?? 0) > documentBytesMax) return undefined
  const parts: Buffer[] = []
  for (const id of file.content ?? []) {
    if (!repair.has('data', id)) return undefined
    parts.push(await repair.readBlob(id))
  }
  const { parseEntryDocument } = await import('../model/documents.ts')
  try {
    const document = parseEntryDocument(Buffer.concat(parts))
    return { tree, document, repaired: nodes.some(({ name }) => name === 'lost.json') }
  } catch (error) {
    if (isFailure(error, 'integrity.format')) return undefined
    throw error
  }
}

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
