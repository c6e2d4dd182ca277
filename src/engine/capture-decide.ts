// What has changed since the base: folder by folder, and without a look into the base where a folder is as it was.
import { hash } from 'node:crypto'
import type { BlobId, TreeId } from '../model/ids.ts'
import { joinPath, type RawName, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Attributes, TreeNode } from '../model/tree.ts'
import { isDamage } from '../store/damage.ts'
import type { CaptureBase, Run } from './capture-run.ts'
import type { FolderMemory, RememberedFolder } from './folder-memory.ts'
import type { Listing } from './listing.ts'
import { type Row, rootRow } from './listing-row.ts'
import { clockTickNs, isSettled, isUnchanged } from './unchanged.ts'

export interface Decision {
  /** Content that the logbook has lost is read again, so that this entry at least has it. */
  readonly isStored: (blob: BlobId) => boolean
  /** The same for folders: that one can be read proves nothing, where a copy of it is kept on this computer. */
  readonly isTreeStored: (tree: TreeId) => boolean
  /** Of the base. */
  readonly memory?: FolderMemory | undefined
  /** Takes over every path, also in folders in which nothing changed. */
  readonly everyPath?: boolean
}

/** Takes over what the base proves to be unchanged (design decision 5) and returns the rest, parents first. */
export async function decideChanged(run: Run, decision: Decision): Promise<Row[]> {
  const { base } = run.request
  const changed: Row[] = []
  if (!base) {
    for (const row of run.listing.below(rootRow)) if (run.listing.isKnown(row)) changed.push(row)
    return changed
  }
  const { fidelity } = run.request.source
  // What was remembered of a scan that saw less, or more coarsely, proves nothing now.
  const fits =
    fidelity.timeResolutionNs === base.fidelity.timeResolutionNs &&
    fidelity.xattrs === base.fidelity.xattrs &&
    fidelity.acls === base.fidelity.acls
  const memory = fits && !decision.everyPath ? decision.memory : undefined
  await visit({ run, base, changed, ...decision, memory }, { row: rootRow, path: rootPath, tree: base.tree })
  return changed
}

interface Work extends Decision {
  readonly run: Run
  readonly base: CaptureBase
  readonly changed: Row[]
}

interface Place {
  readonly row: Row
  readonly path: RawPath
  /** Of the base. */
  readonly tree: TreeId | undefined
}

/** True where everything below the folder is as the base has it. The root never is: entries differ by what lies under `/.vml`. */
async function visit(work: Work, place: Place): Promise<boolean> {
  const { row, path, tree } = place
  const remembered = tree === undefined || row === rootRow ? undefined : work.memory?.folders.get(path)
  if (remembered === undefined || remembered.tree !== tree || remembered.fingerprint === '')
    return await compareFolder(work, place)
  const fingerprint = folderFingerprint(work.run.listing, row)
  if (fingerprint !== remembered.fingerprint) return await compareFolder(work, place)
  work.run.fingerprints.set(row, fingerprint)
  return await visitRemembered(work, place)
}

/** A folder of which something may have changed: each path is compared with the base. */
async function compareFolder(work: Work, { row, path, tree }: Place): Promise<boolean> {
  const { run, everyPath = false } = work
  const { listing } = run
  const nodes = tree === undefined ? undefined : await readBase(work, tree)
  const taken: [Row, TreeNode][] = []
  let same = nodes !== undefined && row !== rootRow && !everyPath
  let seen = 0
  for (const child of listing.children(row)) {
    const node = nodes?.get(listing.name(child))
    if (node) seen++
    const attributes = listing.isKnown(child) ? listing.attributes(child) : undefined
    if (attributes && node && isTakenOver(work, node, attributes)) taken.push([child, node])
    else {
      same = false
      if (attributes) work.changed.push(child)
    }
    if (!listing.isFolder(child)) continue
    const below = { row: child, path: joinPath(path, listing.name(child)), tree: node?.subtree }
    // What was decided for a folder stands, whatever becomes of the one around it.
    if (!(await visit(work, below))) same = false
  }
  if (same && nodes?.size === seen && tree !== undefined && work.isTreeStored(tree)) {
    run.trees.set(row, tree)
    return true
  }
  for (const [child, node] of taken) takeOver(run, child, node)
  return false
}

