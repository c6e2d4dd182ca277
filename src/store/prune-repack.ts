// Writes anew what is needed of packs that hold little else: sealed again, not compressed again, each blob proved by its hash.
import { hash } from 'node:crypto'
import { isFailure, VmlError } from '../base/failure.ts'
import { openPool } from '../base/pool.ts'
import type { Reporter } from '../base/progress.ts'
import { openSweep } from '../base/sweep.ts'
import { type PackId, shortId } from '../model/ids.ts'
import { sealBytes } from './cipher.ts'
import { isDamage } from './damage.ts'
import { indexBlobsMax, type IndexedPack, writeIndexFile } from './index-file.ts'
import { scanIndexFile } from './index-scan.ts'
import type { HeldLock } from './lock.ts'
import type { PackedBlob } from './pack-format.ts'
import { openPackWriter, type PackWriter } from './pack-writer.ts'
import { placeFlags } from './place-table.ts'
import type { PruneIndex } from './prune-index.ts'
import type { Vault } from './sealed-file.ts'
import type { CallOptions } from './store.ts'
import { decompress } from './zstd.ts'

export interface RepackOptions extends CallOptions {
  readonly lock: HeldLock
  readonly packBytes: number
  readonly reporter: Reporter
  /** What the packs hold, for progress. */
  readonly bytesTotal: number
}

export interface RepackResult {
  readonly packs: number
  readonly bytes: number
}

/** Reads of neighbours are joined across gaps that cost less than another request. */
const gapBytesMax = 64 * 1024
const runBytesMax = 4 * 1024 * 1024
const packsAtOnce = 2

/**
 * New packs, then the index that names them, as every writer does; the old ones stay as they are. A blob of them that cannot be read is
 * `integrity.*`: then the old pack must stay, and what was written so far is only a further copy.
 */
export async function repack(
  vault: Vault,
  index: PruneIndex,
  packs: ReadonlySet<PackId>,
  { lock, packBytes, reporter, bytesTotal, signal }: RepackOptions,
): Promise<RepackResult> {
  const result = { packs: 0, bytes: 0 }
  if (packs.size === 0) return result
  const unwritten: IndexedPack[] = []
  let unwrittenBlobs = 0
  let bytesDone = 0
  let writing: Promise<void> = Promise.resolve()
  const writeIndex = async () => {
    if (unwritten.length === 0) return
    const named = unwritten.splice(0)
    unwrittenBlobs = 0
    await lock.ensureHeld()
    index.addFile(await writeIndexFile(vault, named), named)
  }
  const writeIndexInTurn = async () => {
    writing = writing.then(writeIndex)
    await writing
  }
  const packer = openPackWriter({
    vault,
    packBytes,
    onStored: async ({ pack, blobs, bytes }) => {
      result.packs++
      result.bytes += bytes
      unwritten.push({ pack, blobs })
      unwrittenBlobs += blobs.length
      if (unwrittenBlobs >= indexBlobsMax) await writeIndexInTurn()
    },
  })
  const sweep = openSweep()
  const numbers = new Set([...packs].flatMap((pack) => index.numberOf(pack) ?? []))
  const copyAll = async () => {
    const pool = openPool(packsAtOnce)
    try {
      // One index file in memory at a time: the table does not know where in its pack a blob lies.
      for (const [id, contents] of Array.from(index.files)) {
        if (!contents.packs.some((number) => numbers.has(number))) continue
        for (const { pack, blobs } of (await scanIndexFile(vault, id, { signal })).packs) {
          const number = index.numberOf(pack)
          if (number === undefined || !numbers.has(number)) continue
          const needed = takeNeeded(index, number, blobs)
          await pool.start(async () => {
            await copyBlobs({ vault, pack, packer, sweep, signal }, needed)
            bytesDone += needed.reduce((sum, blob) => sum + blob.length, 0)
            reporter.progress({ phase: 'rewriting packs', bytesDone, bytesTotal })
          })
        }
      }
    } finally {
      await pool.drain()
    }
  }
  try {
    await copyAll()
    await packer.flush()
    await writeIndexInTurn()
  } finally {
    // Nothing is on its way any more when the lock is given back.
    await packer.abandon()
    await writing.catch(() => {})
  }
  return result
}

