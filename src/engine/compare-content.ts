// Whether two files of equal path have equal content: by their blobs, by their size, or by asking.
import { createHash } from 'node:crypto'
import type { BlobId } from '../model/ids.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import type { Source } from '../source/source.ts'
import type { Repository } from '../store/store.ts'

export interface ContentPair {
  readonly path: RawPath
  /** Where it differs from `path`: a file that may have been renamed. */
  readonly leftPath?: RawPath
  readonly left: TreeNode
  readonly right: TreeNode
}

/** Asked in batches for regular files of equal size; one answer for each pair, in order. */
export type SameContent = (pairs: readonly ContentPair[]) => Promise<readonly boolean[]>

const batchPairs = 1000

/** Those pairs of one type whose content, link target or device differs. */
export async function contentDiffers<Pair extends ContentPair>(
  pairs: readonly Pair[],
  sameContent: SameContent,
): Promise<ReadonlySet<Pair>> {
  const differing = new Set<Pair>()
  const unknown: Pair[] = []
  for (const pair of pairs) {
    const verdict = compareNodes(pair.left, pair.right)
    if (verdict === 'different') differing.add(pair)
    else if (verdict === 'unknown') unknown.push(pair)
  }
  for (let start = 0; start < unknown.length; start += batchPairs) {
    const batch = unknown.slice(start, start + batchPairs)
    const same = await sameContent(batch)
    for (const [index, pair] of batch.entries()) if (same[index] !== true) differing.add(pair)
  }
  return differing
}

function compareNodes(left: TreeNode, right: TreeNode): 'same' | 'different' | 'unknown' {
  if (left.type !== right.type) return 'same'
  if (left.type === 'symlink') return left.linkTarget === right.linkTarget ? 'same' : 'different'
  if (left.type === 'dev' || left.type === 'chardev')
    return left.device === right.device ? 'same' : 'different'
  if (left.type !== 'file') return 'same'
  if (left.size !== right.size) return 'different'
  if (left.size === 0) return 'same'
  if (left.content === undefined || right.content === undefined) return 'unknown'
  if (sameIds(left.content, right.content)) return 'same'
  // Another program may have cut equal bytes elsewhere; one blob is cut the same way by all.
  const oneBlob = left.content.length === 1 && right.content.length === 1
  return oneBlob || left.mtimeNs !== right.mtimeNs ? 'different' : 'unknown'
}

function sameIds(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((id, index) => id === right[index])
}

/** Asks the bytes: a file with content ids is read from the repository, one without is hashed by its machine. */
export function readContent(parts: {
  readonly repository: Repository
  readonly source?: Source
  readonly signal?: AbortSignal | undefined
}): SameContent {
  const { repository, source, signal } = parts
  return async (pairs) => {
    const onMachine = new Set<RawPath>()
    for (const { path, leftPath, left, right } of pairs) {
      if (left.content === undefined) onMachine.add(leftPath ?? path)
      if (right.content === undefined) onMachine.add(path)
    }
    const digests = new Map<RawPath, string | undefined>()
    if (source !== undefined && onMachine.size > 0)
      for await (const { path, sha256 } of source.digest([...onMachine], signal)) digests.set(path, sha256)
    const digestOf = async (node: TreeNode, path: RawPath) =>
      node.content === undefined ? digests.get(path) : await storedDigest(repository, node.content, signal)
    const answers: boolean[] = []
    for (const { path, leftPath, left, right } of pairs) {
      const before = await digestOf(left, leftPath ?? path)
      // What cannot be read cannot be called equal.
      answers.push(before !== undefined && before === (await digestOf(right, path)))
    }
    return answers
  }
}

async function storedDigest(
  repository: Repository,
  content: readonly BlobId[],
  signal: AbortSignal | undefined,
): Promise<string> {
  const hash = createHash('sha256')
  for await (const segment of repository.readFile(content, { signal })) {
    if (segment.kind === 'data') hash.update(segment.bytes)
    else
      for (let left = segment.length; left > 0; left -= zeros.length)
        hash.update(left < zeros.length ? zeros.subarray(0, left) : zeros)
  }
  return hash.digest('hex')
}

const zeros = Buffer.alloc(64 * 1024)
