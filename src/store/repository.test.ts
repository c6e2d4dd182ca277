import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openMemory } from '../backend/memory.ts'
import { parseId, type SnapshotId } from '../model/ids.ts'
import {
  cheapKey,
  fileNode,
  makeRepository,
  namesOf,
  noise,
  password,
  readAll,
  readContent,
  reopen,
  save,
  snapshotOf,
  storeFile,
} from '../../test/store-fixture.ts'
import { initRepository, openRepository } from './repository.ts'

test('what one program saved, another reads to the last byte', async () => {
  const { repository, files } = await makeRepository({ packBytes: 1024 * 1024 })
  const contents = [
    Buffer.alloc(0),
    Buffer.from('small'),
    noise(5_000_000, 'big'),
    Buffer.alloc(3_000_000, 'text '),
  ]
  const snapshot = await save(repository, contents)
  for (const reader of [repository, await reopen(files)]) {
    const found = await readAll(reader)
    assert.deepEqual(
      [...found.keys()],
      contents.map((_, at) => `${snapshot.id}/files/${at}`),
    )
    assert.ok([...found.values()].every((content, at) => contents[at]?.equals(content)))
  }
})

test('a snapshot keeps every field, those of foreign programs too', async () => {
  const { repository, files } = await makeRepository()
  await using writer = await repository.beginWrite()
  const tree = await writer.storeTree([])
  const full = {
    ...snapshotOf(tree, ['vml:n=1', 'ü']),
    parent: parseId<SnapshotId>('ab'.repeat(32)) ?? assert.fail(),
    original: parseId<SnapshotId>('cd'.repeat(32)) ?? assert.fail(),
    description: 'line\nline "quoted"',
    programVersion: 'vml 0.1.0',
    otherFields: { uid: 1000, excludes: ['*.o'], summary: { files_new: 3 } },
  }
  const written = await writer.commit(full)
  const read = await (await reopen(files)).readSnapshot(written.id)
  assert.deepEqual(read, { ...full, id: written.id })
  assert.deepEqual(await Array.fromAsync(repository.snapshotIds()), [written.id])
})

test('nothing is stored twice, in one save or in the next', async () => {
  const { repository, files } = await makeRepository()
  const content = noise(3_000_000, 'same')
  await save(repository, [content, content])
  const size = () =>
    [...files].filter(([name]) => name.startsWith('pack/')).reduce((sum, [, data]) => sum + data.length, 0)
  const first = size()
  assert.ok(first < 3_100_000)
  await save(await reopen(files), [content, content])
  assert.equal(size(), first)
})

test('a file has the same chunks and size, whatever pieces it came in', async () => {
  const { repository } = await makeRepository()
  await using writer = await repository.beginWrite()
  for (const length of [0, 1, 600_000, 10_000_000, 20_000_000]) {
    const content = noise(length, 'pieces')
    const results = []
    for (const piece of [4096, 1_000_003, 17_000_000]) {
      const sink = writer.openFile()
      for (let at = 0; at < length; at += piece) {
        await sink.write({ kind: 'data', bytes: content.subarray(at, at + piece) })
      }
      results.push(await sink.finish())
    }
    assert.equal(results[0]?.size, length)
    await writer.flush()
    assert.ok((await readContent(repository, results[0].content)).equals(content))
    assert.deepEqual(results[1], results[0])
    assert.deepEqual(results[2], results[0])
  }
})

