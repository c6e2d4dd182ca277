import assert from 'node:assert/strict'
import { hash, randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { testBackend } from '../../test/conformance/backend.ts'
import { openFaulty } from '../../test/faulty-backend.ts'
import type { FileKind, FileRef } from './backend.ts'
import { openCached } from './cached.ts'
import { openMemory } from './memory.ts'

testBackend(
  'cached over memory',
  async () => {
    const files = new Map<string, Buffer>()
    const folder = mkdtempSync(join(tmpdir(), 'vml-cached-'))
    return {
      open: () => {
        const backend = openCached(openMemory({ files }))
        backend.keepCopies({ folder, bytesMax: 1_000_000 })
        return backend
      },
      async [Symbol.asyncDispose]() {
        rmSync(folder, { recursive: true, force: true })
      },
    }
  },
  { reachable: false },
)

function openPlace(options: { readonly bytesMax?: number } = {}) {
  const folder = join(mkdtempSync(join(tmpdir(), 'vml-cached-')), 'copies')
  const files = new Map<string, Buffer>()
  const open = () => {
    const storage = openFaulty(openMemory({ files }), () => undefined)
    const backend = openCached(storage)
    backend.keepCopies({ folder, bytesMax: options.bytesMax ?? 1_000_000 })
    return { backend, gets: () => storage.calls.filter(({ operation }) => operation === 'get').length }
  }
  const copies = () =>
    existsSync(folder)
      ? readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.length > 64)
      : []
  return {
    folder,
    files,
    open,
    copies,
    [Symbol.dispose]: () => rmSync(join(folder, '..'), { recursive: true, force: true }),
  }
}

function named(kind: FileKind, data: Uint8Array): FileRef {
  return { kind, name: hash('sha256', data) }
}

test('indexes and snapshots are asked for once, for the owner alone; keys, locks and packs every time', async () => {
  using place = openPlace()
  const data = randomBytes(1000)
  const { backend } = place.open()
  for (const kind of ['index', 'snapshot', 'key', 'lock', 'pack'] as const)
    await backend.put(named(kind, data), data)
  const again = place.open()
  for (const kind of ['index', 'snapshot'] as const)
    assert.deepEqual(await again.backend.get(named(kind, data)), data)
  assert.equal(again.gets(), 0)
  for (const kind of ['key', 'lock', 'pack'] as const)
    assert.deepEqual(await again.backend.get(named(kind, data)), data)
  assert.equal(again.gets(), 3)
  assert.equal(place.copies().length, 2)
  for (const copy of place.copies()) assert.equal(statSync(join(place.folder, copy)).mode & 0o777, 0o600)
  assert.equal(statSync(place.folder).mode & 0o777, 0o700)
})

test('a copy that was changed or cut off is never given, and is made anew', async () => {
  using place = openPlace()
  const data = randomBytes(1000)
  const file = named('index', data)
  await place.open().backend.put(file, data)
  const [copy = ''] = place.copies()
  for (const damage of [data.subarray(0, 500), Buffer.alloc(1000), Buffer.alloc(0)]) {
    writeFileSync(join(place.folder, copy), damage)
    const { backend, gets } = place.open()
    assert.deepEqual(await backend.get(file), data)
    assert.equal(gets(), 1)
    assert.deepEqual(readFileSync(join(place.folder, copy)), data)
  }
})

test('what the storage gives under a wrong name is passed on and not kept', async () => {
  using place = openPlace()
  const data = randomBytes(1000)
  const file = named('snapshot', data)
  place.files.set(`snapshot/${file.name}`, Buffer.alloc(1000))
  assert.deepEqual(await place.open().backend.get(file), Buffer.alloc(1000))
  assert.deepEqual(place.copies(), [])
})

test('a read past the copies asks the storage', async () => {
  using place = openPlace()
  const data = randomBytes(1000)
  const file = named('index', data)
  const { backend } = place.open()
  await backend.put(file, data)
  place.files.set(`index/${file.name}`, Buffer.alloc(1000))
  assert.deepEqual(await backend.get(file, undefined, { fresh: true }), Buffer.alloc(1000))
})

test('a copy goes with its file: removed here, or no longer listed', async () => {
  using place = openPlace()
  const one = randomBytes(10)
  const two = randomBytes(10)
  const { backend } = place.open()
  for (const data of [one, two]) await backend.put(named('snapshot', data), data)
  await backend.remove(named('snapshot', one))
  assert.equal(place.copies().length, 1)
  place.files.clear()
  assert.deepEqual(await Array.fromAsync(backend.list('snapshot')), [])
  assert.deepEqual(place.copies(), [])
  await assert.rejects(backend.get(named('snapshot', two)), { code: 'not-found' })
})

test('copies stay within their limit: what was read last stays longest', async () => {
  using place = openPlace({ bytesMax: 10_000 })
  const data = Array.from({ length: 10 }, () => randomBytes(1000))
  const { backend } = place.open()
  for (const each of data) await backend.put(named('index', each), each)
  for (const [at, each] of data.entries()) {
    const copy = join(place.folder, 'index', named('index', each).name)
    utimesSync(copy, 1000 + at, 1000 + at)
  }
  const next = place.open().backend
  const [first = Buffer.alloc(0)] = data
  await next.get(named('index', first))
  const more = randomBytes(1000)
  await next.put(named('index', more), more)
  const left = place.copies().map((path) => path.replace('index/', ''))
  assert.ok(left.length <= 8)
  assert.ok(left.includes(named('index', first).name) && left.includes(named('index', more).name))
})

test('a folder that cannot be made, or goes away, costs nothing but time', async () => {
  using place = openPlace()
  const data = randomBytes(100)
  const file = named('index', data)
  const { backend } = place.open()
  await backend.put(file, data)
  rmSync(place.folder, { recursive: true })
  assert.deepEqual(await backend.get(file), data)
  rmSync(place.folder, { recursive: true, force: true })
  writeFileSync(place.folder, 'a file')
  const other = randomBytes(100)
  await backend.put(named('index', other), other)
  assert.deepEqual(await backend.get(file), data)
})
