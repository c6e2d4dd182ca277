// The one stream of differences that a restore sends, and what the proof will expect of it.
import { createHash, type Hash } from 'node:crypto'
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Attributes, Segment, TreeNode } from '../model/tree.ts'
import type { WriteItem } from '../source/source.ts'
import { findExtents } from '../wire/tar-sparse.ts'
import { isDamage } from '../store/damage.ts'
import { digestSegments, type Expected, hashSegment } from './proof.ts'
import { type DamagedPath, otherLength } from './restore-damage.ts'
import { changedSince, type Late } from './restore-late.ts'
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
  /** Known before anything is changed: the plan is without them. */
  readonly damaged: readonly DamagedPath[]
  /** Nobody works there yet: what changes by itself while it is written is replaced. */
  readonly isNew?: boolean
}

/** Folders on the way to a write that are there already: each must be a real folder when the first byte goes out. */
export function writeParents({ plan, request }: PlannedRestore): RawPath[] {
  const made = new Set<RawPath>()
  for (const { path, node, reason } of plan.writes)
    if (node.type === 'dir' && reason !== 'folder') made.add(path)
  const parents = new Set<RawPath>()
  const seen = new Set<RawPath>()
  const add = (path: RawPath) => {
    for (let folder = path; folder !== rootPath && !seen.has(folder); folder = parentPath(folder)) {
      seen.add(folder)
      if (!made.has(folder)) parents.add(folder)
    }
  }
  let last: RawPath = rootPath
  for (const { path } of plan.writes) {
    const folder = parentPath(path)
    // What lies in one folder mostly comes together.
    if (folder !== last) add(folder)
    last = folder
  }
  for (const { path } of request.extras) add(parentPath(path))
  return [...parents].sort()
}

/**
 * A file's content is read through before its header goes out: where that fails the file is named in `damaged`, and the
 * stream goes on without it and its other names. So it is with what stands there and was changed since it was seen: it is
 * looked at as its item is made, a few items before it is sent.
 */