test('a hole is stored exactly as the same zeros are, and comes back as a hole', async () => {
  const { repository, files } = await makeRepository()
  await using writer = await repository.beginWrite()
  const head = noise(700_001, 'head')
  const tail = noise(900_003, 'tail')
  for (const holeBytes of [1, 5000, 8 * 1024 * 1024, 40_000_001]) {
    const asHole = writer.openFile()
    await asHole.write({ kind: 'data', bytes: head })
    // Two holes side by side are one.
    await asHole.write({ kind: 'hole', length: holeBytes - 1 })
    await asHole.write({ kind: 'hole', length: 1 })
    await asHole.write({ kind: 'data', bytes: tail })
    const stored = await asHole.finish()
    const whole = Buffer.concat([head, Buffer.alloc(holeBytes), tail])
    assert.deepEqual(await storeFile(writer, whole), stored)
    await writer.commit(snapshotOf(await writer.storeTree([fileNode('sparse', stored)])))
    const reader = await reopen(files)
    assert.ok((await readContent(reader, stored.content)).equals(whole))
    let holes = 0
    for await (const segment of reader.readFile(stored.content))
      if (segment.kind === 'hole') holes += segment.length
    assert.ok(holes >= (holeBytes > 100_000 ? holeBytes - 2 * 4096 : 0))
  }
})

test('a file of holes alone is one blob, however large', async () => {
  const { repository } = await makeRepository()
  await using writer = await repository.beginWrite()
  const sink = writer.openFile()
  await sink.write({ kind: 'hole', length: 1024 * 1024 * 1024 })
  const { content, size } = await sink.finish()
  assert.equal(size, 1024 * 1024 * 1024)
  assert.equal(new Set(content).size, 1)
})

test('a tree that names what is not stored is refused, and the writer goes on', async () => {
  const { repository } = await makeRepository()
  await using writer = await repository.beginWrite()
  const stored = await storeFile(writer, Buffer.from('here'))
  const missing = { content: stored.content.map((id) => id.replace(/./g, 'a') as typeof id), size: 4 }
  await assert.rejects(writer.storeTree([fileNode('lost', missing)]), { code: 'integrity.missing' })
  const tree = await writer.storeTree([fileNode('found', stored)])
  await assert.rejects(writer.commit(snapshotOf(tree.replace(/./g, 'b') as typeof tree)), {
    code: 'integrity.missing',
  })
  await writer.commit(snapshotOf(tree))
})

test('an aborted file leaves the writer ready for the next one', async () => {
  const { repository } = await makeRepository()
  await using writer = await repository.beginWrite()
  const sink = writer.openFile()
  await sink.write({ kind: 'data', bytes: noise(9_000_000, 'dropped') })
  assert.throws(() => writer.openFile(), /open/)
  sink.abort()
  const content = Buffer.from('next')
  assert.deepEqual((await storeFile(writer, content)).size, 4)
})

test('after a failed put nothing is committed, and the next save brings everything', async () => {
  const files = new Map<string, Buffer>()
  const memory = openMemory({ files })
  await initRepository({ backend: memory, keys: [cheapKey] })
  let packs = 0
  const failing = {
    ...memory,
    put: async (...[file, data]: Parameters<typeof memory.put>) => {
      if (file.kind === 'pack' && ++packs === 2) throw new Error('the disk broke')
      await memory.put(file, data)
    },
  }
  const broken = await reopen(failing, { packBytes: 1_000_000 })
  const contents = [noise(4_000_000, 'a'), noise(4_000_000, 'b')]
  await assert.rejects(save(broken, contents), /the disk broke/)
  const again = await reopen(files)
  assert.deepEqual(await Array.fromAsync(again.snapshotIds()), [])
  const snapshot = await save(again, contents)
  const found = await readAll(await reopen(files))
  assert.ok(found.get(`${snapshot.id}/files/1`)?.equals(contents[1] ?? assert.fail()))
  assert.deepEqual(
    [...files.keys()].filter((name) => name.startsWith('lock/')),
    [],
  )
})

