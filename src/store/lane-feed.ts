// Content that comes from elsewhere (a machine's stream, another logbook) on its way into a lane.
import type { BlobId, TreeId } from '../model/ids.ts'
import type { LaneThread } from './lane-thread.ts'
import type { StreamBatch, StreamResult, StreamStep } from './lane-stream.ts'
import type { BlobType, StoredFile } from './store.ts'

const laneStream = new URL('./lane-stream.ts', import.meta.url)

export interface LaneFeed {
  /** What was handed over and is not done. */
  readonly bytesPending: number
  /** The bytes are free again when it resolves, which is later the more is pending. */
  data(bytes: Uint8Array): Promise<void>
  hole(length: number): void
  /** Resolves when the lane is through with the file; the next one may begin before. */
  finish(): Promise<StoredFile>
  abort(): void
  blob(type: BlobType, id: BlobId | TreeId, bytes: Uint8Array): Promise<void>
  /** Waits until the lane is through with everything. */
  drain(): Promise<void>
}

const batchBytes = 1024 * 1024
const batchStepsMax = 4096
const pendingBatchesMax = 4

/**
 * Batches go out when they are full, and when the lane has nothing else to do: small files cost no message each, and
 * nothing waits for company. `onFailure` is told once; what waits then fails too.
 */
export function openLaneFeed(lane: LaneThread, onFailure: (error: unknown) => void): LaneFeed {
  const spare: ArrayBuffer[] = []
  const pending = new Set<Promise<void>>()
  let bytesPending = 0
  let memory = Buffer.alloc(0)
  let used = 0
  let steps: StreamStep[] = []
  let finishers: PromiseWithResolvers<StoredFile>[] = []

  const send = () => {
    if (steps.length === 0) return
    const sent = finishers
    const size = used
    const bytes = memory.subarray(0, used)
    const batch: StreamBatch = { bytes, steps }
    const moved = bytes.buffer instanceof ArrayBuffer ? [bytes.buffer] : []
    memory = Buffer.alloc(0)
    used = 0
    steps = []
    finishers = []
    bytesPending += size
    const done: Promise<void> = lane
      .run(laneStream, batch, moved)
      .then((result) => {
        const { files, transfer } = result as StreamResult
        for (const [index, finisher] of sent.entries()) {
          const file = files[index]
          if (file) finisher.resolve(file)
          else finisher.reject(new Error('A lane lost a file'))
        }
        for (const each of transfer)
          if (each.byteLength === batchBytes && spare.length < pendingBatchesMax) spare.push(each)
      })
      .catch((error: unknown) => {
        onFailure(error)
        for (const finisher of sent) finisher.reject(error)
      })
      .finally(() => {
        pending.delete(done)
        bytesPending -= size
        if (pending.size === 0) send()
      })
    pending.add(done)
  }
  const step = (next: StreamStep) => {
    steps.push(next)
    if (steps.length >= batchStepsMax) send()
  }
  const room = async (bytes: number): Promise<void> => {
    // Others may have taken it while this one waited.
    while (memory.length - used < bytes) {
      send()
      while (pending.size >= pendingBatchesMax) await Promise.race(pending)
      if (memory.length > 0) continue
      memory =
        bytes > batchBytes
          ? Buffer.allocUnsafeSlow(bytes)
          : Buffer.from(spare.pop() ?? new ArrayBuffer(batchBytes))
    }
  }
  const put = (piece: Uint8Array) => {
    memory.set(piece, used)
    used += piece.length
  }
  return {
    get bytesPending() {
      return bytesPending + used
    },
    async data(bytes) {
      for (let at = 0; at < bytes.length;) {
        if (memory.length === used) await room(1)
        const piece = bytes.subarray(at, at + memory.length - used)
        put(piece)
        if (piece.length > 0) step({ kind: 'data', length: piece.length })
        at += piece.length
      }
    },
    hole: (length) => step({ kind: 'hole', length }),
    async finish() {
      const finisher = Promise.withResolvers<StoredFile>()
      finishers.push(finisher)
      step({ kind: 'finish' })
      if (pending.size === 0) send()
      return await finisher.promise
    },
    abort: () => step({ kind: 'abort' }),
    async blob(type, id, bytes) {
      while (memory.length - used < bytes.length) await room(bytes.length)
      put(bytes)
      step({ kind: 'blob', type, id, length: bytes.length })
      if (pending.size === 0) send()
    },
    async drain() {
      send()
      while (pending.size > 0) await Promise.race(pending)
    },
  }
}
