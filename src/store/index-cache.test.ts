import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { type BlobId, type IndexId, type PackId, parseId } from '../model/ids.ts'
import { openMemory } from '../backend/memory.ts'
import { openBlobIndex } from './blob-index.ts'
import { openBlobClaims } from './blob-table.ts'
import { decodeIndexCache, encodeIndexCache, type IndexCache } from './index-cache.ts'
import type { PackedBlob } from './pack-format.ts'
import { initRepository, openRepository } from './repository.ts'
import { noise, snapshotOf } from '../../test/store-fixture.ts'

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const blobId = (text: string): BlobId => parseId<BlobId>(sha256(text)) ?? assert.fail()
const packId = (text: string): PackId => parseId<PackId>(sha256(text)) ?? assert.fail()
const indexId = (text: string): IndexId => parseId<IndexId>(sha256(text)) ?? assert.fail()

function tableOf(blobs: number) {
  const table = openBlobIndex()
  for (let at = 0; at < blobs; at += 100) {
    const inPack = Array.from({ length: 100 }, (_, number): PackedBlob => ({
      type: number % 7 === 0 ? 'tree' : 'data',
      id: blobId(`blob ${at + number}`),
      offset: number * 1000,
      length: 999,
      ...(number % 3 === 0 ? { plainLength: 5000 } : {}),
    }))
    table.add(packId(`pack ${at}`), inPack)
  }
  // One blob in a second place.
  table.add(packId('again'), [{ type: 'tree', id: blobId('blob 0'), offset: 0, length: 999 }])
  return table
}

const files = new Set([indexId('one'), indexId('two')])
const superseded = new Set([indexId('old')])

test('a table comes back from its copy as it was, and grows on', () => {
  const table = tableOf(20_000)
  const cached = decodeIndexCache(Buffer.concat(encodeIndexCache({ table, files, superseded })))
  assert.ok(cached)
  assert.deepEqual([cached.files, cached.superseded], [files, superseded])
  assert.equal(cached.table.blobs, table.blobs)
  assert.deepEqual([...cached.table.packContents()], [...table.packContents()])
  assert.equal(cached.table.findAll('tree', blobId('blob 0')).length, 2)
  const more = { type: 'data', id: blobId('more'), offset: 0, length: 50 } as const
  cached.table.add(packId('more'), [more])
  assert.ok(cached.table.has('data', more.id) && cached.table.has('data', blobId('blob 19999')))
  assert.ok(!cached.table.has('data', blobId('blob 20000')))
})

test('what was claimed and never stored is not in the copy', () => {
  const table = tableOf(10_000)
  const claimed = Array.from({ length: 9000 }, (_, number) => blobId(`claimed ${number}`))
  for (const id of claimed) assert.ok(table.claim('data', id))
  const stored = claimed
    .filter((_, number) => number % 3 === 0)
    .map((id, at): PackedBlob => ({ type: 'data', id, offset: at * 100, length: 100 }))
  table.add(packId('stored'), stored)
  table.dropClaims()
  const cached = decodeIndexCache(Buffer.concat(encodeIndexCache({ table, files, superseded })))
  assert.ok(cached)
  assert.equal(cached.table.blobs, 13_000)
  assert.deepEqual([...cached.table.packContents()], [...table.packContents()])
  for (const [number, id] of claimed.entries()) {
    assert.equal(cached.table.has('data', id), number % 3 === 0)
    assert.equal(cached.table.claim('data', id), number % 3 !== 0)
  }
})

test('a table from its copy goes to other threads with all that it knows', () => {
  for (const blobs of [8192, 20_000]) {
    const cached = decodeIndexCache(
      Buffer.concat(encodeIndexCache({ table: tableOf(blobs), files, superseded })),
    )
    assert.ok(cached)
    const { table } = cached
    assert.ok(table.claim('data', blobId('before')))
    const lane = openBlobClaims(table.share(1000))
    const known = [...table.packContents()].flatMap((pack) => pack.blobs)
    for (const { type, id } of known) assert.ok(!lane.claim(type, id))
    assert.ok(!lane.claim('data', blobId('before')))
    assert.ok(lane.claim('data', blobId('fresh')) && !table.claim('data', blobId('fresh')))
    table.endSharing()
    table.add(packId('fresh'), [{ type: 'data', id: blobId('fresh'), offset: 0, length: 10 }])
    table.dropClaims()
    assert.ok(table.has('data', blobId('fresh')) && !table.isKnown('data', blobId('before')))
    assert.ok(known.every(({ type, id }) => table.has(type, id)))
  }
})