/** A folder that is itself as it was: only the folders in it are looked into. */
async function visitRemembered(work: Work, { row, path, tree }: Place): Promise<boolean> {
  const { listing, trees } = work.run
  const unknown: Row[] = []
  let same = true
  for (const child of listing.children(row)) {
    if (!listing.isFolder(child)) continue
    const at = joinPath(path, listing.name(child))
    const remembered = work.memory?.folders.get(at)
    if (!remembered) unknown.push(child)
    else if (!(await visit(work, { row: child, path: at, tree: remembered.tree }))) same = false
  }
  if (tree === undefined) return false
  if (same && unknown.length === 0 && work.isTreeStored(tree)) {
    trees.set(row, tree)
    return true
  }
  const nodes = await readBase(work, tree)
  for (const child of listing.children(row)) {
    const node = nodes?.get(listing.name(child))
    if (node) takeOver(work.run, child, node)
    else work.changed.push(child)
    if (!unknown.includes(child)) continue
    const below = { row: child, path: joinPath(path, listing.name(child)), tree: node?.subtree }
    await visit(work, below)
  }
  return false
}

function isTakenOver(work: Work, node: TreeNode, attributes: Attributes): boolean {
  const { base, run, isStored } = work
  // Content that is not there any more is read again.
  if (node.content?.every(isStored) === false) return false
  return isUnchanged(node, attributes, base, run.request.source.fidelity)
}

/** A folder of the base that cannot be read costs time, not the save: what lies in it is read again. */
async function readBase(
  { run, base }: Work,
  tree: TreeId,
): Promise<ReadonlyMap<RawName, TreeNode> | undefined> {
  try {
    const nodes = await base.repository.readTree(tree, { signal: run.request.signal })
    return new Map(nodes.map((node) => [node.name, node]))
  } catch (error) {
    if (!isDamage(error)) throw error
    if (!run.warned) {
      run.request.reporter.warn({
        warning: `The entry before is damaged (${error.message}): what it does not tell is read again; see vml check`,
      })
    }
    run.warned = true
    return undefined
  }
}

function takeOver({ files }: Run, row: Row, node: TreeNode): void {
  const { mtimeNs, ctimeNs, linkTarget, xattrs, device } = node
  files.set(
    row,
    {
      mtimeNs,
      ...(ctimeNs === undefined ? {} : { ctimeNs }),
      ...(linkTarget === undefined ? {} : { linkTarget }),
      ...(xattrs === undefined ? {} : { xattrs }),
      ...(device === undefined ? {} : { device }),
    },
    node.content,
  )
}

/** Of the attributes and names of what lies directly in a folder, in the order in which the machine lists it; 32 hex digits. */
export function folderFingerprint(listing: Listing, folder: Row): string {
  return hash('sha256', listing.folderBytes(folder)).slice(0, 32)
}

/** The folders of an entry that was just captured, for the next save: `trees` has one for each of them. */
export function rememberFolders(run: Run, trees: ReadonlyMap<Row, TreeId>): Map<RawPath, RememberedFolder> {
  const { listing, request } = run
  const folders = new Map<RawPath, RememberedFolder>()
  const resolution = BigInt(Math.max(request.source.fidelity.timeResolutionNs, 1))
  const settledBefore = run.scanStartedNs - resolution - clockTickNs
  const stack: { row: Row; path: RawPath }[] = [{ row: rootRow, path: rootPath }]
  for (let folder = stack.pop(); folder; folder = stack.pop()) {
    let settled = true
    for (const child of listing.children(folder.row)) {
      const ctimeNs = listing.isKnown(child) ? listing.ctimeNs(child) : undefined
      settled &&= ctimeNs !== undefined && isSettled(ctimeNs, settledBefore)
      if (listing.isFolder(child))
        stack.push({ row: child, path: joinPath(folder.path, listing.name(child)) })
    }
    const tree = trees.get(folder.row) ?? run.trees.get(folder.row)
    if (tree === undefined) continue
    const known = run.trees.get(folder.row) === tree ? run.fingerprints.get(folder.row) : undefined
    const fingerprint = settled ? (known ?? folderFingerprint(listing, folder.row)) : ''
    folders.set(folder.path, { fingerprint, tree })
  }
  return folders
}
