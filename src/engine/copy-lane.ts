// One piece of a pack of another repository, in a thread of the writer: reads it, opens each blob once, stores it.
import { closeSync, openSync, readSync } from 'node:fs'
import { isFailure } from '../base/failure.ts'
import { type BlobDecoder, type BlobKey, openBlobDecoder } from '../store/blob-decoder.ts'
import type { LaneHandler } from '../store/lane-messages.ts'

export interface CopyPiece {
  readonly key: BlobKey
  /** A file that this thread reads by itself, or the bytes. */
  readonly from:
    | { readonly path: string; readonly offset: number; readonly length: number }
    | { readonly bytes: Uint8Array }
  readonly blobs: readonly {
    readonly id: string
    /** From the start of the piece. */
    readonly start: number
    readonly length: number
    readonly plainLength: number | undefined
  }[]
}

/** Returns the positions of blobs that could not be opened: they may lie elsewhere too, which others know. */
export const run: LaneHandler<CopyPiece, readonly number[]> = (lane, { key, from, blobs }) => {
  const piece = 'bytes' in from ? from.bytes : readPiece(from)
  if (!piece) return [...blobs.keys()]
  const bad: number[] = []
  const decoder = decoderOf(key)
  for (const [position, { id, start, length, plainLength }] of blobs.entries()) {
    try {
      const sealed = piece.subarray(start, start + length)
      lane.storeBlob('data', decoder.open({ id, sealed, plainLength }))
    } catch (error) {
      if (!isFailure(error)) throw error
      bad.push(position)
    }
  }
  return bad
}

let known: { readonly key: BlobKey; readonly decoder: BlobDecoder } | undefined
let scratch = Buffer.alloc(0)

function decoderOf(key: BlobKey): BlobDecoder {
  const isSame = (name: keyof BlobKey) => known && Buffer.compare(known.key[name], key[name]) === 0
  if (!known || !isSame('encrypt') || !isSame('macK') || !isSame('macR'))
    known = { key, decoder: openBlobDecoder(key) }
  return known.decoder
}

/** Undefined where the file is gone or cut off. */
function readPiece({
  path,
  offset,
  length,
}: {
  path: string
  offset: number
  length: number
}): Buffer | undefined {
  if (scratch.length < length) scratch = Buffer.allocUnsafeSlow(length)
  let file: number
  try {
    file = openSync(path, 'r')
  } catch {
    return undefined
  }
  try {
    for (let read = 0; read < length;) {
      const got = readSync(file, scratch, read, length - read, offset + read)
      if (got === 0) return undefined
      read += got
    }
    return scratch.subarray(0, length)
  } catch {
    return undefined
  } finally {
    closeSync(file)
  }
}
