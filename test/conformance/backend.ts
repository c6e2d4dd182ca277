// What every backend promises (src/backend/backend.ts), as a suite that each driver runs.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import * as fc from 'fast-check'
import type { Backend, FileKind, FileRef } from '../../src/backend/backend.ts'
import type { DriverOptions } from '../../src/backend/all.ts'
import { openMemory } from '../../src/backend/memory.ts'
import { isFailure, type FailureCode } from '../../src/base/failure.ts'

export interface BackendPlace extends AsyncDisposable {
  /** Opens it anew each time, as another program would. */
  open(): Backend
  /** For `openBackend`, where another thread or process can reach it, and what the driver is told beside it. */
  readonly address?: string
  readonly driver?: DriverOptions
}

export interface BackendSuiteOptions {
  /** Whether other processes can open its address. */
  readonly reachable: boolean
  /** For a server that shows what it is given before it has all of it: how long it may take to see that the rest never comes. */
  readonly noticesMs?: number
}

/** For what stands in front of any storage: `wrap` gets one in memory. */
export function testOverMemory(name: string, wrap: (storage: Backend) => Backend): void {
  const makePlace = async () => {
    const files = new Map<string, Buffer>()
    return { open: () => wrap(openMemory({ files })), async [Symbol.asyncDispose]() {} }
  }
  testBackend(name, makePlace, { reachable: false })
}

