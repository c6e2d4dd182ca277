// Brings blobs of type data from one repository to another, piece by piece of its packs, in the threads of the writer.
import { openPool } from '../base/pool.ts'
import type { BlobId } from '../model/ids.ts'
import type { ContentAccess } from '../store/content-access.ts'
import type { ContentPiece } from '../store/content-plan.ts'
import type { Repository, Writer } from '../store/store.ts'
import type { CopyPiece } from './copy-lane.ts'

export interface CopyContents {
  readonly from: Repository
  readonly contents: ContentAccess
  readonly writer: Writer
  readonly onCopied: (id: BlobId) => void
  readonly signal?: AbortSignal | undefined
}

/** Larger ones are single blobs of a size that none of ours has: they are read one at a time, where their length is looked at. */
const pieceBytesMax = 16 * 1024 * 1024
const lane = new URL('./copy-lane.ts', import.meta.url)

/** Every blob once. `integrity.*` for one that can be read from no place: then nothing of it is stored. */
export async function copyContents(options: CopyContents, ids: readonly BlobId[]): Promise<void> {
  if (ids.length === 0) return
  const { contents, writer, signal } = options
  const plan = contents.plan()
  const bytes = await plan.add(ids)
  await writer.expect({ blobs: ids.length, bytes })
  // One is read while another is at work.
  const pool = openPool(Math.max(1, Math.min(writer.lanes + 1, contents.connections)))
  try {
    for (const piece of plan.pieces()) {
      signal?.throwIfAborted()
      await pool.start(async () => await copyPiece(options, piece))
    }
  } finally {
    await pool.drain()
  }
}

async function copyPiece(options: CopyContents, piece: ContentPiece): Promise<void> {
  const { from, contents, writer, onCopied, signal } = options
  const place = await placeOf(contents, piece)
  const blobs = piece.blobs.map(({ id, start, length, plainLength }) => ({ id, start, length, plainLength }))
  const task = place && ({ key: contents.key, from: place, blobs } satisfies CopyPiece)
  const bad = task ? ((await writer.run(lane, task)) as readonly number[]) : [...blobs.keys()]
  const badOnes = new Set(bad)
  for (const [position, { id }] of blobs.entries()) {
    if (badOnes.has(position)) await writer.copyBlob('data', await from.readBlob(id, { signal }))
    onCopied(id)
  }
}

/** Undefined where it cannot be read at once: then each of its blobs is asked for by itself, and that tells. */
async function placeOf(contents: ContentAccess, piece: ContentPiece): Promise<CopyPiece['from'] | undefined> {
  const { offset, length } = piece
  if (length > pieceBytesMax) return undefined
  const path = contents.packPath(piece)
  if (path !== undefined) return { path, offset, length }
  const bytes = await contents.readPiece(piece).catch(() => undefined)
  return bytes && { bytes }
}