test('threads that ended after the content begin anew where more follows, and everything is counted', async () => {
  const { repository, files } = await makeRepository({ packBytes: 1024 * 1024 })
  await using writer = await repository.beginWrite()
  assert.equal(await writer.endLanes(), false)
  const contents = [noise(9_000_000, 'first'), noise(9_000_000, 'second'), noise(1000, 'little')]
  const stored = []
  for (const content of contents) {
    const sink = writer.openFile({ size: content.length })
    await sink.write({ kind: 'data', bytes: content })
    stored.push(await sink.finish())
    assert.equal(await writer.endLanes(), content.length > 1000)
  }
  const tree = await writer.storeTree(
    stored.map(({ content, size }, at) => fileNode(`${at}`, { content, size })),
  )
  await writer.commit(snapshotOf(tree))
  assert.ok(writer.statistics().newBytes > 18_000_000)
  const reader = await reopen(files)
  for (const [at, { content }] of stored.entries())
    assert.ok((await readContent(reader, content)).equals(contents[at] ?? assert.fail()))
})

test('disposed without a commit, the next save finds what was stored', async () => {
  const { repository, files } = await makeRepository()
  const content = noise(3_000_000, 'kept')
  {
    await using writer = await repository.beginWrite()
    await storeFile(writer, content)
  }
  const next = await reopen(files)
  await using writer = await next.beginWrite()
  await storeFile(writer, content)
  assert.equal(writer.statistics().newBlobs, 0)
})

