// The contents of a restore to this host: pieces of packs go to threads, files that are whole get their names.
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { openPool, type Pool } from '../base/pool.ts'
import { printable } from '../base/raw-text.ts'
import { describeSystemError } from '../base/system-error.ts'
import { parentPath, type RawPath } from '../model/raw-path.ts'
import { setAside } from '../source/local-replace.ts'
import type { LocalWriter } from '../source/local-write.ts'
import { standingOf } from '../source/standing.ts'
import { isDamage } from '../store/damage.ts'
import type { ContentAccess } from '../store/content-access.ts'
import type { ContentPiece, ContentPlan, PlannedBlob } from '../store/content-plan.ts'
import { type JobItem, type JobResult, packItems, type WriteJob } from './restore-jobs.ts'
import { cameMeanwhile } from './restore-late.ts'
import type { PlannedWrite } from './restore-plan.ts'
import { noSpace, type RestoreThreads } from './restore-threads.ts'
import type { PlannedRestore } from './restore-write.ts'

/** A piece with more holds a blob that no chunker makes: it is read by itself, where every limit is kept. */
const pieceBytesMax = 32 * 1024 * 1024
/** Files without content in one message. */
const batchItems = 256
/** Whole files wait for this many others, or the end, before they get their names. */
const finishedMin = 16

export interface WriteState {
  readonly prepared: PlannedRestore
  /** Regular files with content of their own, by their number in the plan of contents. */
  readonly files: readonly PlannedWrite[]
  readonly contents: ContentAccess
  readonly contentPlan: ContentPlan
  readonly threads: RestoreThreads
  readonly writer: LocalWriter
  /** Folders of the plan that nobody has seen to yet. */
  readonly unmade: Set<RawPath>
  /** The first thing that was refused, by path. */
  readonly failures: Map<RawPath, string>
  /** Files whose content cannot be read, by path: they stay as they are. */
  readonly damaged: Map<RawPath, string>
  /** Of each file: chunks that are not written yet. */
  readonly left: Int32Array
  /** Of each file of several chunks: 1 when its first piece was sent. */
  readonly begun: Uint8Array
  /** Files of several chunks that are whole but for attributes and name. */
  readonly finished: number[]
  readonly done: { files: number; bytes: number }
}

/** Every file that is written is whole afterwards, or named in `failures` or `damaged`. */
export async function writeContents(state: WriteState): Promise<void> {
  const { prepared, files, contentPlan, contents, threads, damaged } = state
  const { signal } = prepared.request
  const pool = openPool(threads.jobsMax)
  try {
    const empty = files.filter(({ path, node }) => (node.content?.length ?? 0) === 0 && !damaged.has(path))
    for (const batch of batches(empty)) {
      signal?.throwIfAborted()
      await pool.start(async () => await writeEmpty(state, batch))
    }
    for await (const { piece, from } of withBytes(contentPlan.pieces(), contents)) {
      signal?.throwIfAborted()
      await pool.start(async () => await writePiece(state, piece, from))
      await finishFiles(state, pool, finishedMin)
    }
    await pool.drain()
    await finishFiles(state, pool, 1)
    // Before folders get their times.
    for (const [number, { path }] of files.entries()) if (damaged.has(path)) discard(state, number)
  } finally {
    await pool.drain()
  }
}

/** Reads ahead where a pack is no file of this host. */
async function* withBytes(
  pieces: Iterable<ContentPiece>,
  contents: ContentAccess,
): AsyncIterable<{ piece: ContentPiece; from: WriteJob['from'] | undefined }> {
  const ahead: { piece: ContentPiece; from: Promise<WriteJob['from'] | undefined> }[] = []
  const open = async (piece: ContentPiece): Promise<WriteJob['from'] | undefined> => {
    if (piece.length > pieceBytesMax) return undefined
    const path = contents.packPath(piece)
    if (path !== undefined) return { kind: 'file', path, offset: piece.offset, length: piece.length }
    // Gone, cut off, out of reach: then each blob is asked for by itself, and that tells.
    const bytes = await contents.readPiece(piece).catch(() => undefined)
    return bytes && { kind: 'sealed', bytes }
  }
  try {
    for (const piece of pieces) {
      ahead.push({ piece, from: open(piece) })
      const first = ahead.length >= contents.connections ? ahead.shift() : undefined
      if (first) yield { piece: first.piece, from: await first.from }
    }
    for (let first = ahead.shift(); first; first = ahead.shift())
      yield { piece: first.piece, from: await first.from }
  } finally {
    await Promise.allSettled(ahead.map(async ({ from }) => await from))
  }
}

