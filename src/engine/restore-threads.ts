// The threads of a restore to this host: jobs go to whichever has least to do.
import { availableParallelism } from 'node:os'
import type { Worker } from 'node:worker_threads'
import { VmlError } from '../base/failure.ts'
import { startThread } from '../base/thread.ts'
import type { JobResult, RestoreJob, ThreadAnswer, ThreadData } from './restore-jobs.ts'

export interface RestoreThreads extends AsyncDisposable {
  /** Jobs that keep every thread busy: one in hand, one waiting. */
  readonly jobsMax: number
  /** Buffers in `transfer` are gone afterwards. `unavailable.space` when the disk is full. */
  run(job: RestoreJob, transfer?: readonly ArrayBuffer[]): Promise<JobResult>
}

/** More gain little: then the disk is what takes time. */
const threadsMax = 4
/** What a thread's own objects may take; its buffers (12 MiB) lie outside. */
const youngMiB = 3

interface Waiting {
  readonly resolve: (result: JobResult) => void
  readonly reject: (error: unknown) => void
}

interface Thread {
  readonly worker: Worker
  readonly waiting: Map<number, Waiting>
  readonly ended: Promise<void>
}

export function openRestoreThreads(data: Omit<ThreadData, 'thread'>): RestoreThreads {
  const count = Math.max(1, Math.min(threadsMax, availableParallelism()))
  const threads: Thread[] = []
  let jobs = 0
  let closed = false
  return {
    jobsMax: count * 2,
    async run(job, transfer = []) {
      if (closed) throw new Error('The threads have ended')
      let [idlest] = threads.toSorted((left, right) => left.waiting.size - right.waiting.size)
      // A start takes as long as some hundred files: few need one thread only.
      if (!idlest || (idlest.waiting.size > 0 && threads.length < count)) {
        idlest = openThread({ ...data, thread: threads.length })
        threads.push(idlest)
      }
      const number = jobs++
      return await new Promise<JobResult>((resolve, reject) => {
        idlest.waiting.set(number, { resolve, reject })
        idlest.worker.postMessage({ job: number, work: job }, [...transfer])
      })
    },
    async [Symbol.asyncDispose]() {
      closed = true
      // Each ends after the call that it is in: a file is whole, or lies under a name of its own.
      await Promise.all(
        threads.map(async ({ worker, ended }) => {
          worker.postMessage('end', [])
          await ended
        }),
      )
    },
  }
}

function openThread(data: ThreadData): Thread {
  const waiting = new Map<number, Waiting>()
  const worker = startThread(new URL('restore-worker.ts', import.meta.url), {
    workerData: data,
    // Descriptors are closed by whoever opened them: most are not Node's.
    trackUnmanagedFds: false,
    resourceLimits: { maxYoungGenerationSizeMb: youngMiB },
  })
  let failure: { readonly error: unknown } | undefined
  const end = (error: unknown) => {
    failure ??= { error }
    for (const { reject } of waiting.values()) reject(failure.error)
    waiting.clear()
  }
  worker.on('message', (answer: ThreadAnswer) => {
    const asked = waiting.get(answer.job)
    waiting.delete(answer.job)
    if (answer.kind === 'result') asked?.resolve(answer.result)
    else if (answer.kind === 'space') asked?.reject(noSpace(answer.message))
    else asked?.reject(answer.error)
  })
  worker.on('error', end)
  const { promise: ended, resolve } = Promise.withResolvers<void>()
  worker.on('exit', () => {
    end(new Error('A thread of the restore ended'))
    resolve()
  })
  return { worker, waiting, ended }
}

export function noSpace(message: string): VmlError {
  return new VmlError('unavailable.space', 'Cannot write all files: the disk of this host is full', {
    details: { message },
    hint: 'Make room there and restore again: what is already written stays, the rest follows',
  })
}
