// The one stream of differences that a restore sends, and what the proof will expect of it.
import { printable } from '../base/raw-text.ts'
import { parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Attributes, Segment, TreeNode } from '../model/tree.ts'
import type { Source, WriteItem } from '../source/source.ts'
import { findExtents } from '../wire/tar-sparse.ts'
import { contentDigest, digestSegments, type Expected } from './proof.ts'
import type { PlannedWrite, RestorePlan } from './restore-plan.ts'
import type { RestoreRequest } from './restore-request.ts'

/** What is about to be written. */
export interface PlannedRestore {
  readonly request: RestoreRequest
  readonly plan: RestorePlan
  readonly present: ReadonlyMap<RawPath, Attributes>
  /** Paths that are there and would change or go: the safety entry holds them. */
  readonly endangered: readonly RawPath[]
  /** Of a restore that was cut off: they go. */
  readonly leftovers: readonly RawPath[]
}

/** Folders on the way to a write that are there already: each must be a real folder when the first byte goes out. */
export function writeParents({ plan, request }: PlannedRestore): RawPath[] {
  const made = new Set<RawPath>()
  for (const { path, node, reason } of plan.writes)
    if (node.type === 'dir' && reason !== 'folder') made.add(path)
  const parents = new Set<RawPath>()
  for (const { path } of [...plan.writes, ...request.extras]) {
    for (
      let folder = parentPath(path);
      folder !== rootPath && !parents.has(folder);
      folder = parentPath(folder)
    ) {
      if (!made.has(folder)) parents.add(folder)
    }
  }
  return [...parents].sort()
}

export async function* writeItems(
  prepared: PlannedRestore,
  expected: Map<RawPath, Expected>,
): AsyncIterable<WriteItem> {
  const { plan, request } = prepared
  const bytesTotal = plan.bytes
  let bytesDone = 0
  let filesDone = 0
  for (const write of plan.writes) {
    yield await writeItem(prepared, write, expected)
    if (write.hardLinkTo === undefined) bytesDone += write.node.size ?? 0
    request.reporter.progress({
      phase: 'writing',
      filesDone: ++filesDone,
      filesTotal: plan.writes.length,
      bytesDone,
      bytesTotal,
      item: printable(write.path),
    })
  }
  for (const { path, bytes, attributes } of request.extras) {
    expected.set(path, { attributes, sha256: () => digestSegments(dataSegments(bytes)) })
    yield { path, attributes, segments: () => dataSegments(bytes) }
  }
}

async function writeItem(
  { request, present }: PlannedRestore,
  write: PlannedWrite,
  expected: Map<RawPath, Expected>,
): Promise<WriteItem> {
  const { path, node, hardLinkTo } = write
  const { repository, signal } = request
  expected.set(path, {
    attributes: node,
    ...(node.type === 'file' ? { sha256: () => contentDigest(repository, node, signal) } : {}),
    standing: node.type === 'dir' && present.get(path)?.type === 'dir',
  })
  const segments = () =>
    node.type === 'file' ? repository.readFile(node.content ?? [], { signal }) : noSegments()
  return {
    path,
    attributes: node,
    ...(hardLinkTo === undefined
      ? await withHoles(node, segments, request.destination.source)
      : { hardLinkTo, segments }),
  }
}

/** From here on a file may well have holes that are worth one look. */
const holedBytesMin = 64 * 1024
/** Up to here a file is held in memory, so that it is read from the store once. */
const heldBytesMax = 32 * 1024 * 1024

/** The archive names the holes before the data: a file is looked through first, a large one only where it repeats itself. */
async function withHoles(
  node: TreeNode,
  segments: () => AsyncIterable<Segment>,
  source: Source,
): Promise<Pick<WriteItem, 'extents' | 'segments'>> {
  const { content = [], size = 0 } = node
  if (node.type !== 'file' || size < holedBytesMin || !source.fidelity.sparse) return { segments }
  if (size > heldBytesMax) {
    const repeats = content.some((id, index) => id === content[index + 1])
    return repeats ? { extents: await findExtents(segments()), segments } : { segments }
  }
  const held: Segment[] = []
  for await (const segment of segments())
    held.push(segment.kind === 'hole' ? segment : { kind: 'data', bytes: Buffer.from(segment.bytes) })
  return { extents: await findExtents(eachOf(held)), segments: () => eachOf(held) }
}

async function* eachOf<T>(items: readonly T[]): AsyncIterable<T> {
  yield* items
}

async function* dataSegments(bytes: Buffer): AsyncIterable<Segment> {
  if (bytes.length > 0) yield { kind: 'data', bytes }
}

async function* noSegments(): AsyncIterable<Segment> {}
