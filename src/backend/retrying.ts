// A storage that is asked again when it could not be reached: what the table of failures says a retry can help.
import { hash } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import { printableText } from '../base/raw-text.ts'
import { setAsideOf } from './aside.ts'
import type { Backend, CallOptions, FileRange, FileRef, ListedFile } from './backend.ts'

export interface RetryOptions {
  readonly clock: Clock
  /** A number from 0 to below 1, such as `Math.random`. */
  readonly random: () => number
  /** Told before each pause. */
  readonly reporter: Reporter
  /** Of the whole program: once aborted, what is still to be tidied up is tried once, and no pause goes on. */
  readonly signal?: AbortSignal | undefined
}

const firstPauseMs = 500
const pauseMsMax = 30_000
/** Each call by itself: a storage that comes back within this is met again. */
const patienceMs = 5 * 60_000
const triesMax = 20
/** A place that never answered is more likely misspelt than away. */
const triesOfStrangerMax = 2

/**
 * Retries what is `unavailable.*`, and reads that came out short. A put whose outcome is not known is put again, and what
 * is there is compared before it is called `exists`. No failure is ever taken for another one: when patience ends, the
 * last one is thrown as it is.
 */
export function openRetrying(
  inner: Backend,
  { clock, random, reporter, signal: ending }: RetryOptions,
): Backend {
  let answered = false

  /** `task` is told how many times it was tried before. */
  const persist = async <T>(
    signal: AbortSignal | undefined,
    task: (earlier: number) => Promise<T>,
  ): Promise<T> => {
    const begun = clock.now()
    for (let tries = 1; ; tries++) {
      try {
        const result = await task(tries - 1)
        answered = true
        return result
      } catch (error) {
        signal?.throwIfAborted()
        if (!mayPass(error)) {
          // It was reached, if only to say no.
          answered ||= isFailure(error, 'not-found', 'exists', 'integrity.truncated')
          throw error
        }
        ending?.throwIfAborted()
        const most = answered ? triesMax : triesOfStrangerMax
        const pause = pauseBefore(tries, random())
        if (tries >= most || clock.now() + pause - begun > patienceMs) throw gaveUp(error, tries)
        reporter.warn({
          warning: `${printableText(error.message)}. Trying again in ${Math.ceil(pause / 1000)} s`,
        })
        await clock.sleep(pause, { signal: eitherOf(signal, ending) })
      }
    }
  }
  return {
    location: inner.location,
    traits: inner.traits,
    create: async (options = {}) => await persist(options.signal, async () => await inner.create(options)),
    put: async (file, data, options = {}) =>
      await persist(options.signal, async (earlier) => {
        if (earlier === 0) await inner.put(file, data, options)
        else await putAgain(inner, file, data, options)
      }),
    get: async (file, range, options = {}) =>
      await persist(options.signal, async () => await getWhole(inner, file, range, options)),
    size: async (file, options = {}) =>
      await persist(options.signal, async () => await inner.size(file, options)),
    async *list(kind, options = {}) {
      // A list that broke off begins anew; what was given already is left out.
      const given = new Set<string>()
      let source: AsyncIterator<ListedFile> | undefined
      try {
        for (;;) {
          const next = await persist(options.signal, async () => {
            source ??= inner.list(kind, options)[Symbol.asyncIterator]()
            try {
              for (;;) {
                const found = await source.next()
                if (found.done === true || !given.has(found.value.name)) return found
              }
            } catch (error) {
              source = undefined
              throw error
            }
          })
          if (next.done === true) return
          given.add(next.value.name)
          yield next.value
        }
      } finally {
        await source?.return?.()
      }
    },
    remove: async (file, options = {}) =>
      await persist(options.signal, async () => await inner.remove(file, options)),
    ...setAsideOf(inner, async (call, _file, options = {}) => await persist(options.signal, call)),
    [Symbol.asyncDispose]: async () => await inner[Symbol.asyncDispose](),
  }
}

function mayPass(error: unknown): error is VmlError {
  return isFailure(error, 'unavailable.network', 'unavailable.timeout')
}

function eitherOf(one: AbortSignal | undefined, other: AbortSignal | undefined): AbortSignal | undefined {
  return one && other && one !== other ? AbortSignal.any([one, other]) : (one ?? other)
}

/** Doubles from half a second, a quarter more or less, so that many computers do not come back at once. */
function pauseBefore(tries: number, random: number): number {
  return Math.min(firstPauseMs * 2 ** (tries - 1), pauseMsMax) * (0.75 + random / 2)
}

function gaveUp(error: VmlError, tries: number): VmlError {
  if (tries === 1) return error
  return new VmlError(error.code, `${error.message} (tried ${tries} times)`, {
    cause: error,
    details: { ...error.details, tries },
    hint:
      error.hint ?? 'Run the command again when the storage can be reached: what was stored so far is reused',
  })
}

/**
 * After an attempt of which nothing is known. Storage that does not write all or nothing may have kept a part of it
 * under the file's name: a file that is named by its hash and has another one is such a part, since the same bytes are
 * never sealed twice, and nobody else puts them.
 */
async function putAgain(
  inner: Backend,
  file: FileRef,
  data: Uint8Array,
  options: CallOptions,
): Promise<void> {
  try {
    await inner.put(file, data, options)
  } catch (error) {
    if (!isFailure(error, 'exists')) throw error
    const size = await inner.size(file, options)
    if (size === data.length && (await inner.get(file, undefined, options)).equals(data)) return
    if (size !== undefined && hash('sha256', data) !== file.name) throw error
    if (size !== undefined) await inner.remove(file, options)
    await inner.put(file, data, options)
  }
}

/** A line that broke looks like a short file: only where the storage says that it is short, it is. */
async function getWhole(
  inner: Backend,
  file: FileRef,
  range: FileRange | undefined,
  options: CallOptions,
): Promise<Buffer> {
  try {
    const data = await inner.get(file, range, options)
    if (range === undefined || data.length === range.length) return data
    throw new VmlError(
      'integrity.truncated',
      `Cannot read ${file.kind} ${file.name}: ${data.length} bytes came instead of ${range.length}`,
    )
  } catch (error) {
    if (!isFailure(error, 'integrity.truncated') || range === undefined) throw error
    const size = await inner.size(file, options)
    if (size === undefined || size < range.offset + range.length) throw error
    throw new VmlError('unavailable.network', error.message, { cause: error, details: error.details })
  }
}
