// What a lane does with content that comes from elsewhere (lane-feed.ts).
import type { BlobId, TreeId } from '../model/ids.ts'
import type { Lane } from './lane.ts'
import type { LaneHandler } from './lane-messages.ts'
import type { BlobType, StoredFile } from './store.ts'

/** In the order of the stream; data lies one piece behind the other in the batch's bytes. */
export type StreamStep =
  | { readonly kind: 'data'; readonly length: number }
  | { readonly kind: 'hole'; readonly length: number }
  | { readonly kind: 'finish' }
  | { readonly kind: 'abort' }
  | { readonly kind: 'blob'; readonly type: BlobType; readonly id: BlobId | TreeId; readonly length: number }

export interface StreamBatch {
  readonly bytes: Uint8Array
  readonly steps: readonly StreamStep[]
}

export interface StreamResult {
  readonly files: readonly StoredFile[]
  /** Goes back to be filled again. */
  readonly transfer: readonly ArrayBuffer[]
}

export const run: LaneHandler<StreamBatch, StreamResult> = ({ cutter, storeClaimed }: Lane, batch) => {
  const files: StoredFile[] = []
  const { bytes, steps } = batch
  let at = 0
  for (const step of steps) {
    if (step.kind === 'finish') files.push(cutter.finish())
    else if (step.kind === 'abort') cutter.abort()
    else if (step.kind === 'hole') cutter.hole(step.length)
    else {
      const piece = bytes.subarray(at, at + step.length)
      at += step.length
      if (step.kind === 'data') cutter.write(piece)
      else storeClaimed(step.type, step.id, piece)
    }
  }
  return { files, transfer: bytes.buffer instanceof ArrayBuffer ? [bytes.buffer] : [] }
}