async function writePiece(
  state: WriteState,
  { blobs }: ContentPiece,
  from: WriteJob['from'] | undefined,
): Promise<void> {
  const bad = from ? await sendBlobs(state, blobs, from) : [...blobs.keys()]
  for (const number of bad) {
    const blob = blobs[number]
    if (!blob) continue
    // It knows every place of a blob and names what is lost.
    const { repository, signal } = state.prepared.request
    try {
      const bytes = await repository.readBlob(blob.id, { signal })
      await sendBlobs(state, [blob], { kind: 'plain', bytes })
    } catch (error) {
      if (!isDamage(error)) throw error
      for (const { file } of blob.targets) {
        const path = state.files[file]?.path
        if (path !== undefined && !state.damaged.has(path)) state.damaged.set(path, error.message)
      }
    }
  }
}

/** Returns the numbers of the blobs that could not be opened; the others are written. */
async function sendBlobs(
  state: WriteState,
  blobs: readonly PlannedBlob[],
  from: WriteJob['from'],
): Promise<readonly number[]> {
  const { files, threads } = state
  const items: JobItem[] = []
  const itemNumbers = new Map<number, number>()
  const targets: number[] = []
  let last: RawPath | undefined
  for (const [number, blob] of blobs.entries()) {
    for (const { file, at } of blob.targets) {
      const write = files[file]
      if (!write) throw new RangeError('No such file')
      if (state.damaged.has(write.path)) continue
      const folder = parentPath(write.path)
      if (folder !== last) ensureFolder(state, folder)
      last = folder
      const known = itemNumbers.get(file)
      const isWhole = write.node.content?.length === 1
      if (!isWhole && !state.begun[file]) beginPart(state, write, file)
      const item = known ?? items.push(itemOf(state, write, isWhole ? undefined : file)) - 1
      if (known === undefined) itemNumbers.set(file, item)
      targets.push(number, item, at)
    }
  }
  const job: WriteJob = {
    do: 'write',
    items: packItems(items),
    from,
    ids: blobs.map(({ id }) => id),
    blobs: Float64Array.from(
      blobs.flatMap(({ start, length, plainLength = -1 }) => [start, length, plainLength]),
    ),
    targets: Float64Array.from(targets),
  }
  const { bad, failures } = await threads.run(job, transferable(from))
  takeFailures(state, items, failures)
  const skipped = new Set(bad)
  for (const [number, blob] of blobs.entries()) {
    if (skipped.has(number)) continue
    for (const { file } of blob.targets) markWritten(state, file)
  }
  report(state, items.at(-1))
  return bad
}

/** Here and not in a thread: a piece that finds no such file must not make it once more. */
function beginPart(state: WriteState, write: PlannedWrite, file: number): void {
  state.begun[file] = 1
  attempt(state, write.path, () => state.writer.beginPart(itemOf(state, write, file), file))
}

/** Memory that is nobody else's is handed over, not copied. */
function transferable(from: WriteJob['from']): readonly ArrayBuffer[] {
  if (from.kind === 'file') return []
  const { buffer, byteLength } = from.bytes
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? [buffer] : []
}

function markWritten(state: WriteState, file: number): void {
  const left = (state.left[file] ?? 0) - 1
  state.left[file] = left
  if (left > 0) return
  const write = state.files[file]
  if (!write || state.damaged.has(write.path)) return
  if ((write.node.content?.length ?? 0) > 1) state.finished.push(file)
  else count(state, write)
}

async function writeEmpty(state: WriteState, batch: readonly PlannedWrite[]): Promise<void> {
  for (const { path } of batch) ensureFolder(state, parentPath(path))
  const items = batch.map((write) => itemOf(state, write))
  const { failures } = await state.threads.run({ do: 'empty', items: packItems(items) })
  takeFailures(state, items, failures)
  for (const write of batch) count(state, write)
  report(state, batch.at(-1))
}

