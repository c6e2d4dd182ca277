// One lane of a writer that runs in another thread, seen from the writer's own.
import { MessageChannel } from 'node:worker_threads'
import { VmlError } from '../base/failure.ts'
import { startThread } from '../base/thread.ts'
import type { SharedBlobTable } from './blob-table.ts'
import type { LaneCounts, LaneSetup } from './lane.ts'
import {
  type LaneOrder,
  type LaneReport,
  type LaneStart,
  receiveError,
  type Recorded,
} from './lane-messages.ts'
import type { FullPack, StagedPack } from './packer.ts'

export interface LaneThread {
  /** Orders that are not done yet. */
  readonly pending: number
  readonly counts: Readonly<LaneCounts>
  setTable(table: SharedBlobTable): Promise<void>
  /** Runs `handler`'s `run` there; see `LaneHandler`. */
  run(handler: URL, task: unknown, transfer?: readonly ArrayBuffer[]): Promise<unknown>
  flush(): Promise<void>
  /** Ends at once, whatever is under way. */
  end(): Promise<void>
}

type Unnumbered<T> = T extends unknown ? Omit<T, 'number'> : never

/** Takes packs to where they belong; a buffer is used again, and another file opened, when that has ended, well or not. */
export interface PackStore {
  readonly store: (pack: Recorded<FullPack>) => Promise<void>
  readonly staging?:
    | {
        readonly open: () => number
        readonly store: (pack: Recorded<StagedPack>) => Promise<void>
        /** For a file that no pack was written to. */
        readonly drop: (descriptor: number) => void
      }
    | undefined
}

/** One is filled while another is on its way. */
const filesMax = 2

export function startLane(setup: LaneSetup, { store, staging }: PackStore): LaneThread {
  const { port1: ours, port2: theirs } = new MessageChannel()
  const signal = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)
  const start: LaneStart = { ...setup, room: theirs, signal, staged: staging !== undefined }
  const worker = startThread(new URL('./lane-worker.ts', import.meta.url), {
    workerData: start,
    transferList: [theirs],
    resourceLimits: { maxYoungGenerationSizeMb: 8 },
    name: 'lane',
  })
  const waiting = new Map<number, { resolve: (result: unknown) => void; reject: (error: unknown) => void }>()
  let counts: Readonly<LaneCounts> = { newBlobs: 0, knownBlobs: 0, newBytes: 0 }
  let next = 0
  let failure: Error | undefined

  /** What the lane may write to. */
  const files = new Set<number>()

  const give = (room: ArrayBuffer | number) => {
    ours.postMessage(room, typeof room === 'number' ? [] : [room])
    const returned = new Int32Array(signal)
    Atomics.add(returned, 0, 1)
    Atomics.notify(returned, 0)
  }
  const giveBack = ({ content }: Recorded<FullPack>) => {
    const { buffer } = content
    if (buffer.byteLength === setup.packBytes && buffer instanceof ArrayBuffer) give(buffer)
  }
  const giveFile = (open: () => number) => {
    const descriptor = open()
    files.add(descriptor)
    give(descriptor)
  }
  const fail = (error: Error) => {
    failure ??= error
    for (const { reject } of waiting.values()) reject(failure)
    waiting.clear()
  }
  const storeStaged = async (pack: Recorded<StagedPack>): Promise<void> => {
    if (!staging) return
    files.delete(pack.descriptor)
    await staging.store(pack).catch(() => {})
    if (ended) return
    try {
      giveFile(staging.open)
    } catch (error) {
      // The lane would wait for it for ever.
      fail(error instanceof Error ? error : new Error(String(error)))
      await end()
    }
  }
  let ended = false
  /** At once, whatever is under way. */
  const end = async () => {
    ended = true
    await worker.terminate()
    for (const descriptor of files) staging?.drop(descriptor)
    files.clear()
  }
  worker.on('message', (report: LaneReport) => {
    if (report.kind === 'pack') {
      // A failure is the writer's to know: it has its own way to it.
      void store(report.pack)
        .catch(() => {})
        .finally(() => giveBack(report.pack))
      return
    }
    if (report.kind === 'staged') {
      void storeStaged(report.pack)
      return
    }
    const order = waiting.get(report.number)
    waiting.delete(report.number)
    if (report.kind === 'failed') order?.reject(receiveError(report.error))
    else {
      counts = report.counts
      order?.resolve(report.result)
    }
    // An end that is awaited keeps the process alive until the thread is gone.
    if (waiting.size === 0 && !ended) worker.unref()
  })
  worker.on('error', fail)
  worker.on('messageerror', fail)
  worker.on('exit', () => {
    fail(new VmlError('failed', 'A thread of this program ended early', { hint: 'Run the command again' }))
    ours.close()
  })
  worker.unref()
  ours.unref()
  try {
    if (staging) for (let count = 0; count < filesMax; count++) giveFile(staging.open)
  } catch (error) {
    // Nobody would ever know of the thread.
    void end()
    throw error
  }
  const order = async (
    what: Unnumbered<LaneOrder>,
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<unknown> => {
    if (failure) throw failure
    const number = next++
    const answer = Promise.withResolvers<unknown>()
    waiting.set(number, answer)
    worker.ref()
    worker.postMessage({ ...what, number } satisfies LaneOrder, [...transfer])
    return await answer.promise
  }
  return {
    get pending() {
      return waiting.size
    },
    get counts() {
      return counts
    },
    async setTable(table) {
      await order({ kind: 'table', table })
    },
    run: async (handler, task, transfer) =>
      await order({ kind: 'task', handler: handler.href, task }, transfer),
    async flush() {
      await order({ kind: 'flush' })
    },
    end,
  }
}
