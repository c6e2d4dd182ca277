// A storage that goes wrong at calls that a test chooses, as real ones do: broken lines, half-written files, lies, silence.
import type { Backend, FileKind, StagedFile } from '../src/backend/backend.ts'
import { VmlError } from '../src/base/failure.ts'

export const faults = [
  /** The line breaks before the call has any effect. */
  'fails-before',
  /** It takes effect, and the line breaks before anybody hears of it. */
  'fails-after',
  /** Half of the bytes lie under the file's name, and the line breaks: storage that does not write all or nothing. */
  'short-write',
  /** Half of the bytes lie under the file's name, and it reports success. */
  'lying-write',
  /** It reports success, and nothing is there. */
  'lost-write',
  'no-space',
  /** Zeros instead of the content, of the right length. */
  'zeros',
  /** Fewer bytes than were asked for, without a word. */
  'short-read',
  /** A list without every other name. */
  'list-misses',
  'list-repeats',
  /** A list that breaks in the middle. */
  'list-breaks',
  'slow',
  /** From here on nothing works any more. */
  'gone',
] as const
export type Fault = (typeof faults)[number]

/** The last three of a file that is staged: `stage` opens it, `putStaged` puts it. */
export type Operation = 'create' | 'put' | 'get' | 'size' | 'list' | 'remove' | 'stage' | 'putStaged' | 'drop'

export interface Call {
  /** From 1. */
  readonly number: number
  /** The how-manieth of its operation and kind, from 1: stays when other calls come in another order. */
  readonly nth: number
  readonly operation: Operation
  readonly kind: FileKind | undefined
}

const everywhere: readonly Operation[] = [
  'create',
  'put',
  'get',
  'size',
  'list',
  'remove',
  'stage',
  'putStaged',
]
const meets: Readonly<Record<Fault, readonly Operation[]>> = {
  'fails-before': everywhere,
  'fails-after': ['create', 'put', 'get', 'size', 'remove', 'stage', 'putStaged'],
  'short-write': ['put'],
  'lying-write': ['put'],
  'lost-write': ['put', 'remove', 'putStaged', 'drop'],
  'no-space': ['put', 'stage', 'putStaged'],
  zeros: ['get'],
  'short-read': ['get'],
  'list-misses': ['list'],
  'list-repeats': ['list'],
  'list-breaks': ['list'],
  slow: everywhere,
  gone: everywhere,
}

/** Whether a fault can happen to an operation at all. */
export function canMeet(fault: Fault, operation: Operation): boolean {
  return meets[fault].includes(operation)
}

export interface FaultyBackend extends Backend {
  /** Every call so far. */
  readonly calls: readonly Call[]
}

const slowMs = 5

