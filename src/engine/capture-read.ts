// Reads what changed into the store, in rounds, until it held still.
import { printable } from '../base/raw-text.ts'
import { isWithin, parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Attributes } from '../model/tree.ts'
import type { ReadFile, ScanProblem } from '../source/source.ts'
import type { Writer } from '../store/store.ts'
import { addProblem, type CapturedFile, forget, forgetBelow, type Run } from './capture-run.ts'
import { takeScanned } from './capture-scan.ts'
import { floorTo, nsPerSecond, sameTime } from './unchanged.ts'

/** A file that changes while it is read is read this often, then kept with a warning. */
const readsMax = 3
/** Reads in rounds: what moved while it was read is read again, and kept with a warning after the last round. */
export async function readChanged(run: Run, writer: Writer, changed: readonly RawPath[]): Promise<void> {
  let wanted = changed
  for (let round = 1; wanted.length > 0; round++) {
    const read = await readOnce(run, writer, wanted)
    const moved = await findMoved(run, await dropBehindLinks(run, read))
    if (round === readsMax) {
      for (const path of moved) {
        addProblem(run, path, 'changed-while-read')
        run.request.reporter.warn({
          warning: 'Changed while it was read; kept as it was read last',
          item: printable(path),
        })
      }
      return
    }
    wanted = moved
  }
}

async function readOnce(run: Run, writer: Writer, wanted: readonly RawPath[]): Promise<RawPath[]> {
  const { source, reporter, signal } = run.request
  const asked = new Set(wanted)
  const regular: RawPath[] = []
  const links: { path: RawPath; to: RawPath; attributes: Attributes }[] = []
  const bytesTotal = wanted.reduce((sum, path) => sum + (run.listing.get(path)?.attributes.size ?? 0), 0)
  // Folders and links cost next to nothing and are no files to whoever waits.
  const filesTotal = wanted.filter((path) => run.listing.get(path)?.attributes.type === 'file').length
  let filesDone = 0
  for await (const record of source.read(wanted, signal)) {
    const isFirst = asked.delete(record.path)
    if (record.kind !== 'file') {
      // It may follow the file itself: then the content that came is not the file's.
      takeUnread(run, record)
      continue
    }
    // Below what is no folder any more: it came from wherever a link leads.
    if (!isFirst || !run.listing.get(record.path)) continue
    const attributes = merged(run, record)
    if (attributes.type !== 'dir') forgetBelow(run, record.path)
    if (record.hardLinkTo !== undefined) links.push({ path: record.path, to: record.hardLinkTo, attributes })
    else if (attributes.type === 'file') {
      run.files.set(record.path, await storeFile(writer, record, attributes, run))
    } else run.files.set(record.path, { attributes })
    if (attributes.type === 'file') {
      regular.push(record.path)
      filesDone++
    }
    reporter.progress({
      phase: 'reading',
      filesDone,
      filesTotal,
      bytesDone: run.bytesRead,
      bytesTotal,
      item: printable(record.path),
    })
  }
  for (const { path, to, attributes } of links) takeLink(run, path, to, attributes)
  for (const path of asked) {
    addProblem(run, path, 'unreadable', 'The machine did not send it')
    forget(run, path)
  }
  return regular
}

/** A folder that cannot be opened keeps what the scan knows of it; what is above the roots is no loss at all. */
function takeUnread(run: Run, record: ScanProblem): void {
  const { path, problem, message } = record
  const scanned = run.listing.get(path)?.attributes
  if (scanned?.type === 'dir' && problem !== 'vanished') {
    run.files.set(path, { attributes: scanned })
    if (!run.above.has(path)) addProblem(run, path, problem, message)
    return
  }
  addProblem(run, path, problem, message)
  forget(run, path)
}

/** The scan knows inode, ctime and owner's names; the stream knows link targets, attributes and finer times. */
function merged(run: Run, record: ReadFile): Attributes {
  const scanned = run.listing.get(record.path)?.attributes
  const { linkTarget, xattrs, mtimeNs, device } = record.attributes
  // Another name of a link or FIFO comes as no type of its own.
  const isSame = scanned?.type === record.attributes.type || record.hardLinkTo !== undefined
  if (!scanned || !isSame) {
    addProblem(run, record.path, 'changed-while-read', 'It became a file of another type')
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

/** Where the scan tells whole seconds and the stream more, the stream's time is the file's. */
function finerTime(scanned: bigint, streamed: bigint): bigint {
  return scanned % nsPerSecond === 0n && floorTo(streamed, nsPerSecond) === scanned ? streamed : scanned
}

async function storeFile(
  writer: Writer,
  record: ReadFile,
  attributes: Attributes,
  run: Run,
): Promise<CapturedFile> {
  const sink = writer.openFile()
  try {
    for await (const segment of record.segments()) {
      run.bytesRead += segment.kind === 'data' ? segment.bytes.length : segment.length
      await sink.write(segment)
    }
    const stored = await sink.finish()
    run.filesRead++
    return { attributes: { ...attributes, size: stored.size }, content: stored.content }
  } catch (error) {
    sink.abort()
    throw error
  }
}

function takeLink(run: Run, path: RawPath, to: RawPath, attributes: Attributes): void {
  const target = run.files.get(to)
  if (!target || target.attributes.type !== attributes.type) {
    addProblem(run, path, 'unreadable', `The file it is another name of was not read`)
    forget(run, path)
    return
  }
  const { size, linkTarget, device, xattrs, mtimeNs } = target.attributes
  run.files.set(path, {
    attributes: {
      ...attributes,
      mtimeNs,
      ...(size === undefined ? {} : { size }),
      ...(linkTarget === undefined ? {} : { linkTarget }),
      ...(device === undefined ? {} : { device }),
      ...(xattrs === undefined ? {} : { xattrs }),
    },
    ...(target.content === undefined ? {} : { content: target.content }),
  })
}

/** Where a folder on the way became something else meanwhile, what was read below it may be the file of a stranger. */
async function dropBehindLinks(run: Run, read: readonly RawPath[]): Promise<RawPath[]> {
  const { source, signal } = run.request
  const folders = new Set<RawPath>()
  for (const path of read)
    for (let at = parentPath(path); at !== rootPath && !folders.has(at); at = parentPath(at))
      if (run.listing.get(at)?.attributes.type === 'dir') folders.add(at)
  const replaced = new Set<RawPath>()
  for await (const record of source.stat([...folders], signal))
    if (record.kind === 'item' && record.attributes.type !== 'dir') replaced.add(record.path)
  if (replaced.size === 0) return [...read]
  return read.filter((path) => {
    if (![...replaced].some((folder) => isWithin(path, folder))) return true
    addProblem(run, path, 'unreadable', 'A folder that it lies in was replaced while it was read')
    forget(run, path)
    return false
  })
}

/** Looks again at what was read; the newer attributes count, and a file that moved is named. */
async function findMoved(run: Run, read: readonly RawPath[]): Promise<RawPath[]> {
  const { source, signal } = run.request
  const moved: RawPath[] = []
  if (read.length === 0) return moved
  const resolution = BigInt(Math.max(source.fidelity.timeResolutionNs, 1))
  for await (const record of source.stat(read, signal)) {
    if (record.kind === 'mount') continue
    if (record.kind === 'problem') {
      takeScanned(run, record)
      forget(run, record.path)
      continue
    }
    const before = run.listing.get(record.path)?.attributes
    const file = run.files.get(record.path)
    if (!before || !file) continue
    if (heldStill(before, record.attributes, file.attributes.size, resolution)) continue
    run.listing.add(record.path, record.attributes)
    moved.push(record.path)
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
