// Compares two states of a machine: two entries, or an entry and the machine as it is now.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import {
  compareTreeOrder,
  type Comparison,
  diffAttributes,
  diffEnvironment,
  diffFacts,
  type FileChange,
  fileState,
  isConfigurationPath,
  totalsOf,
} from '../model/compare.ts'
import { diffPackages } from '../model/package-diff.ts'
import { isWithin, pathParts, joinPath, rootPath, type RawPath } from '../model/raw-path.ts'
import { findRenames, type OneSided, type Rename } from '../model/renames.ts'
import type { TreeNode } from '../model/tree.ts'
import type { Repository } from '../store/store.ts'
import { contentDiffers, readContent, type ContentPair, type SameContent } from './compare-content.ts'
import { findGaps } from './compare-gaps.ts'
import { type ComparableTree, type Side, whyUnknown } from './compare-side.ts'
import { type OneNode, type PairedNodes, pairTrees, type TreePairs } from './pair-trees.ts'

export interface CompareRequest {
  readonly left: Side
  readonly right: Side
  /** Only these and what lies below; then packages, variables and facts are not compared. `not-found` where neither side has one. */
  readonly paths?: readonly RawPath[]
  /** Whether files that differ in their time alone are listed; default false. */
  readonly times?: boolean
  /** Asked for files of equal size whose blobs do not tell whether they are equal. Default: the repository is read. */
  readonly sameContent?: SameContent
  readonly repository: Repository
  readonly signal?: AbortSignal | undefined
}

export async function compareEntries(request: CompareRequest): Promise<Comparison> {
  const { left, right, paths } = request
  const starts = paths === undefined ? [{ path: rootPath }] : await findPaths(request, paths)
  const pairs = await pairTrees(request, starts)
  const changes = [...(await commonChanges(request, pairs)), ...(await oneSidedChanges(request, pairs))]
  changes.sort((a, b) => compareTreeOrder(a.path, b.path))
  const notCompared = [...pairs.notCompared, ...(await findGaps(request, starts, pairs.notCompared))]
  const whole = paths === undefined
  const documents = {
    facts: whole ? diffFacts(left.facts, right.facts) : [],
    packages: whole ? both(left.packages, right.packages, diffPackages) : [],
    environment: whole ? both(left.environment, right.environment, diffEnvironment) : [],
  }
  return {
    left: left.label,
    right: right.label,
    identical:
      changes.length === 0 &&
      Object.values(documents).every((list) => list === undefined || list.length === 0),
    ...documents,
    configuration: changes.filter(isConfiguration),
    files: changes.filter((change) => !isConfiguration(change)),
    totals: totalsOf(changes),
    notCompared: notCompared.toSorted((a, b) => compareTreeOrder(a.path, b.path)),
  }
}

function both<Document, Change>(
  left: Document | undefined,
  right: Document | undefined,
  diff: (left: Document, right: Document) => readonly Change[],
): readonly Change[] | undefined {
  return left === undefined || right === undefined ? undefined : diff(left, right)
}

/** A new folder is not a setting; what lies in it may be. */
function isConfiguration({ path, left, right }: FileChange): boolean {
  return (right ?? left)?.type !== 'dir' && isConfigurationPath(path)
}

/** The node of each path on both sides. Of two paths, one within the other, the outer one is enough. */
async function findPaths(request: CompareRequest, paths: readonly RawPath[]): Promise<PairedNodes[]> {
  const outer = [...new Set(paths)].filter(
    (path) => !paths.some((other) => other !== path && isWithin(path, other)),
  )
  const starts: PairedNodes[] = []
  for (const path of outer) {
    if (path === rootPath) return [{ path }]
    const left = await findNode(request.left.tree, path)
    const right = await findNode(request.right.tree, path)
    if (left === undefined && right === undefined && !isGap(request, path)) {
      throw new VmlError(
        'not-found',
        `Cannot compare "${printable(path)}": neither ${request.left.label} nor ${request.right.label} has it`,
      )
    }
    starts.push({ path, ...(left === undefined ? {} : { left }), ...(right === undefined ? {} : { right }) })
  }
  return starts
}

/** Neither side has it, and one of them had. */
function isGap({ left, right }: CompareRequest, path: RawPath): boolean {
  return [left, right].some(({ scope }) => {
    const why = whyUnknown(scope, path)
    return why === 'lost' || why === 'unreadable'
  })
}

