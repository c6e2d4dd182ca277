// Writes the tree of an entry anew without what was lost, and says in `/.vml/` what that was. A file that lost a part is never
// there under its name: what is left of it lies under `/.vml/lost/`. The same damage always gives the same tree.
import { printable, rawFromString, rawToBytes } from '../base/raw-text.ts'
import { isFailure } from '../base/failure.ts'
import { documentBytesMax } from '../model/document-json.ts'
import { type EntryDocument, holdsPathsOnly, type Snapshot } from '../model/entry.ts'
import type { BlobId, TreeId } from '../model/ids.ts'
import type { LostPath } from '../model/lost.ts'
import { isRawName, isWithin, parentPath, type RawName, type RawPath, rootPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import type { Repair, RepairTarget } from '../store/repair.ts'
import type { DamageFinder } from './repair-damage.ts'
import { rawPathOf } from './protection.ts'
import { vmlPath } from './vml-path.ts'

export interface Rewriting {
  readonly repair: Pick<Repair, 'has' | 'readTree' | 'readBlob' | 'blobLength'>
  readonly finder: DamageFinder
  readonly target: RepairTarget
}

/** What stands in the `problems` of an entry's document beside each path that was lost. */
export const lostMessage = 'lost to damage in the logbook; see /.vml/lost.json'

export async function rewriteEntry(rewriting: Rewriting, snapshot: Snapshot): Promise<TreeId> {
  const { finder, target } = rewriting
  const damage = await finder.find(snapshot.tree)
  if (damage === undefined) return snapshot.tree
  const vml = await openVmlFolder(rewriting, snapshot)
  if (damage === 'gone') {
    const all: LostPath = { ...pathFields(rootPath), type: 'folder' }
    return await target.addTree([await vml.write([all], [])])
  }
  const lost: LostPath[] = []
  const rests: TreeNode[] = []
  for await (const { path, node } of finder.lostBelow(snapshot.tree)) {
    const rest = node.subtree === undefined ? await restOf(rewriting, node) : undefined
    const name = String(vml.nextRest + rests.length)
    lost.push({
      ...pathFields(path),
      type: node.subtree === undefined ? 'file' : 'folder',
      ...(node.size === undefined ? {} : { size: node.size }),
      ...(rest ? { rest: name, missing: rest.missing } : {}),
    })
    if (rest)
      rests.push({ ...vmlAttributes(snapshot), mtimeNs: node.mtimeNs, name: nameOf(name), ...rest.file })
  }
  const drop = new Set(damage.lost.map(({ name }) => name))
  const subtrees = new Map<RawName, TreeId>()
  for (const { name, tree } of damage.inner)
    if (name !== vmlName) subtrees.set(name, await rewriteTree(rewriting, tree))
  drop.delete(vmlName)
  return await target.editTree(snapshot.tree, { drop, subtrees, put: [await vml.write(lost, rests)] })
}

const vmlName = nameOf('.vml')
const otherName = nameOf('.vml-lost')

async function rewriteTree(rewriting: Rewriting, tree: TreeId): Promise<TreeId> {
  const { finder, target } = rewriting
  const damage = await finder.find(tree)
  if (damage === undefined || damage === 'gone') return tree
  const subtrees = new Map<RawName, TreeId>()
  for (const { name, tree: below } of damage.inner) subtrees.set(name, await rewriteTree(rewriting, below))
  return await target.editTree(tree, {
    drop: new Set(damage.lost.map(({ name }) => name)),
    subtrees,
    put: [],
  })
}

interface Rest {
  readonly file: Pick<TreeNode, 'type' | 'mode' | 'size' | 'content'>
  readonly missing: readonly { readonly offset: number; readonly length: number }[]
}

/** Undefined where nothing is left, or where it cannot be told how much is missing. */
async function restOf({ repair, target }: Rewriting, node: TreeNode): Promise<Rest | undefined> {
  const content = node.content ?? []
  const size = node.size ?? 0
  if (!content.some((id) => repair.has('data', id))) return undefined
  const lengths = content.map((id) => repair.blobLength('data', id))
  const unknown = lengths.filter((length) => length === undefined).length
  const known = lengths.reduce<number>((sum, length) => sum + (length ?? 0), 0)
  if (unknown > 1 || known > size || (unknown === 0 && known !== size)) return undefined
  const kept: BlobId[] = []
  const missing: { offset: number; length: number }[] = []
  let offset = 0
  for (const [at, id] of content.entries()) {
    const length = lengths[at] ?? size - known
    if (repair.has('data', id)) {
      kept.push(id)
    } else {
      missing.push({ offset, length })
      for (let left = length; left > 0; left -= zeroBytes)
        kept.push(await target.addData(Buffer.alloc(Math.min(left, zeroBytes))))
    }
    offset += length
  }
  return { file: { type: 'file', mode: 0o600, size, content: kept }, missing }
}

/** A chunk has no more; a larger gap is filled with several. */
const zeroBytes = 8 * 1024 * 1024

interface VmlFolder {
  /** The number of the first file in `lost/` that is not taken. */
  readonly nextRest: number
  /** The node of `/.vml` with what is new. */
  write(lost: readonly LostPath[], rests: readonly TreeNode[]): Promise<TreeNode>
}

/** `/.vml` as far as it can be read. */
async function openVmlFolder(rewriting: Rewriting, snapshot: Snapshot): Promise<VmlFolder> {
  const { finder, target } = rewriting
  const attributes = vmlAttributes(snapshot)
  const root = (await finder.find(snapshot.tree)) === 'gone' ? undefined : snapshot.tree
  const there = root === undefined ? undefined : await childOf(rewriting, root, vmlName)
  const node = there?.type === 'dir' ? there : undefined
  // Another program's snapshot may have a file of that name.
  const name = there && !node ? otherName : vmlName
  const folder = await readable(rewriting, node)
  const before = await readLost(rewriting, folder)
  const lostFolder = folder && (await childOf(rewriting, folder, nameOf('lost')))
  const lostTree = await readable(rewriting, lostFolder)
  const taken = lostTree ? ((await rewriting.repair.readTree(lostTree)) ?? []) : []

  const edited = async (tree: TreeId | undefined, put: readonly TreeNode[]): Promise<TreeId> => {
    if (tree === undefined) return await target.addTree(put)
    const damage = await finder.find(tree)
    const drop = new Set(damage && damage !== 'gone' ? damage.lost.map(({ name }) => name) : [])
    const subtrees = new Map<RawName, TreeId>()
    for (const { name, tree: below } of damage && damage !== 'gone' ? damage.inner : [])
      subtrees.set(name, await rewriteTree(rewriting, below))
    return await target.editTree(tree, { drop, subtrees, put })
  }
  const fileOf = async (name: string, bytes: Buffer): Promise<TreeNode> => ({
    ...attributes,
    name: nameOf(name),
    type: 'file',
    mode: 0o600,
    size: bytes.length,
    content: [await target.addData(bytes)],
  })
  return {
    nextRest: 1 + Math.max(0, ...taken.map(({ name }) => (/^\d{1,9}$/.test(name) ? Number(name) : 0))),
    async write(lost, rests) {
      const { encodeLost } = await import('../model/lost.ts')
      const put = [await fileOf('lost.json', encodeLost(merged(before, lost)))]
      const document = await editedDocument(rewriting, folder, lost)
      if (document) put.push(await fileOf('entry.json', document))
      if (rests.length > 0) {
        const subtree = await edited(lostTree, rests)
        put.push({ ...attributes, name: nameOf('lost'), type: 'dir', mode: 0o700, subtree })
      }
      const subtree = await edited(folder, put)
      return node ? { ...node, subtree } : { ...attributes, name, type: 'dir', mode: 0o700, subtree }
    },
  }
}

/** A file that was lost twice is told once, as it was lost last. */
function merged(before: readonly LostPath[], now: readonly LostPath[]): readonly LostPath[] {
  const known = new Set(now.map(({ raw }) => raw))
  return [...before.filter(({ raw }) => !known.has(raw)), ...now]
}

/** The paths that were lost count as what could not be read: so no restore deletes them on a machine that still has them. */
async function editedDocument(
  rewriting: Rewriting,
  folder: TreeId | undefined,
  lost: readonly LostPath[],
): Promise<Buffer | undefined> {
  const bytes = folder && (await readChild(rewriting, folder, 'entry.json'))
  if (!bytes) return undefined
  const { encodeEntryDocument, parseEntryDocument } = await import('../model/documents.ts')
  let document: EntryDocument
  try {
    document = parseEntryDocument(bytes)
  } catch (error) {
    if (isFailure(error, 'integrity.format')) return undefined
    throw error
  }
  const told = new Set(document.problems.map(({ raw }) => raw))
  const outside = lost.flatMap(({ path, raw }) => {
    const at = rawPathOf(raw)
    return at === undefined || isWithin(at, vmlPath) ? [] : [{ path, raw, at }]
  })
  const gone = new Set(outside.map(({ at }) => at))
  const isLost = (raw: string) => {
    for (let path = rawPathOf(raw); path !== undefined; path = parentPath(path)) {
      if (gone.has(path)) return true
      if (path === rootPath) return false
    }
    return false
  }
  return encodeEntryDocument({
    ...document,
    // What a safety entry names as its own and does not have is taken for what was not there before.
    roots: holdsPathsOnly(document.kind) ? document.roots.filter(({ raw }) => !isLost(raw)) : document.roots,
    problems: [
      ...document.problems,
      ...outside
        .filter(({ raw }) => !told.has(raw))
        .map(({ path, raw }) => ({ path, raw, problem: 'unreadable' as const, message: lostMessage })),
    ],
    outcome: 'partial',
  })
}

async function readLost(rewriting: Rewriting, folder: TreeId | undefined): Promise<readonly LostPath[]> {
  const bytes = folder && (await readChild(rewriting, folder, 'lost.json'))
  if (!bytes) return []
  const { parseLost } = await import('../model/lost.ts')
  try {
    return parseLost(bytes)
  } catch (error) {
    // Somebody else's file of that name.
    if (isFailure(error, 'integrity.format')) return []
    throw error
  }
}

async function readChild(rewriting: Rewriting, folder: TreeId, name: string): Promise<Buffer | undefined> {
  const { repair } = rewriting
  const node = await childOf(rewriting, folder, nameOf(name))
  if (node?.type !== 'file' || (node.size ?? 0) > documentBytesMax) return undefined
  const parts: Buffer[] = []
  for (const id of node.content ?? []) {
    if (!repair.has('data', id)) return undefined
    parts.push(await repair.readBlob(id))
  }
  return Buffer.concat(parts)
}

async function childOf({ repair }: Rewriting, tree: TreeId, name: RawName): Promise<TreeNode | undefined> {
  return (await repair.readTree(tree))?.find((node) => node.name === name)
}

/** The tree of a folder that can be read. */
async function readable({ repair }: Rewriting, node: TreeNode | undefined): Promise<TreeId | undefined> {
  const tree = node?.type === 'dir' ? node.subtree : undefined
  if (tree === undefined || !repair.has('tree', tree)) return undefined
  return (await repair.readTree(tree)) ? tree : undefined
}

function vmlAttributes({ time }: Snapshot): Pick<TreeNode, 'uid' | 'gid' | 'mtimeNs'> {
  return { uid: 0, gid: 0, mtimeNs: BigInt(Date.parse(time)) * 1_000_000n }
}

function pathFields(path: RawPath): Pick<LostPath, 'path' | 'raw'> {
  return { path: printable(path), raw: rawToBytes(path).toString('base64') }
}

function nameOf(text: string): RawName {
  const name = rawFromString(text)
  if (!isRawName(name)) throw new TypeError('No name of a file')
  return name
}
