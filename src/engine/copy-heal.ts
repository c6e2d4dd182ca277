// Whether an entry of the target that a repair wrote anew is an entry of the source, less what damage took from it: then a copy makes
// it whole again. Anything else that differs is somebody's wish, such as `share --scrub`, and stays.
import { isDeepStrictEqual } from 'node:util'
import { rawFromString } from '../base/raw-text.ts'
import { type EntryDocument, holdsPathsOnly } from '../model/entry.ts'
import type { TreeId } from '../model/ids.ts'
import type { LostPath } from '../model/lost.ts'
import { joinPath, parentPath, parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import { isDamage } from '../store/damage.ts'
import type { Repository } from '../store/store.ts'
import type { CopyContext, CopyPlan, PlannedCopy } from './copy.ts'
import { isImported, type LoggedEntry, lostTag, readEntryDocument, readVmlFile } from './entries.ts'
import { rawPathOf } from './protection.ts'
import { documentPath, vmlPath } from './vml-path.ts'

/** Turns `differs` into `heal` where that is proven. Reads folders that differ, and writes nothing. */
export async function planHeals(plan: CopyPlan, context: CopyContext): Promise<CopyPlan> {
  const copies: PlannedCopy[] = []
  for (const planned of plan.copies)
    copies.push((await canHeal(plan, planned, context)) ? { ...planned, step: 'heal' } : planned)
  return { ...plan, copies }
}

async function canHeal(
  { imported }: CopyPlan,
  { entry, step, present }: PlannedCopy,
  context: CopyContext,
): Promise<boolean> {
  if (step !== 'differs' || !present) return false
  if (!isMarkedLost(present) || isMarkedLost(entry)) return false
  // What is somebody else's makes nothing of ours whole: it could be made up.
  if ((imported || isImported(entry)) !== isImported(present)) return false
  try {
    return await isLessWhatWasLost(entry, present, context)
  } catch (error) {
    if (isDamage(error)) return false
    throw error
  }
}

export function isMarkedLost({ snapshot }: LoggedEntry): boolean {
  return snapshot.tags.includes(lostTag)
}

interface Proof {
  readonly from: Repository
  readonly into: Repository
  readonly lost: ReadonlyMap<RawPath, LostPath>
  readonly signal: AbortSignal | undefined
}

async function isLessWhatWasLost(
  entry: LoggedEntry,
  present: LoggedEntry,
  { from: { repository: from }, into: { repository: into }, signal }: CopyContext,
): Promise<boolean> {
  const bytes = await readVmlFile(into, present.snapshot, 'lost.json', { signal })
  if (bytes === undefined) return false
  const { parseLost } = await import('../model/lost.ts')
  const lost = new Map(parseLost(bytes).flatMap((each) => withPath(each)))
  const proof: Proof = { from, into, lost, signal }
  return (
    (await isFolderLess(proof, rootPath, entry.snapshot.tree, present.snapshot.tree)) &&
    (await saysTheSame(entry, present, proof))
  )
}

function withPath(lost: LostPath): readonly (readonly [RawPath, LostPath])[] {
  const path = rawPathOf(lost.raw)
  return path === undefined ? [] : [[path, lost]]
}

/** Below `path`: everything of the source is there as it is, or was lost, and nothing else is there. */
async function isFolderLess(proof: Proof, path: RawPath, whole: TreeId, rest: TreeId): Promise<boolean> {
  const { from, into, signal } = proof
  if (whole === rest) return true
  const left = new Map((await into.readTree(rest, { signal })).map((node) => [node.name, node]))
  for (const node of await from.readTree(whole, { signal })) {
    const at = joinPath(path, node.name)
    const other = left.get(node.name)
    left.delete(node.name)
    if (isOfRepairs(at)) continue
    if (!other) {
      if (!isNamedLost(proof, at, node)) return false
    } else if (!(await isNodeLess(proof, at, node, other))) return false
  }
  for (const node of left.values())
    if (!(await isMadeByRepair(proof, joinPath(path, node.name), node))) return false
  return true
}

/** Of what the source does not have: `/.vml` too, where another program's entry had none. */
async function isMadeByRepair({ into, signal }: Proof, path: RawPath, node: TreeNode): Promise<boolean> {
  if (isOfRepairs(path)) return true
  if (path !== vmlPath || node.subtree === undefined) return false
  const inside = await into.readTree(node.subtree, { signal })
  return inside.every(({ name }) => isOfRepairs(joinPath(path, name)))
}

async function isNodeLess(proof: Proof, path: RawPath, whole: TreeNode, rest: TreeNode): Promise<boolean> {
  const { subtree: wholeTree, ...fields } = whole
  const { subtree: restTree, ...others } = rest
  // Where `/.vml` itself was lost, the repair has made one of its own.
  if (path !== vmlPath || !isNamedLost(proof, path, whole)) {
    if (!isDeepStrictEqual(fields, others)) return false
    if (wholeTree === undefined || restTree === undefined) return wholeTree === restTree
  }
  if (wholeTree === undefined || restTree === undefined) return false
  return await isFolderLess(proof, path, wholeTree, restTree)
}

/** By its own name and with the size that it had, or with a folder above it. */
function isNamedLost({ lost }: Proof, path: RawPath, node: TreeNode): boolean {
  const own = lost.get(path)
  if (own)
    return own.type === 'folder'
      ? node.subtree !== undefined
      : own.size === undefined || own.size === node.size
  for (let above = path; above !== rootPath;) {
    above = parentPath(above)
    if (lost.get(above)?.type === 'folder') return true
  }
  return false
}

const ofRepairs: ReadonlySet<RawPath> = new Set([
  documentPath,
  ...['/.vml/lost.json', '/.vml/lost', '/.vml-lost'].map(pathOf),
])

function pathOf(text: string): RawPath {
  return parseRawPath(rawFromString(text)) ?? rootPath
}

/** What a repair writes; what the description says is compared by itself. */
function isOfRepairs(path: RawPath): boolean {
  return ofRepairs.has(path)
}

/** What a repair leaves as it is in the description: all but the problems, the outcome, and the roots of a safety entry. */
async function saysTheSame(entry: LoggedEntry, present: LoggedEntry, proof: Proof): Promise<boolean> {
  const { from, into, signal } = proof
  const told = await readEntryDocument(into, present.snapshot, { signal })
  const known = await readEntryDocument(from, entry.snapshot, { signal })
  if (known === undefined) return told === undefined
  if (told === undefined) return isDescriptionLost(proof)
  const fixed = (document: EntryDocument) => ({
    ...document,
    problems: [],
    outcome: 'complete',
    roots: holdsPathsOnly(document.kind) ? [] : document.roots,
  })
  return isDeepStrictEqual(fixed(known), fixed(told))
}

function isDescriptionLost({ lost }: Proof): boolean {
  if (lost.get(documentPath)?.type === 'file') return true
  return [vmlPath, rootPath].some((folder) => lost.get(folder)?.type === 'folder')
}
