// Brings trees and their contents from one repository to another, blob by blob as they were cut, and only what is missing there.
import { openIdSet } from '../base/id-set.ts'
import type { Reporter } from '../base/progress.ts'
import type { BlobId, TreeId } from '../model/ids.ts'
import type { RawName } from '../model/raw-path.ts'
import { isDamage } from '../store/damage.ts'
import type { BlobType, IndexView, Repository, Writer } from '../store/store.ts'
import { decodeTree } from '../store/tree-codec.ts'
import { copyContents } from './copy-contents.ts'

export interface TreeCopier {
  /**
   * Gives the writer what the target lacks of a tree, and everything below it. `base` is a tree that a snapshot of the target has:
   * folders that are equal in both are not even read.
   *
   * That a blob of a tree is in the target proves nothing of what it names: a writer that was killed, stock restic's or ours, may have
   * left a folder without its files. Only what a snapshot has, and what was walked here, is taken for whole.
   */
  copy(tree: TreeId, options?: { readonly base?: TreeId | undefined }): Promise<void>
  /** Forgets what was on its way, after a failure: what the writer has stays and is found again. */
  reset(): void
  readonly counts: CopyCounts
}

export interface CopyCounts {
  readonly blobs: number
  readonly trees: number
  /** Of the blobs and trees as the source has them stored. */
  readonly bytes: number
}

export interface TreeCopierOptions {
  readonly from: Repository
  readonly into: Repository
  /** Undefined counts what is missing, and copies nothing. */
  readonly writer: Writer | undefined
  readonly reporter: Reporter
  /** What is in hand, for the progress, and what it comes to in the end, as far as was counted. */
  readonly item?: (() => string) | undefined
  readonly bytesTotal?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** Contents that wait to be read in the order of their packs: some 5 MiB of ids, and far more than a pack holds. */
const waitingBlobsMax = 32 * 1024
const waitingTreeBytesMax = 32 * 1024 * 1024
/** Folders read ahead of the one in hand, where they are small: a round trip to the storage costs more than all else. */
const foldersAhead = 4
const aheadBytesMax = 1024 * 1024
/** A folder that is forgotten is only walked again. */
const wholeMax = 1_000_000

export async function openTreeCopier(options: TreeCopierOptions): Promise<TreeCopier> {
  const { from, into, writer, reporter, bytesTotal, signal } = options
  const there = await from.indexView({ signal })
  const contents = await from.openContents({ signal })
  const target: Pick<IndexView, 'has'> = writer ? { has: writer.hasBlob } : await into.indexView({ signal })
  const whole = new Set<TreeId>()
  const blobs = new Set<BlobId>()
  const trees: { readonly id: TreeId; readonly bytes: Buffer }[] = []
  let treeBytes = 0
  /** Without a writer nothing comes to be there; it is counted once all the same. */
  const counted = openIdSet()
  const has = (type: BlobType, id: BlobId | TreeId) => target.has(type, id) || counted.has(id)
  const counts = { blobs: 0, trees: 0, bytes: 0 }

  const count = (type: BlobType, id: BlobId | TreeId) => {
    counts[type === 'tree' ? 'trees' : 'blobs']++
    counts.bytes += there.storedBytes(type, id)
    reporter.progress({
      phase: writer ? 'copying' : 'looking',
      bytesDone: counts.bytes,
      // More than was counted came to be missing meanwhile: then nobody knows how much there is.
      ...(bytesTotal !== undefined && counts.bytes <= bytesTotal ? { bytesTotal } : {}),
      ...(options.item ? { item: options.item() } : {}),
    })
  }
  /** Contents before the trees that name them; trees in the order of the walk, deepest first. */
  const pass = async () => {
    if (writer) {
      const onCopied = (id: BlobId) => count('data', id)
      await copyContents({ from, contents, writer, onCopied, signal }, [...blobs])
      for (const { id, bytes } of trees) {
        await writer.copyBlob('tree', bytes)
        count('tree', id)
      }
    } else {
      for (const id of blobs) count('data', id)
      for (const { id } of trees) count('tree', id)
      for (const id of [...blobs, ...trees.map((waiting) => waiting.id)]) counted.add(id)
    }
    forgetWaiting()
  }
  const forgetWaiting = () => {
    blobs.clear()
    trees.length = 0
    treeBytes = 0
  }
  const readBase = async (tree: TreeId) => {
    try {
      // From the source where it has it too, which mostly lies nearer.
      return await (there.has('tree', tree) ? from : into).readTree(tree, { signal })
    } catch (error) {
      if (isDamage(error)) return []
      throw error
    }
  }
  const read = (tree: TreeId) => {
    const reading = from.readTreeBytes(tree, { signal })
    reading.catch(() => {})
    return reading
  }
  const walk = async (tree: TreeId, base: TreeId | undefined, bytes: Promise<Buffer>): Promise<void> => {
    const content = await bytes
    const folders: { readonly name: RawName; readonly tree: TreeId }[] = []
    for (const node of decodeTree(content)) {
      if (node.subtree !== undefined) folders.push({ name: node.name, tree: node.subtree })
      for (const id of node.content ?? []) {
        if (has('data', id)) continue
        blobs.add(id)
        if (blobs.size >= waitingBlobsMax) await pass()
      }
    }
    const known = new Map<RawName, TreeId>()
    if (base !== undefined && folders.length > 0)
      for (const { name, subtree } of await readBase(base))
        if (subtree !== undefined) known.set(name, subtree)
    const wanted = folders.filter(
      (folder) => !whole.has(folder.tree) && known.get(folder.name) !== folder.tree,
    )
    const ahead: (Promise<Buffer> | undefined)[] = []
    for (const [at, folder] of wanted.entries()) {
      for (let next = ahead.length; next < wanted.length && next <= at + foldersAhead; next++) {
        const id = wanted[next]?.tree
        const small = id !== undefined && there.storedBytes('tree', id) <= aheadBytesMax
        ahead.push(small ? read(id) : undefined)
      }
      // It may have come to be whole meanwhile, as the same folder elsewhere.
      if (!whole.has(folder.tree))
        await walk(folder.tree, known.get(folder.name), ahead[at] ?? read(folder.tree))
      ahead[at] = undefined
    }
    if (!has('tree', tree)) {
      trees.push({ id: tree, bytes: content })
      treeBytes += content.length
      if (treeBytes >= waitingTreeBytesMax) await pass()
    }
    if (whole.size >= wholeMax) whole.clear()
    whole.add(tree)
  }
  return {
    async copy(tree, { base } = {}) {
      signal?.throwIfAborted()
      if (tree !== base && !whole.has(tree)) await walk(tree, base, read(tree))
      await pass()
      whole.add(tree)
    },
    reset() {
      forgetWaiting()
      whole.clear()
    },
    counts,
  }
}