async function findNode(tree: ComparableTree, path: RawPath): Promise<TreeNode | undefined> {
  let folder: TreeNode | undefined
  let at = rootPath
  for (const name of pathParts(path)) {
    if (folder !== undefined && folder.type !== 'dir') return undefined
    const children: readonly TreeNode[] = await tree.children(at, folder)
    folder = children.find((node) => node.name === name)
    if (folder === undefined) return undefined
    at = joinPath(at, name)
  }
  return folder
}

async function commonChanges(request: CompareRequest, pairs: TreePairs): Promise<FileChange[]> {
  const options = {
    times: request.times ?? false,
    xattrs: request.left.fidelity?.xattrs !== false && request.right.fidelity?.xattrs !== false,
  }
  const differs = await contentDiffers(pairs.common, request.sameContent ?? readContent(request))
  return pairs.common.flatMap((pair): FileChange[] => {
    const { path, left, right } = pair
    const attributes = diffAttributes(left, right, options)
    const mark = left.type !== right.type ? 'T' : differs.has(pair) ? 'M' : attributes[0]
    if (mark === undefined) return []
    return [{ mark, path, left: fileState(left), right: fileState(right), attributes }]
  })
}

async function oneSidedChanges(request: CompareRequest, pairs: TreePairs): Promise<FileChange[]> {
  const found = findRenames(withCounts(pairs.deleted), withCounts(await identifyAdded(request, pairs)))
  return [
    ...found.renames.map((rename) => renameChange(rename, request)),
    ...found.deleted.map(({ path, node }): FileChange => ({
      mark: '-',
      path,
      left: fileState(node),
      attributes: [],
    })),
    ...found.added.map(({ path, node }): FileChange => ({
      mark: '+',
      path,
      right: fileState(node),
      attributes: [],
    })),
  ]
}

/** In tree order, with what lies below each. */
function withCounts(items: readonly OneNode[]): OneSided[] {
  const sorted = items
    .map(({ path, node }) => ({ path, node, below: 0, files: 0, bytes: 0 }))
    .sort((a, b) => compareTreeOrder(a.path, b.path))
  const open: (typeof sorted)[number][] = []
  for (const item of sorted) {
    let around = open.at(-1)
    while (around !== undefined && !isWithin(item.path, around.path)) {
      open.pop()
      around = open.at(-1)
    }
    for (const folder of open) {
      folder.below++
      if (item.node.type !== 'file') continue
      folder.files++
      folder.bytes += item.node.size ?? 0
    }
    open.push(item)
  }
  return sorted
}

/** How many new files are asked whether they are an old one under another name. */
const identifiedMax = 10_000

/** A file of the machine as it is now has no content ids: where size and time are those of a deleted file, it is asked. */
async function identifyAdded(request: CompareRequest, pairs: TreePairs): Promise<readonly OneNode[]> {
  const { sameContent } = request
  if (sameContent === undefined) return pairs.added
  const old = new Map(
    pairs.deleted.flatMap((item) =>
      item.node.type === 'file' && (item.node.size ?? 0) > 0 && item.node.content
        ? [[sizeAndTime(item.node), item] as const]
        : [],
    ),
  )
  const questions: { readonly item: OneNode; readonly pair: ContentPair }[] = []
  for (const item of pairs.added) {
    const { path, node } = item
    if (node.type !== 'file' || node.content || questions.length === identifiedMax) continue
    const before = old.get(sizeAndTime(node))
    if (before)
      questions.push({ item, pair: { path, leftPath: before.path, left: before.node, right: node } })
  }
  if (questions.length === 0) return pairs.added
  const answers = await sameContent(questions.map(({ pair }) => pair))
  const identified = new Map<OneNode, TreeNode>()
  for (const [index, { item, pair }] of questions.entries())
    if (answers[index] === true && pair.left.content)
      identified.set(item, { ...item.node, content: pair.left.content })
  return pairs.added.map((item) => ({ path: item.path, node: identified.get(item) ?? item.node }))
}

function sizeAndTime(node: TreeNode): string {
  return `${node.size} ${node.mtimeNs}`
}

function renameChange({ from, to }: Rename, request: CompareRequest): FileChange {
  const options = { times: request.times ?? false, xattrs: true }
  return {
    mark: 'rename',
    path: to.path,
    from: from.path,
    left: fileState(from.node),
    right: fileState(to.node),
    attributes: diffAttributes(from.node, to.node, options),
    ...(to.node.type === 'dir' ? { below: { files: to.files, bytes: to.bytes } } : {}),
  }
}