test('a copy with any byte changed, cut or added is none: it could call a blob stored that is not', () => {
  const content = Buffer.concat(encodeIndexCache({ table: tableOf(200), files, superseded }))
  for (let at = 0; at < content.length; at += 97) {
    const changed = Buffer.from(content)
    changed[at] = (changed[at] ?? 0) ^ 0x10
    assert.equal(decodeIndexCache(changed), undefined)
    assert.equal(decodeIndexCache(content.subarray(0, at)), undefined)
  }
  assert.equal(decodeIndexCache(Buffer.concat([content, Buffer.of(0)])), undefined)
})

test('a copy is used while all its index files count, and made anew when one is gone', async () => {
  const backend = openMemory()
  const password = Buffer.from('secret')
  const kept: { content?: Buffer; reads: number; writes: number } = { reads: 0, writes: 0 }
  const indexCache = () => ({
    read: () => {
      kept.reads++
      return Promise.resolve(kept.content && Buffer.from(kept.content))
    },
    write: (parts: readonly Uint8Array[]) => {
      kept.writes++
      kept.content = Buffer.concat(parts)
      return Promise.resolve()
    },
  })
  const key = { password, cost: 'cheap', username: 'me', hostname: 'here' } as const
  await initRepository({ backend, keys: [key] })
  const open = async () => await openRepository({ backend, secrets: [password], indexCache })
  const store = async (from: number, to: number) => {
    const writer = await (await open()).beginWrite()
    await using _ = writer
    for (let number = from; number < to; number++) await writer.copyBlob('data', noise(100, String(number)))
    await writer.flush()
    return writer.statistics().newBlobs
  }
  const listed = async () => (await Array.fromAsync(backend.list('index'))).map(({ name }) => name)
  assert.equal(await store(0, 6000), 6000)
  const [first = ''] = await listed()
  // Read from the index file once, then from the copy.
  assert.equal(await store(0, 6000), 0)
  assert.equal(kept.writes, 1)
  assert.equal(await store(0, 6010), 10)
  assert.equal(kept.writes, 1)
  // Somebody removed what the copy was made of: nothing of it counts any more.
  await backend.remove({ kind: 'index', name: first })
  for await (const { name } of backend.list('pack')) {
    const { size } = { size: await backend.size({ kind: 'pack', name }) }
    if ((size ?? 0) > 100_000) await backend.remove({ kind: 'pack', name })
  }
  assert.equal(await store(0, 6010), 6000)
})

test('a writer that has ended well leaves a copy of all that it stored; one that has not leaves none', async () => {
  const files = openMemory()
  const password = Buffer.from('secret')
  let failing = false
  const backend: typeof files = {
    ...files,
    async put(file, content, options) {
      if (failing && file.kind === 'index') throw new Error('No room')
      await files.put(file, content, options)
    },
  }
  const openCache = () => {
    const cache: { content: Buffer | undefined; indexCache: () => IndexCache } = {
      content: undefined,
      indexCache: () => ({
        read: () => Promise.resolve(cache.content && Buffer.from(cache.content)),
        write: (parts) => {
          cache.content = Buffer.concat(parts)
          return Promise.resolve()
        },
      }),
    }
    return cache
  }
  await initRepository({ backend, keys: [{ password, cost: 'cheap', username: 'me', hostname: 'here' }] })
  const store = async (cache: ReturnType<typeof openCache>, from: number, to: number) => {
    await using repository = await openRepository({ backend, secrets: [password], ...cache })
    await using writer = await repository.beginWrite()
    for (let number = from; number < to; number++) await writer.copyBlob('data', noise(100, String(number)))
    await writer.commit(snapshotOf(await writer.storeTree([])))
  }
  const places = ({ content }: ReturnType<typeof openCache>) => {
    const cached = content && decodeIndexCache(content)
    assert.ok(cached)
    const packs = [...cached.table.packContents()].toSorted((left, right) =>
      left.pack.localeCompare(right.pack),
    )
    return { files: [...cached.files].toSorted(), packs }
  }
  const cache = openCache()
  await store(cache, 0, 6000)
  await store(cache, 6000, 9000)
  // As somebody makes it who has nothing but the index files.
  const fresh = openCache()
  await using reader = await openRepository({ backend, secrets: [password], ...fresh })
  await reader.indexView()
  assert.deepEqual(places(cache), places(fresh))
  const before = cache.content
  failing = true
  await assert.rejects(store(cache, 9000, 12_000), /No room/)
  assert.equal(cache.content, before)
  failing = false
  await store(cache, 9000, 12_000)
  assert.notEqual(cache.content, before)
})