/** Files whose last piece is written get attributes and name, so many at a time. */
async function finishFiles(state: WriteState, pool: Pool, atLeast: number): Promise<void> {
  while (state.finished.length >= atLeast) {
    const numbers = state.finished.splice(0, batchItems)
    await pool.start(async () => {
      for (const number of numbers.filter((each) => hasFailed(state, each))) discard(state, number)
      const whole = numbers.filter((each) => !hasFailed(state, each))
      const writes = whole.flatMap((number) => state.files[number] ?? [])
      const items = writes.map((write, index) => itemOf(state, write, whole[index]))
      const { failures } = await state.threads.run({ do: 'finish', items: packItems(items) })
      takeFailures(state, items, failures)
      for (const write of writes) count(state, write)
      report(state, writes.at(-1))
    })
  }
}

function hasFailed({ files, failures }: WriteState, number: number): boolean {
  const path = files[number]?.path
  return path !== undefined && failures.has(path)
}

/** Of a file that several pieces make up. */
export function discard(state: WriteState, number: number): void {
  const write = state.files[number]
  if (!write || (write.node.content?.length ?? 0) < 2) return
  try {
    state.writer.discardPart(itemOf(state, write, number), number)
  } catch (error) {
    // The next restore clears it away.
    if (systemErrorCode(error) === undefined) throw error
  }
}

function takeFailures(
  { failures: all }: WriteState,
  items: readonly JobItem[],
  failures: JobResult['failures'],
): void {
  for (const { item, code } of failures) {
    const path = items[item]?.path
    if (path !== undefined && !all.has(path)) all.set(path, describeRefusal(code))
  }
}

function count({ done }: WriteState, { node }: PlannedWrite): void {
  done.files++
  done.bytes += node.size ?? 0
}

function report({ prepared, done }: WriteState, last: { readonly path: RawPath } | undefined): void {
  const { request, plan } = prepared
  request.reporter.progress({
    phase: 'writing',
    filesDone: done.files,
    filesTotal: plan.writes.length,
    bytesDone: done.bytes,
    bytesTotal: plan.bytes,
    ...(last === undefined ? {} : { item: printable(last.path) }),
  })
}

function* batches<T>(items: readonly T[]): Iterable<T[]> {
  for (let at = 0; at < items.length; at += batchItems) yield items.slice(at, at + batchItems)
}

export function itemOf(
  { prepared }: WriteState,
  { path, node, reason }: PlannedWrite,
  part?: number,
): JobItem {
  // What stood in the way with another type is gone by now.
  const standing = reason === 'missing' || reason === 'type' ? undefined : prepared.present.get(path)
  const seen = standing && standingOf(standing)
  return { path, attributes: node, replaces: standing !== undefined, seen, part }
}

/** Folders of the plan are made, or opened for a user who is not root, when something first goes into them. */
export function ensureFolder(state: WriteState, path: RawPath): void {
  const { prepared, writer, unmade } = state
  if (!unmade.delete(path)) return
  ensureFolder(state, parentPath(path))
  attempt(state, path, () => {
    if (prepared.present.get(path)?.type !== 'dir') writer.makeFolder(path)
    else if (!prepared.request.destination.owners) writer.unlockFolder(path)
  })
}

/** What the system refuses for one path is noted, and the rest goes on. */
export function attempt({ failures }: Pick<WriteState, 'failures'>, path: RawPath, task: () => void): void {
  try {
    task()
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === undefined || error instanceof VmlError) throw error
    if (code === 'ENOSPC' || code === 'EDQUOT') throw noSpace(String(error))
    if (!failures.has(path)) failures.set(path, describeRefusal(code))
  }
}

/** `EEXIST` is what came there, or was changed there, after the plan was made; nobody kept it, so it is not replaced. */
export function describeRefusal(code: string): string {
  if (code === setAside)
    return 'Something else came there twice: the first lies beside it, its name begins with .vml-aside-'
  return code === 'EEXIST' ? cameMeanwhile : describeSystemError(code)
}
