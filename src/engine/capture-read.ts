// Reads what changed into the store, in rounds, until it held still.
import { printable } from '../base/raw-text.ts'
import { isWithin, parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Attributes } from '../model/tree.ts'
import type { LocalFiles, ReadFile, ScanProblem } from '../source/source.ts'
import { chunkBytesMin } from '../store/chunker.ts'
import type { FileSink, Writer } from '../store/store.ts'
import type { LaneFile, LaneRead, ReadLaneTask } from './read-lane.ts'
import { addProblem, forget, forgetBelow, type Run } from './capture-run.ts'
import { takeScanned } from './capture-scan.ts'
import { floorTo, nsPerSecond, sameTime } from './unchanged.ts'

/** A file that changes while it is read is read this often, then kept with a warning. */
const readsMax = 3
/** Reads in rounds: what moved while it was read is read again, and kept with a warning after the last round. */
export async function readChanged(run: Run, writer: Writer, changed: readonly RawPath[]): Promise<void> {
  const { local } = run.request.source
  let wanted = changed
  for (let round = 1; wanted.length > 0; round++) {
    const moved = local
      ? await readHere(run, writer, { wanted, local })
      : await findMoved(run, await dropBehindLinks(run, await readStream(run, writer, wanted)))
    if (round === readsMax) {
      for (const path of moved) {
        if (run.files.get(path) === undefined) {
          addProblem(run, path, 'unreadable', 'It became another kind of file each time it was read')
          forget(run, path)
          continue
        }
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

/** Files of this computer, each read by one of the writer's threads. Returns what moved meanwhile. */
async function readHere(
  run: Run,
  writer: Writer,
  { wanted, local }: { readonly wanted: readonly RawPath[]; readonly local: LocalFiles },
): Promise<RawPath[]> {
  const { reporter, signal } = run.request
  const { first, others } = splitHardLinks(run, wanted)
  const bytesTotal = first.reduce((sum, path) => sum + (run.listing.get(path)?.attributes.size ?? 0), 0)
  const filesTotal = wanted.filter((path) => run.listing.get(path)?.attributes.type === 'file').length
  await writer.expect({ blobs: first.length + Math.ceil(bytesTotal / chunkBytesMin), bytes: bytesTotal })
  const moved: RawPath[] = []
  const regular: RawPath[] = []
  let filesDone = 0
  const take = (path: RawPath, found: LaneRead) => {
    const scanned = run.listing.get(path)?.attributes
    if (!scanned) return
    if (found.kind === 'problem') {
      takeUnread(run, { kind: 'problem', path, problem: found.problem, message: found.message })
      return
    }
    const { content, size, linkTarget, device, xattrs } = found
    if (found.moved) moved.push(path)
    if (scanned.type !== 'file') {
      if (!found.moved) {
        const more = {
          ...(linkTarget === undefined ? {} : { linkTarget }),
          ...(device === undefined ? {} : { device }),
        }
        run.files.set(path, {
          attributes: { ...scanned, ...more, ...(xattrs === undefined ? {} : { xattrs }) },
        })
      }
      return
    }
    regular.push(path)
    filesDone++
    if (content === undefined || size === undefined) return
    run.filesRead++
    run.bytesRead += size
    run.files.set(path, {
      attributes: { ...scanned, size, ...(xattrs === undefined ? {} : { xattrs }) },
      content,
    })
    reporter.progress({
      phase: 'reading',
      filesDone,
      filesTotal,
      bytesDone: run.bytesRead,
      bytesTotal,
      item: printable(path),
    })
  }
  const batches = batchesOf(run, first)
  const readBatches = async () => {
    for (let batch = batches.next(); !batch.done; batch = batches.next()) {
      signal?.throwIfAborted()
      const task: ReadLaneTask = { files: batch.value, temporaryFolder: local.temporaryFolder }
      const results = (await writer.run(readLane, task)) as readonly LaneRead[]
      for (const [index, { path }] of batch.value.entries()) {
        const found = results[index]
        if (!found) throw new Error('A lane lost a file')
        take(path, found)
      }
    }
  }
  // Each thread has its next batch at hand when it is through with one.
  await Promise.all(Array.from({ length: Math.max(writer.lanes, 1) * 2 }, readBatches))
  for (const { path, to } of others) {
    const attributes = run.listing.get(path)?.attributes
    if (attributes && !moved.includes(to)) takeLink(run, path, to, attributes)
    else moved.push(path)
    if (attributes?.type === 'file') regular.push(path)
  }
  const still = new Set(await dropBehindLinks(run, regular))
  const again = moved.filter((path) => still.has(path) || run.listing.get(path)?.attributes.type !== 'file')
  return await lookAgain(run, again)
}

const readLane = new URL('./read-lane.ts', import.meta.url)
const batchFilesMax = 256
const batchBytesMax = 8 * 1024 * 1024

/** In the order of the paths, the large files first: the last to end would keep the others waiting. */
function* batchesOf(run: Run, paths: readonly RawPath[]): Iterator<LaneFile[], undefined> {
  const large: LaneFile[] = []
  const small: LaneFile[] = []
  for (const path of paths) {
    const attributes = run.listing.get(path)?.attributes
    if (!attributes) continue
    const { type, size = 0, inode, mtimeNs, ctimeNs } = attributes
    const file = { path, type, size, inode, mtimeNs, ctimeNs }
    if (size > batchBytesMax) large.push(file)
    else small.push(file)
  }
  for (const file of large.toSorted((left, right) => right.size - left.size)) yield [file]
  let batch: LaneFile[] = []
  let bytes = 0
  for (const file of small) {
    if (batch.length === batchFilesMax || (batch.length > 0 && bytes + file.size > batchBytesMax)) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(file)
    bytes += file.size
  }
  if (batch.length > 0) yield batch
  return undefined
}

/** A file of several names is read under the first of them. */
function splitHardLinks(
  run: Run,
  wanted: readonly RawPath[],
): { first: RawPath[]; others: { path: RawPath; to: RawPath }[] } {
  const names = new Map<string, RawPath>()
  const first: RawPath[] = []
  const others: { path: RawPath; to: RawPath }[] = []
  for (const path of wanted) {
    const attributes = run.listing.get(path)?.attributes
    const shared = attributes && attributes.type !== 'dir' && (attributes.links ?? 1) > 1
    const name = shared ? `${attributes.deviceId}:${attributes.inode}` : undefined
    const to = name === undefined ? undefined : names.get(name)
    if (to !== undefined) others.push({ path, to })
    else {
      first.push(path)
      if (name !== undefined) names.set(name, path)
    }
  }
  return { first, others }
}

/** Brings up to date what is known of paths that moved, and returns those that are still there. */
async function lookAgain(run: Run, paths: readonly RawPath[]): Promise<RawPath[]> {
  const { source, signal } = run.request
  const left: RawPath[] = []
  if (paths.length === 0) return left
  for await (const record of source.stat(paths, signal)) {
    if (record.kind === 'mount') continue
    if (record.kind === 'problem') {
      takeScanned(run, record)
      forget(run, record.path)
      continue
    }
    const before = run.listing.get(record.path)?.attributes
    if (!before) continue
    if (before.type !== record.attributes.type) {
      forgetBelow(run, record.path)
      run.files.delete(record.path)
    }
    run.listing.add(record.path, record.attributes)
    left.push(record.path)
  }
  return left
}

/** Content that a machine sends. Returns the regular files that came. */
async function readStream(run: Run, writer: Writer, wanted: readonly RawPath[]): Promise<RawPath[]> {
  const { source, reporter, signal } = run.request
  const asked = new Set(wanted)
  const regular: RawPath[] = []
  const links: { path: RawPath; to: RawPath; attributes: Attributes }[] = []
  const bytesTotal = wanted.reduce((sum, path) => sum + (run.listing.get(path)?.attributes.size ?? 0), 0)
  // Folders and links cost next to nothing and are no files to whoever waits.
  const filesTotal = wanted.filter((path) => run.listing.get(path)?.attributes.type === 'file').length
  let filesDone = 0
  const storing = new Set<Promise<void>>()
  let failure: { readonly error: unknown } | undefined
  for await (const record of source.read(wanted, signal)) {
    if (failure) throw failure.error
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
      const { path } = record
      const sink = await sendFile(writer, record, attributes, run)
      // The next file comes while this one is being stored.
      const stored: Promise<void> = sink
        .finish()
        .then(
          ({ content, size }) => {
            // Meanwhile the machine may have taken it back.
            if (run.listing.get(path)) run.files.set(path, { attributes: { ...attributes, size }, content })
          },
          (error: unknown) => {
            failure ??= { error }
          },
        )
        .finally(() => storing.delete(stored))
      storing.add(stored)
      while (storing.size >= storingMax) await Promise.race(storing)
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
  await Promise.all(storing)
  if (failure) throw failure.error
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

/** Content of files that are not through the store yet; their attributes are kept meanwhile. */
const storingMax = 4096

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
