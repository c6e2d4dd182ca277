// What a writer and its lanes in other threads say to each other.
import type { MessagePort } from 'node:worker_threads'
import { type FailureCode, FAILURES, VmlError } from '../base/failure.ts'
import type { SharedBlobTable } from './blob-table.ts'
import type { Lane, LaneCounts, LaneSetup } from './lane.ts'
import type { BlobRecords } from './blob-records.ts'
import type { FullPack, StagedPack } from './packer.ts'

export interface LaneStart extends LaneSetup {
  /** Buffers for packs come back here, and descriptors of staged files come from here, one for each pack. */
  readonly room: MessagePort
  /** One word, counted up and woken with each of them. */
  readonly signal: SharedArrayBuffer
  /** There are such files. */
  readonly staged: boolean
}

/** Given to a lane; each is answered by `done` or `failed` of the same number. */
export type LaneOrder = { readonly number: number } & (
  | { readonly kind: 'table'; readonly table: SharedBlobTable }
  /** Calls `run` of the module at `handler` with the lane and the task. */
  | { readonly kind: 'task'; readonly handler: string; readonly task: unknown }
  | { readonly kind: 'flush' }
)

/** A pack on its way out of a lane. */
export type Recorded<Pack> = Omit<Pack, 'blobs'> & { readonly blobs: BlobRecords }

export type LaneReport =
  | { readonly kind: 'pack'; readonly pack: Recorded<FullPack> }
  | { readonly kind: 'staged'; readonly pack: Recorded<StagedPack> }
  | {
      readonly kind: 'done'
      readonly number: number
      readonly result: unknown
      readonly counts: Readonly<LaneCounts>
    }
  | { readonly kind: 'failed'; readonly number: number; readonly error: SentError }

/** Work that runs in a lane: a module that exports it under the name `run`. What comes in and out is cloned. */
export type LaneHandler<Task, Result> = (lane: Lane, task: Task) => Result | Promise<Result>

/** An error without its class, which does not survive the way between threads. */
export interface SentError {
  readonly code: FailureCode | undefined
  readonly message: string
  readonly stack: string | undefined
  readonly hint: string | undefined
  readonly details: Readonly<Record<string, unknown>>
}

export function sendError(error: unknown): SentError {
  if (error instanceof VmlError) {
    const { code, message, stack, hint, details } = error
    return { code, message, stack, hint, details }
  }
  const known = error instanceof Error ? error : new Error(String(error))
  return { code: undefined, message: known.message, stack: known.stack, hint: undefined, details: {} }
}

export function receiveError({ code, message, stack, hint, details }: SentError): Error {
  const error =
    code !== undefined && code in FAILURES
      ? new VmlError(code, message, { details, ...(hint === undefined ? {} : { hint }) })
      : new Error(message)
  if (stack !== undefined) error.stack = stack
  return error
}
