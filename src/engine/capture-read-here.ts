// Reads files of this computer: each by one of the writer's threads, which opens, cuts and stores it.
import { printable } from '../base/raw-text.ts'
import type { Attributes } from '../model/tree.ts'
import type { LocalFiles } from '../source/source.ts'
import { chunkBytesMin } from '../store/chunker.ts'
import type { Writer } from '../store/store.ts'
import { forgetBelow, type Run } from './capture-run.ts'
import { dropBehindLinks, lookAgain, takeLink, takeUnread } from './capture-taken.ts'
import type { Row } from './listing-row.ts'
import { encodeBatch, type LaneResults, readResults } from './lane-batch.ts'
import type { LaneRead, ReadLaneTask } from './read-lane.ts'

/** Returns what moved meanwhile. */
export async function readHere(
  run: Run,
  writer: Writer,
  { wanted, local }: { readonly wanted: readonly Row[]; readonly local: LocalFiles },
): Promise<Row[]> {
  const { listing, request } = run
  const { reporter, signal } = request
  const { first, others } = splitHardLinks(run, wanted)
  const bytesTotal = first.reduce((sum, row) => sum + listing.bytes(row), 0)
  const filesTotal = wanted.reduce((sum, row) => sum + (listing.type(row) === 'file' ? 1 : 0), 0)
  await writer.expect({ blobs: first.length + Math.ceil(bytesTotal / chunkBytesMin), bytes: bytesTotal })
  const moved = new Set<Row>()
  const regular: Row[] = []
  const takeContent = (row: Row, ids: Uint8Array) => {
    regular.push(row)
    run.filesRead++
    run.bytesRead += listing.bytes(row)
    run.files.setContent(row, ids)
  }
  const take = (row: Row, found: LaneRead) => {
    if (found.kind === 'problem') {
      takeUnread(run, { ...found, path: listing.path(row) })
      return
    }
    if (found.moved) moved.add(row)
    const { content, size } = found
    if (listing.type(row) !== 'file') {
      if (!found.moved) run.files.set(row, moreOf(found))
      return
    }
    regular.push(row)
    if (content === undefined || size === undefined) return
    run.filesRead++
    run.bytesRead += size
    run.files.set(row, { ...moreOf(found), size }, content)
  }
  const tellProgress = (row: Row) =>
    reporter.progress({
      phase: 'reading',
      filesDone: regular.length,
      filesTotal,
      bytesDone: run.bytesRead,
      bytesTotal,
      item: printable(listing.path(row)),
    })
  const batches = batchesOf(run, first)
  const readBatches = async () => {
    for (let batch = batches.next(); !batch.done; batch = batches.next()) {
      signal?.throwIfAborted()
      const rows = batch.value
      const task: ReadLaneTask = { ...encodeBatch(listing, rows), temporaryFolder: local.temporaryFolder }
      const results = readResults((await writer.run(readLane, task)) as LaneResults<LaneRead>)
      for (const row of rows) {
        const found = results.next().value as Uint8Array | LaneRead | undefined
        if (!found) throw new Error('A lane lost a file')
        if (found instanceof Uint8Array) takeContent(row, found)
        else take(row, found)
      }
      const last = rows.at(-1)
      if (last !== undefined) tellProgress(last)
    }
  }
  // Each thread has its next batch at hand when it is through with one.
  await Promise.all(Array.from({ length: Math.max(writer.lanes, 1) * 2 }, readBatches))
  for (const { row, to } of others) {
    if (listing.type(row) === 'file') regular.push(row)
    if (moved.has(to)) moved.add(row)
    else takeLink(run, row, to)
  }
  // Few of very many as a rule: no set of all.
  const still = new Set((await dropBehindLinks(run, regular)).filter((row) => moved.has(row)))
  return await listAgain(
    run,
    [...moved].filter((row) => still.has(row) || listing.type(row) !== 'file'),
  )
}

const readLane = new URL('./read-lane.ts', import.meta.url)
const batchFilesMax = 256
const batchBytesMax = 8 * 1024 * 1024

function moreOf({ linkTarget, device, xattrs }: Extract<LaneRead, { kind: 'read' }>): Partial<Attributes> {
  return {
    ...(linkTarget === undefined ? {} : { linkTarget }),
    ...(device === undefined ? {} : { device }),
    ...(xattrs === undefined ? {} : { xattrs }),
  }
}

/** In the order of the scan, the large files first: the last to end would keep the others waiting. */
function* batchesOf({ listing }: Run, rows: readonly Row[]): Iterator<Row[], undefined> {
  const isLarge = (row: Row) => listing.bytes(row) > batchBytesMax
  const large = rows.filter(isLarge).sort((left, right) => listing.bytes(right) - listing.bytes(left))
  for (const row of large) yield [row]
  let batch: Row[] = []
  let bytes = 0
  for (const row of rows) {
    if (isLarge(row)) continue
    const size = listing.bytes(row)
    if (batch.length === batchFilesMax || (batch.length > 0 && bytes + size > batchBytesMax)) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(row)
    bytes += size
  }
  if (batch.length > 0) yield batch
  return undefined
}

/** A file of several names is read under the first of them. */
function splitHardLinks(
  { listing }: Run,
  wanted: readonly Row[],
): { first: Row[]; others: { row: Row; to: Row }[] } {
  const names = new Map<string, Row>()
  const first: Row[] = []
  const others: { row: Row; to: Row }[] = []
  for (const row of wanted) {
    if (listing.links(row) < 2 || listing.isFolder(row)) {
      first.push(row)
      continue
    }
    const { deviceId, inode } = listing.attributes(row)
    const name = `${deviceId}:${inode}`
    const to = names.get(name)
    if (to === undefined) {
      names.set(name, row)
      first.push(row)
    } else others.push({ row, to })
  }
  return { first, others }
}

/** Brings up to date what is known of paths that moved, and returns those that are still there. */
async function listAgain(run: Run, rows: readonly Row[]): Promise<Row[]> {
  const { listing } = run
  const left: Row[] = []
  const paths = rows.map((row) => listing.path(row))
  for await (const record of lookAgain(run, paths)) {
    const before = listing.find(record.path)
    if (before < 0) continue
    if (listing.type(before) !== record.attributes.type) {
      forgetBelow(run, record.path)
      run.files.delete(before)
    }
    left.push(listing.add(record.path, record.attributes))
  }
  return left
}