/** `makePlace` makes an empty place, which `create` has not seen yet. */
export function testBackend(
  name: string,
  makePlace: () => Promise<BackendPlace>,
  { reachable, noticesMs = 0 }: BackendSuiteOptions,
): void {
  const prepared = async (): Promise<{ place: BackendPlace; backend: Backend }> => {
    const place = await makePlace()
    const backend = place.open()
    await backend.create()
    return { place, backend }
  }

  test(`${name}: gives back what was put, whole and in part, for every kind of file`, async () => {
    const { place, backend } = await prepared()
    await using _ = place
    const kept = oneOfEach().filter(({ kind }) => kind !== 'parity' || backend.traits.parity)
    for (const file of kept) {
      const data = randomBytes(100_000)
      await backend.put(file, data)
      const again = place.open()
      assert.deepEqual(await again.get(file), data)
      assert.deepEqual(await again.get(file, { offset: 99_000, length: 1000 }), data.subarray(99_000))
      assert.deepEqual(await again.get(file, { offset: 5, length: 0 }), Buffer.alloc(0))
      assert.equal(await again.size(file), 100_000)
    }
  })

  test(`${name}: keeps any content, the empty one included`, async () => {
    const { place, backend } = await prepared()
    await using _ = place
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 5000 }), async (bytes) => {
        const file = named('snapshot', randomBytes(32).toString('hex'))
        await backend.put(file, bytes)
        assert.deepEqual(await backend.get(file), Buffer.from(bytes))
      }),
      { numRuns: 25 },
    )
  })

  test(`${name}: lists exactly what was put, with sizes`, async () => {
    const { place, backend } = await prepared()
    await using _ = place
    const expected = new Map<string, number>()
    for (let count = 0; count < 20; count++) {
      const data = randomBytes(count * 10)
      const file = named('pack', digest(data))
      expected.set(file.name, data.length)
      await backend.put(file, data)
    }
    await backend.put(named('index', digest('x')), Buffer.from('x'))
    assert.deepEqual(await listed(place.open(), 'pack'), expected)
    assert.deepEqual([...(await listed(backend, 'index'))], [[digest('x'), 1]])
    assert.deepEqual([...(await listed(backend, 'lock'))], [])
  })

  test(`${name}: puts the same file twice, but never replaces one`, async () => {
    const { place, backend } = await prepared()
    await using _ = place
    const file = named('pack', digest('one'))
    await backend.put(file, Buffer.from('one'))
    await backend.put(file, Buffer.from('one'))
    await fails('exists', async () => await backend.put(file, Buffer.from('two')))
    await fails('exists', async () => await backend.put(file, Buffer.from('one and more')))
    assert.equal((await backend.get(file)).toString(), 'one')
  })

  test(`${name}: says what is not there, and what is too short`, async () => {
    const { place, backend } = await prepared()
    await using _ = place
    const file = named('key', digest('x'))
    await fails('not-found', async () => await backend.get(file))
    await fails('not-found', async () => await backend.get(file, { offset: 0, length: 1 }))
    assert.equal(await backend.size(file), undefined)
    await backend.put(file, Buffer.from('0123456789'))
    await fails('integrity.truncated', async () => await backend.get(file, { offset: 5, length: 6 }))
    await fails('integrity.truncated', async () => await backend.get(file, { offset: 50, length: 1 }))
  })

  test(`${name}: removes a file, and again without a word`, async () => {
    const { place, backend } = await prepared()
    await using _ = place
    const file = named('lock', digest('x'))
    await backend.put(file, Buffer.from('x'))
    await backend.remove(file)
    await backend.remove(file)
    assert.equal(await place.open().size(file), undefined)
    await backend.put(file, Buffer.from('y'))
    assert.equal((await backend.get(file)).toString(), 'y')
  })

  test(`${name}: where it can set a file aside, that is none of the repository any more, however often`, async () => {
    const { place, backend } = await prepared()
    await using _ = place
    const { setAside } = backend
    if (!setAside) return
    const places = new Set<string>()
    for (const file of oneOfEach().filter(({ kind }) => kind !== 'config')) {
      for (const content of ['damaged', 'damaged again']) {
        await backend.put(file, Buffer.from(content))
        places.add(await setAside.call(backend, file))
        assert.equal(await place.open().size(file), undefined)
        assert.equal((await listed(place.open(), file.kind)).size, 0)
      }
    }
    assert.equal(places.size, 2 * (oneOfEach().length - 1))
    await fails('not-found', async () => await setAside.call(backend, named('pack', digest('nothing'))))
  })

  test(`${name}: makes a repository once`, async () => {
    const { place, backend } = await prepared()
    await using _ = place
    await place.open().create()
    await backend.put({ kind: 'config', name: '' }, Buffer.from('first'))
    await fails('exists', async () => await place.open().create())
    await fails('exists', async () => await backend.put({ kind: 'config', name: '' }, Buffer.from('second')))
    assert.equal((await backend.get({ kind: 'config', name: '' })).toString(), 'first')
  })

  test(`${name}: does nothing when the signal was aborted before`, async () => {
    const { place, backend } = await prepared()
    await using _ = place
    const file = named('pack', digest('x'))
    const signal = AbortSignal.abort(new Error('stopped'))
    await assert.rejects(backend.put(file, Buffer.from('x'), { signal }), /stopped/)
    assert.equal(await backend.size(file), undefined)
    await backend.put(file, Buffer.from('x'))
    await assert.rejects(backend.get(file, undefined, { signal }), /stopped/)
    await assert.rejects(backend.size(file, { signal }), /stopped/)
    await assert.rejects(backend.remove(file, { signal }), /stopped/)
    await assert.rejects(listed(backend, 'pack', signal), /stopped/)
    assert.equal(await backend.size(file), 1)
  })

  test(`${name}: leaves the whole file or none when the signal is aborted meanwhile`, async () => {
    const { place, backend } = await prepared()
    await using _ = place
    const data = randomBytes(8 * 1024 * 1024)
    const file = named('pack', digest(data))
    const abort = new AbortController()
    const putting = backend.put(file, data, { signal: abort.signal })
    setTimeout(() => abort.abort(new Error('stopped')), 1)
    await putting.catch((error: unknown) => assert.match(String(error), /stopped/))
    const size = await place.open().size(file)
    assert.ok(size === undefined || size === data.length)
  })

  test(`${name}: takes the same put many times at once`, async () => {
    const { place, backend } = await prepared()
    await using _ = place
    const data = randomBytes(200_000)
    const file = named('pack', digest(data))
    const putters = Array.from({ length: 8 }, () => place.open())
    await Promise.all(putters.map(async (putter) => await putter.put(file, data)))
    assert.deepEqual(await backend.get(file), data)
    assert.equal((await listed(backend, 'pack')).size, 1)
  })

  test(`${name}: of different puts under one name at once, one wins and is whole`, async () => {
    const { place, backend } = await prepared()
    await using _ = place
    const file: FileRef = { kind: 'config', name: '' }
    const contents = Array.from({ length: 8 }, (_, at) => Buffer.alloc(10_000, at))
    const results = await Promise.allSettled(contents.map(async (data) => await place.open().put(file, data)))
    const winners = contents.filter((_, at) => results[at]?.status === 'fulfilled')
    assert.equal(winners.length, 1)
    assert.deepEqual(await backend.get(file), winners[0])
  })

  // What only this process can reach has nobody to race.
  if (!reachable) return

  test(`${name}: threads that put the same file at once all succeed`, async () => {
    const { place, backend } = await prepared()
    await using _ = place
    const { address, driver } = place
    const workers = Array.from(
      { length: 4 },
      () => new Worker(putterUrl, { workerData: { address, driver, rounds: 20 } }),
    )
    const codes: unknown[] = []
    await Promise.all(
      workers.map(async (worker) => {
        const exit: unknown[] = await once(worker, 'exit')
        codes.push(exit[0])
      }),
    )
    assert.deepEqual(codes, [0, 0, 0, 0])
    assert.equal((await listed(backend, 'pack')).size, 20)
    for (const file of (await listed(backend, 'pack')).keys()) {
      assert.equal(digest(await backend.get(named('pack', file))), file)
    }
  })

  test(`${name}: a process killed during puts leaves only whole files`, async () => {
    const { place, backend } = await prepared()
    await using _ = place
    const { address, driver = {} } = place
    assert.ok(address)
    for (const delayMs of [0, 3, 7, 12]) {
      const child = spawn(process.execPath, [putterUrl.pathname, address, JSON.stringify(driver)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      // It says so when it begins to put.
      await once(child.stdout, 'data')
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      child.kill('SIGKILL')
      await once(child, 'exit')
      await within(noticesMs, async () => {
        for (const file of (await listed(backend, 'pack')).keys()) {
          assert.equal(digest(await backend.get(named('pack', file))), file)
        }
      })
    }
  })
}

/** The check passes at once or, where the place may take its time, later. */
async function within(ms: number, check: () => Promise<void>): Promise<void> {
  for (const end = Date.now() + ms; ;) {
    try {
      return await check()
    } catch (error) {
      if (Date.now() >= end) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

const putterUrl = new URL('./backend-putter.ts', import.meta.url)

function oneOfEach(): FileRef[] {
  const kinds: FileKind[] = ['key', 'lock', 'snapshot', 'index', 'pack', 'parity']
  return [{ kind: 'config', name: '' }, ...kinds.map((kind) => named(kind, randomBytes(32).toString('hex')))]
}

function named(kind: FileKind, name: string): FileRef {
  return { kind, name }
}

function digest(data: Uint8Array | string): string {
  return createHash('sha256').update(data).digest('hex')
}

async function listed(backend: Backend, kind: FileKind, signal?: AbortSignal): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  for await (const { name, size } of backend.list(kind, { signal })) {
    assert.ok(!found.has(name), 'listed twice')
    found.set(name, size)
  }
  return found
}

async function fails(code: FailureCode, task: () => Promise<unknown>): Promise<void> {
  await assert.rejects(task, (error) => isFailure(error, code))
}
