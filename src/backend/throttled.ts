// A storage that is given, or asked for, no more than so many bytes a second.
import type { Clock } from '../base/clock.ts'
import { setAsideOf } from './aside.ts'
import type { Backend } from './backend.ts'

export interface ThrottleOptions {
  /** Undefined is without a limit. */
  readonly uploadBytesPerSecond?: number | undefined
  readonly downloadBytesPerSecond?: number | undefined
  readonly clock: Clock
  /** Of the whole program: once aborted, nothing waits for the line any more. */
  readonly signal?: AbortSignal | undefined
}

/** What a list or a question costs beside what it carries. */
const requestBytes = 256
/** A get of more than this many seconds' worth is made in parts, so that the line has its pauses in between. */
const partSeconds = 1
const partBytesMin = 64 * 1024

/**
 * Holds over a few seconds, not for each instant: a put goes out at once and is paid for before the next call. A get is
 * made in parts where it is large for its limit.
 */
export function openThrottled(inner: Backend, options: ThrottleOptions): Backend {
  const up = openBucket(options.uploadBytesPerSecond, options)
  const down = openBucket(options.downloadBytesPerSecond, options)
  return {
    location: inner.location,
    traits: inner.traits,
    create: async (...create) => await inner.create(...create),
    async put(file, data, callOptions = {}) {
      await up.take(data.length + requestBytes, callOptions.signal)
      await inner.put(file, data, callOptions)
    },
    async get(file, range, callOptions = {}) {
      const { signal } = callOptions
      if (down.partBytes === undefined) return await inner.get(file, range, callOptions)
      const length = range?.length ?? (await inner.size(file, callOptions))
      if (length === undefined || length <= down.partBytes) {
        await down.take((length ?? 0) + requestBytes, signal)
        return await inner.get(file, range, callOptions)
      }
      const parts: Buffer[] = []
      for (let done = 0; done < length; done += down.partBytes) {
        const part = { offset: (range?.offset ?? 0) + done, length: Math.min(down.partBytes, length - done) }
        await down.take(part.length + requestBytes, signal)
        parts.push(await inner.get(file, part, callOptions))
      }
      return Buffer.concat(parts, length)
    },
    async size(file, callOptions = {}) {
      await down.take(requestBytes, callOptions.signal)
      return await inner.size(file, callOptions)
    },
    list: (...list) => inner.list(...list),
    async remove(file, callOptions = {}) {
      await up.take(requestBytes, callOptions.signal)
      await inner.remove(file, callOptions)
    },
    ...setAsideOf(inner, async (call, _file, callOptions = {}) => {
      await up.take(requestBytes, callOptions.signal)
      return await call()
    }),
    [Symbol.asyncDispose]: async () => await inner[Symbol.asyncDispose](),
  }
}

interface Bucket {
  /** Waits until what was taken before has been paid for by time. */
  take(bytes: number, signal: AbortSignal | undefined): Promise<void>
  /** Undefined without a limit. */
  readonly partBytes: number | undefined
}

/** One second's worth may be taken at once; beyond that there is debt, and whoever comes next waits for its end. */
function openBucket(
  bytesPerSecond: number | undefined,
  { clock, signal: ending }: Pick<ThrottleOptions, 'clock' | 'signal'>,
): Bucket {
  if (bytesPerSecond === undefined) return { take: async () => {}, partBytes: undefined }
  let left = bytesPerSecond
  let at = clock.now()
  const refill = () => {
    const now = clock.now()
    // A clock that was set back gives nothing.
    left = Math.min(bytesPerSecond, left + (Math.max(0, now - at) / 1000) * bytesPerSecond)
    at = now
  }
  const pause = async (ms: number, signal: AbortSignal | undefined) => {
    const signals = [signal, ending].filter((each) => each !== undefined)
    await clock.sleep(ms, { signal: AbortSignal.any(signals) }).catch((error: unknown) => {
      signal?.throwIfAborted()
      if (!ending?.aborted) throw error
    })
  }
  let turn: Promise<void> = Promise.resolve()
  return {
    partBytes: Math.max(partBytesMin, Math.floor(bytesPerSecond * partSeconds)),
    async take(bytes, signal) {
      const mine = turn.then(async () => {
        refill()
        if (left < 0) await pause(Math.ceil((-left / bytesPerSecond) * 1000), signal)
        refill()
        left -= bytes
      })
      turn = mine.catch(() => {})
      await mine
    },
  }
}
