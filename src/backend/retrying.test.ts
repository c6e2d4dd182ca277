import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import { testOverMemory } from '../../test/conformance/backend.ts'
import { type Call, type Fault, openFaulty } from '../../test/faulty-backend.ts'
import { patientClock } from '../../test/patient-clock.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import { type Reporter, silentReporter } from '../base/progress.ts'
import type { Backend, FileRef } from './backend.ts'
import { openMemory } from './memory.ts'
import { openRetrying } from './retrying.ts'

const random = () => 0.5
const data = Buffer.from('content')
const file: FileRef = { kind: 'pack', name: hash('sha256', data) }

testOverMemory('retrying over memory', (storage) =>
  openRetrying(storage, { clock: patientClock(), random, reporter: silentReporter }),
)

testOverMemory('retrying over memory, with every third call broken after it took effect', (storage) => {
  const often = ({ number }: Call): Fault | undefined => (number % 3 === 0 ? 'fails-after' : undefined)
  const faulty = openFaulty(storage, often)
  return openRetrying(faulty, { clock: patientClock(), random, reporter: silentReporter })
})

function openWith(inner: Backend, faultAt: (call: Call) => Fault | undefined) {
  const clock = patientClock()
  const warnings: string[] = []
  const reporter: Reporter = { progress: () => {}, warn: ({ warning }) => void warnings.push(warning) }
  const faulty = openFaulty(inner, faultAt)
  return { clock, warnings, faulty, backend: openRetrying(faulty, { clock, random, reporter }) }
}

test('pauses double up to half a minute, each is told, and patience ends in time with the failure itself', async () => {
  const { backend, clock, warnings, faulty } = openWith(openMemory(), ({ number }) =>
    number > 1 ? 'fails-before' : undefined,
  )
  await backend.size(file)
  await assert.rejects(
    backend.get(file),
    (error) => isFailure(error, 'unavailable.network') && /tried \d+ times/.test(error.message),
  )
  assert.equal(warnings.length, clock.slept.length)
  assert.equal(faulty.calls.length, 2 + clock.slept.length)
  for (const [at, ms] of clock.slept.entries())
    assert.ok(ms <= 37_500 && (at === 0 || ms >= (clock.slept[at - 1] ?? 0)))
  assert.ok(clock.slept.reduce((sum, ms) => sum + ms, 0) <= 300_000)
})

test('a place that never answered is given up after one more try', async () => {
  const { backend, faulty } = openWith(openMemory(), () => 'fails-before')
  await assert.rejects(backend.size(file), { code: 'unavailable.network' })
  assert.equal(faulty.calls.length, 2)
})

test('what a retry cannot help is told at once', async () => {
  const { backend, faulty } = openWith(openMemory(), () => undefined)
  await assert.rejects(backend.get(file), { code: 'not-found' })
  await backend.put(file, data)
  await assert.rejects(backend.get(file, { offset: 5, length: 50 }), { code: 'integrity.truncated' })
  const before = faulty.calls.length
  assert.equal(await backend.size({ kind: 'pack', name: hash('sha256', 'other') }), undefined)
  assert.equal(faulty.calls.length, before + 1)
})

test('a time-out is never taken for a missing file', async () => {
  const inner = openMemory()
  const silent: Backend = {
    ...inner,
    size: async () => {
      throw new VmlError('unavailable.timeout', 'No answer')
    },
  }
  const backend = openRetrying(silent, { clock: patientClock(), random, reporter: silentReporter })
  await assert.rejects(backend.size(file), { code: 'unavailable.timeout' })
})

test('half of a file that an earlier attempt left is replaced, other content under its name is not', async () => {
  const files = new Map<string, Buffer>()
  const { backend } = openWith(openMemory({ files }), ({ number }) =>
    number === 1 ? 'short-write' : undefined,
  )
  await backend.put(file, data)
  assert.deepEqual(await backend.get(file), data)

  const config: FileRef = { kind: 'config', name: '' }
  const second = openWith(openMemory({ files }), ({ number }) => (number === 1 ? 'short-write' : undefined))
  await assert.rejects(second.backend.put(config, data), { code: 'exists' })
  const third = openWith(openMemory(), ({ number }) => (number === 1 ? 'fails-after' : undefined))
  await third.backend.put(config, data)
  assert.deepEqual(await third.backend.get(config), data)
})

test('what lies there without an attempt of ours stays, and is told', async () => {
  const files = new Map([[`pack/${file.name}`, Buffer.from('damaged')]])
  const { backend } = openWith(openMemory({ files }), () => undefined)
  await assert.rejects(backend.put(file, Buffer.from('longer content')), { code: 'exists' })
  assert.equal(files.get(`pack/${file.name}`)?.toString(), 'damaged')
})

test('a read that came out short is read again where the file is whole', async () => {
  const { backend } = openWith(openMemory(), ({ operation, number }) =>
    operation === 'get' && number === 2 ? 'short-read' : undefined,
  )
  await backend.put(file, data)
  assert.equal((await backend.get(file, { offset: 1, length: 4 })).toString(), 'onte')
})

test('a list that breaks off, or tells a name twice, gives every name once', async () => {
  const names = Array.from({ length: 9 }, (_, at) => hash('sha256', String(at)))
  const files = new Map(names.map((name) => [`snapshot/${name}`, data]))
  for (const fault of ['list-breaks', 'list-repeats'] as const) {
    const { backend } = openWith(openMemory({ files }), ({ number }) => (number === 2 ? fault : undefined))
    await backend.list('key')[Symbol.asyncIterator]().next()
    const found = await Array.fromAsync(backend.list('snapshot'))
    assert.deepEqual(
      found.map(({ name }) => name),
      names,
    )
  }
})

test('once the program is to end, nothing is waited for', async () => {
  const abort = new AbortController()
  const faulty = openFaulty(openMemory(), ({ number }) => (number > 1 ? 'gone' : undefined))
  const clock = patientClock()
  const { signal } = abort
  const backend = openRetrying(faulty, { clock, random, reporter: silentReporter, signal })
  await backend.size(file)
  abort.abort(new Error('stopped'))
  await assert.rejects(backend.remove(file), /stopped/)
  assert.deepEqual(clock.slept, [])
})

test('a pause ends with the signal', async () => {
  const abort = new AbortController()
  const inner = openFaulty(openMemory(), () => 'fails-before')
  const clock = {
    now: () => 0,
    sleep: async (_: number, { signal }: { signal?: AbortSignal | undefined } = {}) => {
      abort.abort(new Error('stopped'))
      signal?.throwIfAborted()
    },
  }
  const backend = openRetrying(inner, { clock, random, reporter: silentReporter })
  await assert.rejects(backend.size(file, { signal: abort.signal }), /stopped/)
  assert.equal(inner.calls.length, 1)
})