export async function* writeItems(prepared: PlannedRestore, found: Found): AsyncIterable<WriteItem> {
  const { plan, request } = prepared
  const bytesTotal = plan.bytes
  let bytesDone = 0
  let filesDone = 0
  let checked = 0
  for (const [number, write] of plan.writes.entries()) {
    if (number === checked) checked = await lookOnceMore(prepared, number, found.late)
    const item = await writeItem(prepared, write, found)
    if (item) yield item
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
  const planned = new Set(plan.writes.map(({ path }) => path))
  const added = request.extras.map(({ path }) => path).filter((path) => !planned.has(path))
  for (const [path, now] of await changedSince(prepared, added)) found.late.set(path, now)
  for (const { path, bytes, attributes } of request.extras) {
    if (found.late.has(path)) continue
    found.expected.set(path, { attributes, sha256: () => digestSegments(dataSegments(bytes)) })
    yield { path, attributes, segments: () => dataSegments(bytes) }
  }
}

/** What comes to light on the way. */
interface Found {
  readonly expected: Map<RawPath, Expected>
  readonly damaged: Map<RawPath, string>
  /** Changed since they were seen, or below such a path: they stay. */
  readonly late: Late
}

/** Looked at together: few, and what is in them is soon sent. */
const lookedAtMax = 200
const lookedAtBytesMax = 16 * 1024 * 1024

/** Returns the number of the first write that was not looked at. What is new is looked at by nobody. */
async function lookOnceMore(prepared: PlannedRestore, from: number, late: Late): Promise<number> {
  const { plan } = prepared
  const paths: RawPath[] = []
  let bytes = 0
  let at = from
  for (; at < plan.writes.length && paths.length < lookedAtMax && bytes < lookedAtBytesMax; at++) {
    const { path, node, reason, hardLinkTo } = plan.writes[at] ?? {}
    if (path === undefined || reason === 'missing' || reason === 'type') continue
    paths.push(path)
    if (hardLinkTo === undefined) bytes += node?.size ?? 0
  }
  for (const [path, now] of await changedSince(prepared, paths)) late.set(path, now)
  return at
}

async function writeItem(
  { request, present }: PlannedRestore,
  write: PlannedWrite,
  { expected, damaged, late }: Found,
): Promise<WriteItem | undefined> {
  const { path, node, hardLinkTo } = write
  const standing = node.type === 'dir' && present.get(path)?.type === 'dir'
  const above = parentPath(path)
  const isCutOff = late.has(above) && late.get(above)?.type !== 'dir'
  if (isCutOff || (hardLinkTo !== undefined && late.has(hardLinkTo))) late.set(path, late.get(path))
  if (late.has(path)) {
    const now = late.get(path)
    if (!standing || now?.type !== 'dir') return undefined
    // What lies in it goes on; it stays as it is, but for its time.
    expected.set(path, { attributes: node, standing })
    return { path, attributes: { ...now, mtimeNs: node.mtimeNs }, segments: noSegments }
  }
  if (hardLinkTo !== undefined) {
    const why = damaged.get(hardLinkTo)
    const first = expected.get(hardLinkTo)
    if (why !== undefined) damaged.set(path, why)
    else expected.set(path, { ...first, attributes: node })
    return why === undefined ? { path, attributes: node, hardLinkTo, segments: noSegments } : undefined
  }
  if (node.type !== 'file') {
    expected.set(path, { attributes: node, standing })
    return { path, attributes: node, segments: noSegments }
  }
  try {
    const { sha256, ...content } = await lookThrough(node, request)
    expected.set(path, { attributes: node, sha256: () => sha256 })
    return { path, attributes: node, ...content }
  } catch (error) {
    if (!isDamage(error)) throw error
    damaged.set(path, error.message)
    return undefined
  }
}

/** From here on a file may well have holes that are worth one look. */
const holedBytesMin = 64 * 1024
/** Up to here a file is held in memory, so that it is read from the store once. */
const heldBytesMax = 32 * 1024 * 1024

/** The archive names the holes before the data; of a large file they are looked for only where it repeats itself. */
async function lookThrough(
  { content = [], size = 0 }: TreeNode,
  { repository, destination, signal }: RestoreRequest,
): Promise<Pick<WriteItem, 'extents' | 'segments'> & { readonly sha256: string }> {
  const mayHaveHoles = size >= holedBytesMin && destination.source.fidelity.sparse
  const stored = () => repository.readFile(content, { signal })
  const hash = createHash('sha256')
  if (size > heldBytesMax) {
    const repeats = content.some((id, index) => id === content[index + 1])
    const seen = counted(stored(), hash, size)
    if (mayHaveHoles && repeats)
      return { extents: await findExtents(seen), segments: stored, sha256: hash.digest('hex') }
    for await (const _ of seen);
    return { segments: stored, sha256: hash.digest('hex') }
  }
  const held: Segment[] = []
  for await (const segment of counted(stored(), hash, size))
    held.push(segment.kind === 'hole' ? segment : { kind: 'data', bytes: Buffer.from(segment.bytes) })
  const sha256 = hash.digest('hex')
  const segments = () => eachOf(held)
  return mayHaveHoles ? { extents: await findExtents(segments()), segments, sha256 } : { segments, sha256 }
}

/** Passes on what it hashes. `integrity.format` where it is not as long as the entry says. */
async function* counted(segments: AsyncIterable<Segment>, hash: Hash, size: number): AsyncIterable<Segment> {
  let length = 0
  for await (const segment of segments) {
    length += segment.kind === 'data' ? segment.bytes.length : segment.length
    hashSegment(hash, segment)
    yield segment
  }
  if (length !== size) throw new VmlError('integrity.format', otherLength(length, size))
}

async function* eachOf<T>(items: readonly T[]): AsyncIterable<T> {
  yield* items
}

async function* dataSegments(bytes: Buffer): AsyncIterable<Segment> {
  if (bytes.length > 0) yield { kind: 'data', bytes }
}

async function* noSegments(): AsyncIterable<Segment> {}
