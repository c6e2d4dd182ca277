// Reads content that a machine sends: each file goes to one of the writer's threads while the next one comes.
import { printable } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Attributes } from '../model/tree.ts'
import type { ReadFile } from '../source/source.ts'
import type { FileSink, Writer } from '../store/store.ts'
import { addProblem, forget, forgetBelow, type Run } from './capture-run.ts'
import { dropBehindLinks, lookAgain, takeLink, takeUnread } from './capture-taken.ts'
import type { Row } from './listing-row.ts'
import { floorTo, nsPerSecond, sameTime } from './unchanged.ts'

/** Returns what moved meanwhile. */
export async function readStream(run: Run, writer: Writer, wanted: readonly Row[]): Promise<Row[]> {
  return await findMoved(run, await dropBehindLinks(run, await readAll(run, writer, wanted)))
}

/** Returns the regular files that came. */
async function readAll(run: Run, writer: Writer, wanted: readonly Row[]): Promise<Row[]> {
  const { listing, request } = run
  const { source, reporter, signal } = request
  const asked = new Map<RawPath, Row>(wanted.map((row) => [listing.path(row), row]))
  const rows = new Map(asked)
  const regular: Row[] = []
  const links: { row: Row; to: Row }[] = []
  const bytesTotal = wanted.reduce((sum, row) => sum + listing.bytes(row), 0)
  // Folders and links cost next to nothing and are no files to whoever waits.
  const filesTotal = wanted.filter((row) => listing.type(row) === 'file').length
  const storing = openStoring(run)
  for await (const record of source.read([...asked.keys()], signal)) {
    storing.check()
    const { path } = record
    const row = rows.get(path)
    const isFirst = asked.delete(path)
    if (record.kind !== 'file') {
      // It may follow the file itself: then the content that came is not the file's.
      takeUnread(run, record)
      continue
    }
    // Below what is no folder any more: it came from wherever a link leads.
    if (!isFirst || row === undefined || !listing.isKnown(row)) continue
    const attributes = merged(run, row, record)
    if (attributes.type !== 'dir') forgetBelow(run, path)
    if (record.hardLinkTo !== undefined) links.push({ row, to: rows.get(record.hardLinkTo) ?? row })
    else if (attributes.type === 'file')
      await storing.start(row, attributes, await sendFile(writer, record, attributes, run))
    else run.files.set(row, moreOf(attributes))
    if (attributes.type === 'file') regular.push(row)
    reporter.progress({
      phase: 'reading',
      filesDone: regular.length,
      filesTotal,
      bytesDone: run.bytesRead,
      bytesTotal,
      item: printable(path),
    })
  }
  await storing.end()
  for (const { row, to } of links) if (listing.isKnown(row)) takeLink(run, row, to)
  for (const path of asked.keys()) {
    addProblem(run, path, 'unreadable', 'The machine did not send it')
    forget(run, path)
  }
  return regular.filter((row) => listing.isKnown(row))
}

/** The scan knows inode, ctime and owner's names; the stream knows link targets, attributes and finer times. */
function merged(run: Run, row: Row, record: ReadFile): Attributes {
  const scanned = run.listing.attributes(row)
  const { linkTarget, xattrs, mtimeNs, device } = record.attributes
  // Another name of a link or FIFO comes as no type of its own.
  const isSame = scanned.type === record.attributes.type || record.hardLinkTo !== undefined
  if (!isSame) {
    addProblem(run, record.path, 'changed-while-read', 'It became a file of another type')
    // A tree is built by what is listed.
    run.listing.add(record.path, record.attributes)
    return record.attributes
  }
  if (record.hardLinkTo !== undefined) return scanned
  return {
    ...scanned,
    mtimeNs: finerTime(scanned.mtimeNs, mtimeNs),
    ...(device === undefined ? {} : { device }),
    ...(linkTarget === undefined ? {} : { linkTarget }),
    ...(xattrs === undefined || xattrs.length === 0 ? {} : { xattrs }),
  }
}

/** What the listing does not know. */
function moreOf({ mtimeNs, linkTarget, device, xattrs }: Attributes): Partial<Attributes> {
  return {
    mtimeNs,
    ...(linkTarget === undefined ? {} : { linkTarget }),
    ...(device === undefined ? {} : { device }),
    ...(xattrs === undefined ? {} : { xattrs }),
  }
}

/** Where the scan tells whole seconds and the stream more, the stream's time is the file's. */
function finerTime(scanned: bigint, streamed: bigint): bigint {
  return scanned % nsPerSecond === 0n && floorTo(streamed, nsPerSecond) === scanned ? streamed : scanned
}

/** Files whose content is not through the store yet, at most so many; their attributes are kept meanwhile. */
const storingMax = 4096

function openStoring(run: Run) {
  const under = new Set<Promise<void>>()
  let failure: { readonly error: unknown } | undefined
  const check = () => {
    if (failure) throw failure.error
  }
  return {
    check,
    async start(row: Row, attributes: Attributes, sink: FileSink): Promise<void> {
      const stored: Promise<void> = sink
        .finish()
        .then(
          ({ content, size }) => {
            // Meanwhile the machine may have taken it back.
            if (run.listing.isKnown(row)) run.files.set(row, { ...moreOf(attributes), size }, content)
          },
          (error: unknown) => {
            failure ??= { error }
          },
        )
        .finally(() => under.delete(stored))
      under.add(stored)
      while (under.size >= storingMax) await Promise.race(under)
      check()
    },
    async end(): Promise<void> {
      await Promise.all(under)
      check()
    },
  }
}

async function sendFile(writer: Writer, record: ReadFile, { size }: Attributes, run: Run): Promise<FileSink> {
  const sink = writer.openFile({ size })
  try {
    for await (const segment of record.segments()) {
      run.bytesRead += segment.kind === 'data' ? segment.bytes.length : segment.length
      await sink.write(segment)
    }
    run.filesRead++
    return sink
  } catch (error) {
    sink.abort()
    throw error
  }
}

/** Looks again at what was read; the newer attributes count, and a file that moved is named. */
async function findMoved(run: Run, read: readonly Row[]): Promise<Row[]> {
  const { listing, request } = run
  const moved: Row[] = []
  const resolution = BigInt(Math.max(request.source.fidelity.timeResolutionNs, 1))
  const rows = new Map<RawPath, Row>(read.map((row) => [listing.path(row), row]))
  for await (const record of lookAgain(run, [...rows.keys()])) {
    const row = rows.get(record.path)
    if (row === undefined || !run.files.has(row) || !listing.isKnown(row)) continue
    if (heldStill(listing.attributes(row), record.attributes, run.files.bytes(row), resolution)) continue
    moved.push(listing.add(record.path, record.attributes))
  }
  return moved
}

function heldStill(
  before: Attributes,
  after: Attributes,
  readBytes: number | undefined,
  resolution: bigint,
): boolean {
  return (
    before.type === after.type &&
    before.inode === after.inode &&
    after.size === readBytes &&
    sameTime(before.mtimeNs, after.mtimeNs, resolution) &&
    (before.ctimeNs === undefined ||
      after.ctimeNs === undefined ||
      sameTime(before.ctimeNs, after.ctimeNs, resolution))
  )
}