/** Those whose chosen place is this pack, in the order of the pack, each once. */
function takeNeeded(index: PruneIndex, number: number, blobs: readonly PackedBlob[]): readonly PackedBlob[] {
  const needed = blobs.filter(({ type, id }) => {
    const table = index.table(type)
    const place = table.findIn(id, number)
    if (place < 0 || !table.has(place, placeFlags.chosen)) return false
    table.clear(place, placeFlags.chosen)
    return true
  })
  return needed.toSorted((left, right) => left.offset - right.offset)
}

interface CopyTask extends CallOptions {
  readonly vault: Vault
  readonly pack: PackId
  readonly packer: PackWriter
  /** Told of bytes that nobody needs any more. */
  readonly sweep: (bytes: number) => void
}

async function copyBlobs(task: CopyTask, blobs: readonly PackedBlob[]): Promise<void> {
  const { vault, pack, packer, sweep, signal } = task
  for (const run of runsOf(blobs)) {
    signal?.throwIfAborted()
    const [first] = run
    const last = run.at(-1)
    if (!first || !last) continue
    const range = { offset: first.offset, length: last.offset + last.length - first.offset }
    const bytes = await readRun(task, range)
    for (const blob of run) {
      const at = blob.offset - first.offset
      const payload = openPayload(vault, pack, blob, bytes.subarray(at, at + blob.length))
      sweep(blob.length + (blob.plainLength ?? 0))
      await packer.add({ ...blob, payload })
    }
  }
}

async function readRun(
  { vault, pack, signal }: CopyTask,
  range: { readonly offset: number; readonly length: number },
): Promise<Buffer> {
  try {
    return await vault.backend.get({ kind: 'pack', name: pack }, range, { signal })
  } catch (error) {
    if (isFailure(error, 'not-found', 'integrity.truncated')) throw unreadable(pack, undefined, error)
    throw error
  }
}

/** The payload as it was sealed, after its content proved to have its hash. */
function openPayload(vault: Vault, pack: PackId, blob: PackedBlob, sealed: Buffer): Buffer {
  try {
    const payload = vault.cipher.openInto(sealed.subarray(sealBytes / 2), sealed)
    const plain = blob.plainLength === undefined ? payload : decompress(payload, blob.plainLength)
    if (hash('sha256', plain) === blob.id) return payload
    throw new VmlError('integrity.hash', 'its content does not have its hash')
  } catch (error) {
    if (isDamage(error)) throw unreadable(pack, blob, error)
    throw error
  }
}

function runsOf(blobs: readonly PackedBlob[]): PackedBlob[][] {
  const runs: PackedBlob[][] = []
  let start = 0
  let end = 0
  for (const blob of blobs) {
    const run = runs.at(-1)
    const joins = blob.offset - end <= gapBytesMax && blob.offset + blob.length - start <= runBytesMax
    if (run && joins) {
      run.push(blob)
    } else {
      runs.push([blob])
      start = blob.offset
    }
    end = Math.max(blob.offset + blob.length, run && joins ? end : 0)
  }
  return runs
}

function unreadable(pack: PackId, blob: PackedBlob | undefined, cause: VmlError): VmlError {
  const code = cause.code === 'not-found' ? 'integrity.missing' : cause.code
  const what = blob
    ? `${blob.type} blob ${shortId(blob.id)} in pack ${shortId(pack)}`
    : `pack ${shortId(pack)}`
  return new VmlError(code, `Cannot prune: ${what} cannot be read: ${cause.message}`, {
    cause,
    details: { pack, ...(blob ? { blob: blob.id, type: blob.type } : {}) },
    hint: 'Nothing was deleted. vml check --read-data says which entries are affected',
  })
}
