// A lane in a thread of its own: does what its writer orders, one thing after the other.
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { openSweep } from '../base/sweep.ts'
import { recordBlobs } from './blob-records.ts'
import { type BlobClaims, openBlobClaims } from './blob-table.ts'
import { type Lane, openLane } from './lane.ts'
import { type LaneOrder, type LaneReport, type LaneStart, sendError } from './lane-messages.ts'

/** One is filled while another is on its way. */
const buffersMax = 2

function openWorkerLane({ room, signal, staged, ...setup }: LaneStart, port: MessagePort) {
  const returned = new Int32Array(signal)
  const buffers: Buffer[] = []
  const files: number[] = []
  let made = 0
  let claims: BlobClaims | undefined
  /** Waits without going back to the event loop: a lane is one long synchronous run. */
  const takeFrom = <T>(free: T[]): T => {
    for (;;) {
      const seen = Atomics.load(returned, 0)
      for (let next = receiveMessageOnPort(room); next; next = receiveMessageOnPort(room)) {
        const message = next.message as ArrayBuffer | number
        if (typeof message === 'number') files.push(message)
        else buffers.push(Buffer.from(message))
      }
      const found = free.pop()
      if (found !== undefined) return found
      Atomics.wait(returned, 0, seen)
    }
  }
  const takeBuffer = (): Buffer => {
    if (made >= buffersMax) return takeFrom(buffers)
    made++
    return Buffer.allocUnsafeSlow(setup.packBytes)
  }
  const sweep = openSweep()
  const lane = openLane({
    ...setup,
    takeBuffer,
    claims: () => {
      if (!claims) throw new Error('A lane needs the table of blobs first')
      return claims
    },
    onFull: (pack) => {
      const report: LaneReport = { kind: 'pack', pack: { ...pack, blobs: recordBlobs(pack.blobs) } }
      const bytes = pack.content.length
      port.postMessage(report, [pack.content.buffer as ArrayBuffer])
      sweep(bytes)
    },
    staging: staged
      ? {
          takeFile: () => takeFrom(files),
          onWritten: (pack) => {
            const report: LaneReport = { kind: 'staged', pack: { ...pack, blobs: recordBlobs(pack.blobs) } }
            port.postMessage(report)
            sweep(pack.bytes)
          },
        }
      : undefined,
  })
  return {
    lane,
    setTable: (table: Parameters<typeof openBlobClaims>[0]) => {
      claims = openBlobClaims(table)
    },
  }
}

async function obey(
  { lane, setTable }: ReturnType<typeof openWorkerLane>,
  order: LaneOrder,
): Promise<unknown> {
  if (order.kind === 'table') setTable(order.table)
  else if (order.kind === 'flush') lane.flush()
  else {
    const { run } = (await import(order.handler)) as { run: (lane: Lane, task: unknown) => unknown }
    return await run(lane, order.task)
  }
  return undefined
}

/** A result may say what of it is to be moved rather than copied. */
function transferOf(result: unknown): ArrayBuffer[] {
  const known = typeof result === 'object' && result !== null && 'transfer' in result ? result.transfer : []
  return Array.isArray(known) ? known.filter((each) => each instanceof ArrayBuffer) : []
}

if (parentPort) {
  const port = parentPort
  const worker = openWorkerLane(workerData as LaneStart, port)
  let before: Promise<void> = Promise.resolve()
  port.on('message', (order: LaneOrder) => {
    const { number } = order
    before = before.then(async () => {
      try {
        const result = await obey(worker, order)
        const report: LaneReport = { kind: 'done', number, result, counts: { ...worker.lane.counts } }
        port.postMessage(report, transferOf(result))
      } catch (error) {
        const report: LaneReport = { kind: 'failed', number, error: sendError(error) }
        port.postMessage(report)
      }
    })
  })
}