test('packs that no index names are taken in, damaged ones are not', async () => {
  const { repository, files } = await makeRepository({ packBytes: 1_000_000 })
  const content = noise(3_000_000, 'unindexed')
  await save(repository, [content])
  for (const name of [...files.keys()]) if (/^(index|snapshot)\//.test(name)) files.delete(name)
  const packs = [...files.keys()].filter((name) => name.startsWith('pack/'))
  const [first = '', second = ''] = packs
  files.set(first, files.get(first)?.subarray(0, -1) ?? assert.fail())
  files.get(second)?.writeUInt8(1, 50)
  const next = await reopen(files)
  const snapshot = await save(next, [content])
  assert.ok((await readAll(await reopen(files))).get(`${snapshot.id}/files/0`)?.equals(content))
  const { files: fresh } = await makeRepository()
  assert.equal([...fresh.keys()].filter((name) => name.startsWith('pack/')).length, 0)
})

test('what an index names but is gone or cut off is stored again', async () => {
  const { repository, files } = await makeRepository({ packBytes: 1_000_000 })
  const content = noise(3_000_000, 'healed')
  await save(repository, [content])
  const packs = [...files.keys()].filter((name) => name.startsWith('pack/'))
  files.delete(packs[0] ?? '')
  files.set(packs[1] ?? '', files.get(packs[1] ?? '')?.subarray(0, 1000) ?? assert.fail())
  files.delete(packs.at(-1) ?? '')
  const next = await reopen(files)
  const snapshot = await save(next, [content])
  assert.ok((await readAll(await reopen(files))).get(`${snapshot.id}/files/0`)?.equals(content))
})

test('behind a damaged index everything is still read, and a save stores it again rather than rely on it', async () => {
  const { repository, files } = await makeRepository({ packBytes: 1_000_000 })
  const content = noise(3_000_000, 'behind an index')
  const first = await save(repository, [content])
  const index = [...files.keys()].find((name) => name.startsWith('index/')) ?? assert.fail()
  const bytes = files.get(index) ?? assert.fail()
  files.set(index, Buffer.concat([bytes.subarray(0, 100), Buffer.of(1), bytes.subarray(101)]))
  const told: string[] = []
  const reader = await reopen(files, { onIndexDamage: (id) => void told.push(`index/${id}`) })
  assert.ok((await readAll(reader)).get(`${first.id}/files/0`)?.equals(content))
  assert.deepEqual(told, [index])
  const second = await save(reader, [content])
  files.delete(index)
  assert.ok((await readAll(await reopen(files))).get(`${second.id}/files/0`)?.equals(content))
})

test('a reader that opened before sees what another program saved since', async () => {
  const { repository, files } = await makeRepository()
  await save(repository, [Buffer.from('one')])
  const reader = await reopen(files)
  await readAll(reader)
  const second = await save(await reopen(files), [Buffer.from('two')])
  assert.equal((await readAll(reader)).get(`${second.id}/files/0`)?.toString(), 'two')
})

for (const order of ['before', 'after'] as const) {
  test(`an index does not count that is superseded by one listed ${order} it, also beside a damaged one`, async () => {
    const { repository, files } = await makeRepository()
    const lost = await save(repository, [Buffer.from('x')])
    const [old = ''] = namesOf(files, 'index')
    const kept = await save(await reopen(files), [Buffer.from('y')])
    const [other = ''] = namesOf(files, 'index').filter((name) => name !== old)
    const { writeSealedJson } = await import('./sealed-file.ts')
    const { openKeys } = await import('./keys.ts')
    const { openCipher } = await import('./cipher.ts')
    const backend = openMemory({ files })
    for await (const { masterKey } of openKeys({ backend, passwords: [password] })) {
      const vault = { backend, cipher: openCipher(masterKey) }
      await writeSealedJson(vault, 'index', { supersedes: [old.slice(6)], packs: [] })
    }
    if (order === 'before') {
      // What was put last is listed last.
      const bytes = files.get(old) ?? assert.fail()
      files.delete(old)
      files.set(old, bytes)
    }
    await assert.rejects((await reopen(files)).readTree(lost.tree), { code: 'integrity.missing' })
    assert.ok(await (await reopen(files)).readTree(kept.tree))
    files.set(other, Buffer.alloc(100))
    // Packs that no index names are read by their own headers then: the superseded one's, too.
    const reader = await reopen(files, { onIndexDamage: () => {} })
    for (const { tree } of [kept, lost]) assert.ok(await reader.readTree(tree))
  })
}

test('there is no repository before its config, one afterwards, and never two', async () => {
  const files = new Map<string, Buffer>()
  await assert.rejects(reopen(files), { code: 'store.missing' })
  const first = await initRepository({ backend: openMemory({ files }), keys: [cheapKey] })
  await assert.rejects(initRepository({ backend: openMemory({ files }), keys: [cheapKey] }), {
    code: 'exists',
  })
  assert.equal((await reopen(files)).id, first.id)
  assert.equal([...files.keys()].filter((name) => name.startsWith('key/')).length, 1)
})

test('of two that make a repository at once, one wins and opens', async () => {
  for (let round = 0; round < 5; round++) {
    const files = new Map<string, Buffer>()
    const both = await Promise.allSettled(
      [1, 2].map(async () => await initRepository({ backend: openMemory({ files }), keys: [cheapKey] })),
    )
    assert.equal(both.filter(({ status }) => status === 'fulfilled').length, 1)
    await reopen(files)
    assert.equal([...files.keys()].filter((name) => name.startsWith('key/')).length, 1)
  }
})

test('a place with data whose config was lost is not made anew', async () => {
  const { repository, files } = await makeRepository()
  await save(repository, [Buffer.from('precious')])
  files.delete('config/')
  await assert.rejects(initRepository({ backend: openMemory({ files }), keys: [cheapKey] }), {
    code: 'exists',
  })
})

test('the key that a broken-off init left is passed over, and removed by the next one', async () => {
  const { files: broken } = await makeRepository()
  const { files } = await makeRepository()
  const left = [...broken].filter(([name]) => name.startsWith('key/'))
  for (const [name, data] of left) files.set(name, data)
  await reopen(files)
  const begun = new Map(left)
  await initRepository({ backend: openMemory({ files: begun }), keys: [cheapKey] })
  assert.ok(!begun.has(left[0]?.[0] ?? ''))
  await reopen(begun)
})

test('a polynomial is taken over', async () => {
  const { repository } = await makeRepository()
  const { repository: share, files } = await makeRepository({ polynomial: repository.chunker.polynomial })
  assert.equal(share.chunker.polynomial, repository.chunker.polynomial)
  assert.deepEqual((await reopen(files)).chunker, repository.chunker)
})

test('a wrong key, a damaged key file and a config of another key are told apart', async () => {
  const { files } = await makeRepository()
  const open = async (secret: string) =>
    await openRepository({ backend: openMemory({ files }), secrets: [Buffer.from(secret)] })
  await assert.rejects(open('wrong'), { code: 'auth.key' })
  const [name = '', data = Buffer.alloc(0)] = [...files].find(([file]) => file.startsWith('key/')) ?? []
  files.set(name, Buffer.from(data.toString().replace(/"data":"..../, '"data":"AAAA')))
  await assert.rejects(open('of a test'), (error: Error) => /key file [0-9a-f]{8}/.test(error.message))
  files.set(name, Buffer.from('not json'))
  await assert.rejects(open('of a test'), { code: 'integrity.format' })
  files.delete(name)
  await assert.rejects(open('of a test'), { code: 'integrity.missing' })
})

test('a key file that asks for too much is not tried', async () => {
  const { files } = await makeRepository()
  const [name = '', data = Buffer.alloc(0)] = [...files].find(([file]) => file.startsWith('key/')) ?? []
  for (const cost of ['"N":1073741824', '"N":1025', '"N":-2', '"N":"x"']) {
    files.set(name, Buffer.from(data.toString().replace('"N":1024', cost)))
    await assert.rejects(reopen(files), { code: 'integrity.format' })
  }
})

test('a second key opens too, the hinted key is tried first, and the id of the one that fits is told', async () => {
  const { repository, files } = await makeRepository()
  const second = await repository.addKey({ ...cheapKey, password: Buffer.from('another') })
  const opened = await openRepository({
    backend: openMemory({ files }),
    secrets: [Buffer.from('another')],
    keyHint: second,
  })
  assert.equal(opened.keyId, second)
  const both = await openRepository({
    backend: openMemory({ files }),
    secrets: [Buffer.from('no'), password, Buffer.from('another')],
    keyHint: second,
  })
  assert.equal(both.keyId, second)
})

test('a repository that may only be read is read without a lock and refuses every change', async () => {
  const { repository, files } = await makeRepository()
  const snapshot = await save(repository, [Buffer.from('x')])
  const reader = await openRepository({ backend: openMemory({ files, readOnly: true }), secrets: [password] })
  assert.equal(reader.readOnly, true)
  assert.equal((await readAll(reader)).size, 1)
  {
    await using _ = await reader.lock('shared')
  }
  await assert.rejects(reader.beginWrite(), { code: 'unsupported' })
  await assert.rejects(reader.lock('exclusive'), { code: 'unsupported' })
  await assert.rejects(reader.removeSnapshot(snapshot.id), { code: 'unsupported' })
})

test('damaged snapshots are named and the others still listed', async () => {
  const { repository, files } = await makeRepository()
  const kept = await save(repository, [Buffer.from('kept')])
  const lost = await save(repository, [Buffer.from('lost')])
  files.get(`snapshot/${lost.id}`)?.writeUInt8(0, 40)
  const reader = await reopen(files)
  await assert.rejects(Array.fromAsync(reader.snapshots()), { code: 'integrity.hash' })
  const damaged: string[] = []
  const rest = await Array.fromAsync(reader.snapshots({ onDamage: (id) => damaged.push(id) }))
  assert.deepEqual([rest.map(({ id }) => id), damaged], [[kept.id], [lost.id]])
})

test('a signal ends a save, and what was stored is kept', async () => {
  const { repository, files } = await makeRepository()
  const abort = new AbortController()
  const content = noise(3_000_000, 'cut off')
  await assert.rejects(async () => {
    await using writer = await repository.beginWrite({ signal: abort.signal })
    await storeFile(writer, content)
    abort.abort(new Error('stopped by the user'))
    await writer.commit(snapshotOf(await writer.storeTree([])))
  }, /stopped by the user/)
  assert.deepEqual(
    [...files.keys()].filter((name) => /^(lock|snapshot)\//.test(name)),
    [],
  )
  const next = await reopen(files)
  await using writer = await next.beginWrite()
  await storeFile(writer, content)
  assert.equal(writer.statistics().newBlobs, 0)
})
