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
import { fileNode, folderNode, makeRepository, reopen, snapshotOf } from '../../test/store-fixture.ts'
import type { TreeId } from '../model/ids.ts'
import type { Backend, FileKind, FileRef } from './backend.ts'
import { openCached } from './cached.ts'
import { openMemory } from './memory.ts'

for (const keep of [false, true])
  testBackend(
    `cached over memory${keep ? ', parts of packs kept' : ''}`,
    async () => {
      const files = new Map<string, Buffer>()
      const folder = mkdtempSync(join(tmpdir(), 'vml-cached-'))
      return {
        open: () => {
          const backend = openCached(openMemory({ files }))
          backend.keepCopies({ folder, bytesMax: 1_000_000 })
          const get: Backend['get'] = async (file, range, options) =>
            await backend.get(file, range, { ...options, keep })
          return { ...backend, get }
        },
        async [Symbol.asyncDispose]() {
          rmSync(folder, { recursive: true, force: true })
        },
      }
    },
    { reachable: false },
  )

function openPlace(options: { readonly bytesMax?: number; readonly files?: Map<string, Buffer> } = {}) {
  const folder = join(mkdtempSync(join(tmpdir(), 'vml-cached-')), 'copies')
  const { files = new Map<string, Buffer>() } = options
  const open = () => {
    const storage = openFaulty(openMemory({ files }), () => undefined)
    const backend = openCached(storage)
    backend.keepCopies({ folder, bytesMax: options.bytesMax ?? 1_000_000 })
    const gets = () => storage.calls.filter(({ operation }) => operation === 'get')
    return {
      backend,
      gets: () => gets().length,
      packGets: () => gets().filter(({ kind }) => kind === 'pack').length,
    }
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

test('parts of packs that are worth it are asked for once, wherever a part begins and ends, for the owner alone', async () => {
  using place = openPlace({ bytesMax: 4_000_000 })
  const data = randomBytes(700_001)
  const file = named('pack', data)
  place.files.set(`pack/${file.name}`, data)
  const parts = [
    [0, 1],
    [300_000, 5],
    [699_990, 11],
    [5, 262_139],
    [262_143, 2],
    [1, 700_000],
    [0, 700_001],
  ] as const
  const { backend, gets } = place.open()
  for (const round of [1, 2])
    for (const [offset, length] of parts) {
      const got = await backend.get(file, { offset, length }, { keep: true })
      assert.deepEqual(got, data.subarray(offset, offset + length), `round ${round}, ${offset}`)
      // A reader opens what it is given in place.
      got.fill(0)
    }
  assert.ok(gets() < parts.length)
  const again = place.open()
  for (const [offset, length] of parts) await again.backend.get(file, { offset, length }, { keep: true })
  assert.equal(again.gets(), 0)
  await again.backend.get(file, { offset: 0, length: 1 })
  await again.backend.get(file, undefined, { keep: true })
  await again.backend.get(file, { offset: 0, length: 1 }, { keep: true, fresh: true })
  assert.equal(again.gets(), 3)
  const copies = place.copies().map((copy) => statSync(join(place.folder, copy)))
  // Each byte once.
  assert.equal(
    copies.reduce((sum, { size }) => sum + size, 0),
    data.length,
  )
  for (const { mode } of copies) assert.equal(mode & 0o777, 0o600)
})

test('copies of parts of packs that are cut off, changed or longer are only a miss: every tree is read as it is', async () => {
  const damages: ((block: Buffer) => Buffer)[] = [
    (block) => block.subarray(0, 100),
    () => Buffer.alloc(0),
    (block) => Buffer.from(block.map((byte) => byte ^ 1)),
    (block) => Buffer.concat([block, block]),
    (block) => Buffer.concat([Buffer.from('x'), block]),
  ]
  const { repository, files } = await makeRepository()
  using place = openPlace({ bytesMax: 4_000_000, files })
  const trees: TreeId[] = []
  {
    await using writer = await repository.beginWrite()
    for (let folder = 0; folder < 60; folder++) {
      const names = Array.from({ length: 80 }, () => randomBytes(100).toString('hex')).sort()
      trees.push(await writer.storeTree(names.map((name) => fileNode(name, { content: [], size: 0 }))))
    }
    const nodes = trees.map((id, at) => folderNode(String(at).padStart(2, '0'), id))
    await writer.commit(snapshotOf(await writer.storeTree(nodes)))
  }
  const readAllTrees = async () => {
    const { backend, packGets } = place.open()
    const reader = await reopen(backend)
    const found = []
    for (const id of trees) found.push(await reader.readTree(id))
    return { found, gets: packGets() }
  }
  const first = await readAllTrees()
  assert.ok(first.gets > 0)
  for (const damage of damages) {
    assert.deepEqual(await readAllTrees(), { found: first.found, gets: 0 })
    for (const copy of place.copies().filter((path) => path.startsWith('blocks/'))) {
      const path = join(place.folder, copy)
      writeFileSync(path, damage(readFileSync(path)))
    }
    const { found, gets } = await readAllTrees()
    assert.deepEqual(found, first.found)
    assert.ok(gets > 0)
    await readAllTrees()
  }
})
