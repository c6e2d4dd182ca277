import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { testOverMemory } from '../../test/conformance/backend.ts'
import { patientClock } from '../../test/patient-clock.ts'
import { systemClock } from '../base/clock.ts'
import { openMemory } from './memory.ts'
import { openThrottled } from './throttled.ts'

testOverMemory('throttled over memory', (storage) =>
  openThrottled(storage, {
    uploadBytesPerSecond: 10_000,
    downloadBytesPerSecond: 10_000,
    clock: patientClock(),
  }),
)

const pack = (at: number) => ({ kind: 'pack', name: at.toString(16).padStart(64, '0') }) as const

test('whatever is put and in which order, no more goes out than the limit, one file aside', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 50_000 }), { minLength: 2, maxLength: 12 }),
      fc.integer({ min: 1000, max: 100_000 }),
      async (sizes, limit) => {
        const clock = patientClock()
        const begun = clock.now()
        const backend = openThrottled(openMemory(), { uploadBytesPerSecond: limit, clock })
        await Promise.all(sizes.map(async (size, at) => await backend.put(pack(at), Buffer.alloc(size, at))))
        const paid = sizes.slice(0, -1).reduce((sum, size) => sum + size, 0) - limit
        const seconds = (clock.now() - begun) / 1000
        assert.ok(seconds * limit >= paid)
        assert.ok(seconds * limit <= sizes.reduce((sum, size) => sum + size + 1256, 0))
      },
    ),
    { numRuns: 50 },
  )
})

test('a large file is fetched in parts, and arrives whole', async () => {
  const clock = patientClock()
  const begun = clock.now()
  const inner = openMemory()
  const data = Buffer.from(Array.from({ length: 300_000 }, (_, at) => at % 251))
  await inner.put(pack(1), data)
  const backend = openThrottled(inner, { downloadBytesPerSecond: 100_000, clock })
  assert.deepEqual(await backend.get(pack(1)), data)
  assert.deepEqual(await backend.get(pack(1), { offset: 7, length: 250_000 }), data.subarray(7, 250_007))
  assert.ok(clock.now() - begun >= 4000)
})

test('once the program is to end, nothing waits for the line', async () => {
  const abort = new AbortController()
  const { signal } = abort
  const clock = { now: () => 0, sleep: systemClock.sleep }
  const backend = openThrottled(openMemory(), { uploadBytesPerSecond: 1, clock, signal })
  await backend.put(pack(1), Buffer.alloc(1000))
  const waiting = backend.put(pack(2), Buffer.alloc(1000))
  abort.abort(new Error('stopped'))
  await waiting
  await backend.put(pack(3), Buffer.alloc(1000))
  assert.equal(await backend.size(pack(3)), 1000)
})

test('a wait for the line ends with the signal', async () => {
  const clock = patientClock()
  const backend = openThrottled(openMemory(), { uploadBytesPerSecond: 100, clock })
  await backend.put(pack(1), Buffer.alloc(1000))
  const signal = AbortSignal.abort(new Error('stopped'))
  await assert.rejects(backend.put(pack(2), Buffer.alloc(1000), { signal }), /stopped/)
  await backend.put(pack(3), Buffer.alloc(10))
  assert.equal(await backend.size(pack(2)), undefined)
})
