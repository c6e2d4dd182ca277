// The part of a check that follows every snapshot down its trees, and traces damage back to paths.
import { printable } from '../base/raw-text.ts'
import type { Snapshot } from '../model/entry.ts'
import { shortId, type TreeId } from '../model/ids.ts'
import type { TreeNode } from '../model/tree.ts'
import type { BlobIndex } from './blob-index.ts'
import { openBlobReader } from './blob-reader.ts'
import { openIdSet } from '../base/id-set.ts'
import type { Fault, FaultBook } from './check-faults.ts'
import { damageMessage } from './damage.ts'
import type { Vault } from './sealed-file.ts'
import type { CheckOptions } from './store.ts'
import { decodeTree } from './tree-codec.ts'

type Options = Pick<CheckOptions, 'signal' | 'reporter'>

interface Walk {
  readonly index: BlobIndex
  readonly book: FaultBook
  readonly snapshots: readonly Snapshot[]
}

/** Reads each tree once; every blob that one names must be named by the index. */
export async function walkTrees(
  vault: Vault,
  { index, book, snapshots, damagedIndexes }: Walk & { readonly damagedIndexes: readonly Fault[] },
  { signal, reporter }: Options,
): Promise<{ readonly bytesRead: number }> {
  const reader = openBlobReader(vault, fixed(index))
  const seen = openIdSet()
  let bytesRead = 0
  const blameMissing = (type: 'data' | 'tree', id: TreeNode['subtree'] | string) => {
    const blob = id as TreeId
    if (book.faultsOf(type, blob).length > 0) return
    // Which index would have named it cannot be told any more.
    const faults =
      damagedIndexes.length > 0
        ? damagedIndexes
        : [book.add({ what: type === 'tree' ? 'tree' : 'blob', id: blob, message: 'No index names it' })]
    for (const fault of faults) book.blame(fault, type, blob)
  }
  const visit = async (id: TreeId): Promise<readonly TreeId[]> => {
    if (book.faultsOf('tree', id).length > 0) return []
    if (!index.has('tree', id)) {
      blameMissing('tree', id)
      return []
    }
    try {
      const bytes = await reader.readBlob('tree', id, { signal })
      bytesRead += bytes.length
      const nodes = decodeTree(bytes)
      for (const node of nodes) {
        for (const blob of node.content ?? []) if (!index.has('data', blob)) blameMissing('data', blob)
      }
      return nodes.flatMap(({ subtree }) => (subtree === undefined ? [] : [subtree]))
    } catch (error) {
      book.blame(book.add({ what: 'tree', id, message: damageMessage(error) }), 'tree', id)
      return []
    }
  }
  for (const [done, { tree }] of snapshots.entries()) {
    const open: TreeId[] = [tree]
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      if (!seen.add(id)) continue
      open.push(...(await visit(id)))
      reporter.progress({
        phase: 'reading trees',
        filesDone: done,
        filesTotal: snapshots.length,
        item: shortId(id),
      })
    }
  }
  return { bytesRead }
}

/** For each fault, the snapshots and paths that meet it. Reads every tree again, only where there is damage. */
export async function traceFaults(
  vault: Vault,
  { index, book, snapshots }: Walk,
  { signal, reporter }: Options,
): Promise<void> {
  if (book.unreadableBlobs === 0) return
  const reader = openBlobReader(vault, fixed(index))
  /** Trees below which nothing is damaged. */
  const sound = openIdSet()

  const trace = async (snapshot: Snapshot, id: TreeId, path: string): Promise<boolean> => {
    if (sound.has(id)) return true
    const faults = book.faultsOf('tree', id)
    for (const fault of faults) book.affect(fault, snapshot.id, path === '' ? '/' : path)
    if (faults.length > 0) return false
    let whole = true
    for (const node of decodeTree(await reader.readBlob('tree', id, { signal }))) {
      const inner = `${path}/${printable(node.name)}`
      const met = new Set(node.content?.flatMap((blob) => book.faultsOf('data', blob)))
      for (const fault of met) book.affect(fault, snapshot.id, inner)
      if (met.size > 0) whole = false
      if (node.subtree !== undefined && !(await trace(snapshot, node.subtree, inner))) whole = false
    }
    if (whole) sound.add(id)
    return whole
  }
  for (const [done, snapshot] of snapshots.entries()) {
    reporter.progress({ phase: 'tracing damage', filesDone: done, filesTotal: snapshots.length })
    await trace(snapshot, snapshot.tree, '')
  }
}

/** A check looks at one state of the index. */
function fixed(index: BlobIndex): { blobs(): Promise<BlobIndex>; refresh(): Promise<BlobIndex> } {
  return { blobs: async () => index, refresh: async () => index }
}