export function openFaulty(inner: Backend, faultAt: (call: Call) => Fault | undefined): FaultyBackend {
  const calls: Call[] = []
  const counts = new Map<string, number>()
  let gone = false
  const begin = (operation: Operation, kind: FileKind | undefined): Fault | undefined => {
    const name = `${operation} ${kind ?? ''}`
    const nth = (counts.get(name) ?? 0) + 1
    counts.set(name, nth)
    const call = { number: calls.length + 1, nth, operation, kind }
    calls.push(call)
    const fault = faultAt(call)
    const met = fault !== undefined && canMeet(fault, operation) ? fault : undefined
    if (met === 'gone') gone = true
    // What frees something on this host cannot break off.
    if (operation === 'drop') return met
    if (gone || met === 'fails-before') throw broken()
    return met
  }
  const run = async <T>(fault: Fault | undefined, task: () => Promise<T>): Promise<T> => {
    if (fault === 'slow') await new Promise((resolve) => setTimeout(resolve, slowMs))
    const result = await task()
    if (fault === 'fails-after') throw broken()
    return result
  }
  const stage = () => {
    const fault = begin('stage', undefined)
    if (fault === 'no-space') throw noSpace()
    const file = inner.stage?.()
    if (!file) throw new Error('A storage that stages nothing was asked to')
    if (fault !== 'fails-after') return faultyStage(file)
    file.drop()
    throw broken()
  }
  /** Whatever comes of a put, nothing of the staged file is left. */
  const faultyStage = (file: StagedFile): StagedFile => ({
    descriptor: file.descriptor,
    async put(ref, bytes, options) {
      let fault: Fault | undefined
      try {
        fault = begin('putStaged', ref.kind)
        if (fault === 'no-space') throw noSpace()
      } catch (error) {
        file.drop()
        throw error
      }
      if (fault === 'lost-write') file.drop()
      else await run(fault, async () => await file.put(ref, bytes, options))
    },
    drop() {
      // It stays in tmp/, as after a crash, and with it its descriptor.
      if (begin('drop', undefined) !== 'lost-write') file.drop()
    },
  })
  return {
    calls,
    location: 'a storage with faults',
    traits: inner.traits,
    ...(inner.stage ? { stage } : {}),
    async create(options) {
      await run(begin('create', undefined), async () => await inner.create(options))
    },
    async put(file, data, options) {
      const fault = begin('put', file.kind)
      if (fault === 'no-space') throw noSpace()
      if (fault === 'lost-write') return
      if (fault === 'short-write' || fault === 'lying-write') {
        await inner.put(file, data.subarray(0, Math.floor(data.length / 2)), options)
        if (fault === 'short-write') throw broken()
        return
      }
      await run(fault, async () => await inner.put(file, data, options))
    },
    async get(file, range, options) {
      const fault = begin('get', file.kind)
      const data = await run(fault, async () => await inner.get(file, range, options))
      if (fault === 'zeros') return Buffer.alloc(data.length)
      return fault === 'short-read' ? data.subarray(0, Math.floor(data.length / 2)) : data
    },
    async size(file, options) {
      return await run(begin('size', file.kind), async () => await inner.size(file, options))
    },
    async *list(kind, options) {
      const fault = begin('list', kind)
      if (fault === 'slow') await new Promise((resolve) => setTimeout(resolve, slowMs))
      let count = 0
      for await (const found of inner.list(kind, options)) {
        count++
        if (fault === 'list-breaks' && count === 2) throw broken()
        if (fault === 'list-misses' && count % 2 === 1) continue
        yield found
        if (fault === 'list-repeats') yield found
      }
      if (fault === 'list-breaks') throw broken()
    },
    async remove(file, options) {
      const fault = begin('remove', file.kind)
      if (fault === 'lost-write') return
      await run(fault, async () => await inner.remove(file, options))
    },
    [Symbol.asyncDispose]: async () => await inner[Symbol.asyncDispose](),
  }
}

function noSpace(): VmlError {
  return new VmlError('unavailable.space', 'Cannot write: no space is left')
}

function broken(): VmlError {
  return new VmlError('unavailable.network', 'The line broke')
}

export interface FaultPoint {
  readonly fault: Fault
  readonly call: Call
  /** For messages: `zeros at get pack 3`. */
  readonly title: string
  /** For openFaulty; told once, since the point is one call. */
  faultAt(call: Call): Fault | undefined
  /** Whether the call came: how many packs there are differs from run to run. */
  wasMet(): boolean
}

/** Every fault at each of the calls that it can meet. */
export function faultPoints(calls: readonly Call[], chosen: readonly Fault[]): FaultPoint[] {
  return chosen.flatMap((fault) =>
    calls
      .filter(({ operation }) => canMeet(fault, operation))
      .map((call) => {
        let met = false
        return {
          fault,
          call,
          title: `${fault} at ${call.operation} ${call.kind ?? ''} ${call.nth}`,
          faultAt: ({ operation, kind, nth }) => {
            if (operation !== call.operation || kind !== call.kind || nth !== call.nth) return undefined
            met = true
            return fault
          },
          wasMet: () => met,
        }
      }),
  )
}
