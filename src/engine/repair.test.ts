import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Backend } from '../backend/backend.ts'
import { openMemory } from '../backend/memory.ts'
import { VmlError } from '../base/failure.ts'
import { silentReporter } from '../base/progress.ts'
import type { Snapshot } from '../model/entry.ts'
import { type LostPath, parseLost } from '../model/lost.ts'
import type { Repository } from '../store/store.ts'
import {
  assertAllAccounted,
  assertNothingLost,
  type Files,
  makeLogbook,
  openAny,
  openDamaged,
  readEverything,
  repairIt,
} from '../../test/damage.ts'
import { documentOf } from '../../test/entries.ts'
import {
  cheapKey,
  fakeClock,
  fileNode,
  folderNode,
  namesOf,
  noise,
  reopen,
  storeFile,
} from '../../test/store-fixture.ts'
import { openCatalog } from '../catalog/catalog.ts'
import { encodeEntryDocument } from '../model/documents.ts'
import type { RawPath } from '../model/raw-path.ts'
import { initRepository } from '../store/repository.ts'
import { entryIdOf, listEntries, ownTags, readEntryDocument, readVmlFile } from './entries.ts'
import { openProtection } from './protection.ts'
import { openRepair } from './repair.ts'
import { storeVmlFolder } from './vml-folder.ts'

const whole = await makeLogbook()
const everything = await readEverything(await openAny(whole))

function flip(files: Files, name: string, at: number): void {
  const changed = Buffer.from(files.get(name) ?? assert.fail(`No ${name}`))
  changed[at] = (changed[at] ?? 0) ^ 1
  files.set(name, changed)
}

/** The pack that holds a blob of a file of entry 3, and where in it. */
async function placeOf(files: Files, path: readonly string[], part: number): Promise<[string, number]> {
  const repository = await openAny(files)
  const node = await nodeAt(repository, await entry(repository, 3), path)
  const id = node.content?.[part] ?? assert.fail()
  // Which pack it is tells the failure once they are all gone.
  const gone: Files = new Map([...files].filter(([name]) => !name.startsWith('pack/')))
  const failure: unknown = await (await openAny(gone)).readBlob(id).catch((error: unknown) => error)
  assert.ok(failure instanceof VmlError)
  const pack = `pack/${String(failure.details['pack'])}`
  const content = files.get(pack) ?? assert.fail()
  // The only blob of its kind that a flip there takes away.
  for (let at = 20; at < content.length; at += 400) {
    const tried: Files = new Map(files)
    flip(tried, pack, at)
    if (
      await (await openAny(tried)).readBlob(id).then(
        () => false,
        () => true,
      )
    )
      return [pack, at]
  }
  return assert.fail()
}

async function entry(repository: Repository, number: number): Promise<Snapshot> {
  for await (const snapshot of repository.snapshots())
    if (snapshot.tags.includes(`vml:n=${number}`)) return snapshot
  return assert.fail(`No entry #${number}`)
}

async function nodeAt(repository: Repository, { tree }: Snapshot, path: readonly string[]) {
  let at = tree
  for (const [depth, name] of path.entries()) {
    const node = (await repository.readTree(at)).find((each) => each.name === name)
    if (!node) return assert.fail(`No ${path.join('/')}`)
    if (depth === path.length - 1) return node
    at = node.subtree ?? assert.fail()
  }
  return assert.fail()
}

async function lostOf(repository: Repository, snapshot: Snapshot): Promise<readonly LostPath[]> {
  return parseLost((await readVmlFile(repository, snapshot, 'lost.json')) ?? assert.fail('No lost.json'))
}

test('a sound logbook has nothing to repair', async () => {
  const files: Files = new Map(whole)
  await using logbook = await openDamaged(files)
  assert.equal((await repairIt(logbook)).changes, false)
  assert.deepEqual([...files.keys()].sort(), [...whole.keys()].sort())
})

test('a file that lost a part is not there any more; what is left of it lies under /.vml/lost, and its entry keeps id, number and title', async () => {
  const files: Files = new Map(whole)
  const before = await entry(await openAny(files), 3)
  flip(files, ...(await placeOf(files, ['home', 'lab', 'big.bin'], 0)))
  await using logbook = await openDamaged(files)
  const plan = await repairIt(logbook)
  assert.deepEqual(
    plan.entries.filter(({ number }) => number === 3).map(({ entry: id, lost }) => [id, lost]),
    [[before.id, [{ path: '/home/lab/big.bin', type: 'file', size: 1_600_000 }]]],
  )
  const repository = await openAny(files)
  const after = await entry(repository, 3)
  assert.equal(entryIdOf(after), before.id)
  assert.deepEqual([after.time, after.description, after.hostname], [before.time, before.description, 'lab'])
  await assert.rejects(nodeAt(repository, after, ['home', 'lab', 'big.bin']))

  const [lost, ...more] = await lostOf(repository, after)
  assert.ok(lost?.rest !== undefined && lost.missing?.length === 1 && more.length === 0)
  const rest = await nodeAt(repository, after, ['.vml', 'lost', lost.rest])
  const parts: Buffer[] = []
  for (const id of rest.content ?? []) parts.push(await repository.readBlob(id))
  const [gap] = lost.missing
  const expected = noise(1_600_000, 'big').fill(0, gap?.offset, (gap?.offset ?? 0) + (gap?.length ?? 0))
  assert.ok(Buffer.concat(parts).equals(expected))

  const document = (await readEntryDocument(repository, after)) ?? assert.fail()
  assert.equal(document.outcome, 'partial')
  assert.deepEqual(
    document.problems.map(({ path, problem }) => [path, problem]),
    [['/home/lab/big.bin', 'unreadable']],
  )
  const protection = await openProtection({ repository, tree: after.tree, document })
  assert.notEqual(protection('/home/lab/big.bin' as RawPath, false), undefined)
  assert.equal((await listEntries(logbook)).find(({ number }) => number === 3)?.facts?.outcome, 'partial')
})

test('an entry whose snapshot file is damaged is found again in the catalogue, else by the document in its tree', async () => {
  for (const known of [true, false]) {
    const files: Files = new Map(whole)
    const second = await entry(await openAny(files), 2)
    flip(files, `snapshot/${second.id}`, 30)
    await using logbook = await openDamaged(files, known ? whole : undefined)
    const plan = await repairIt(logbook)
    assert.deepEqual(
      plan.entries.map(({ number, entry: id, recoveredFrom }) => [number, id, recoveredFrom]),
      [[2, second.id, known ? 'catalogue' : 'tree']],
    )
    assert.equal(plan.loses, false)
    const after = await readEverything(await openAny(files))
    assertNothingLost(everything, after, 'snapshot')
    const found = await entry(await openAny(files), 2)
    assert.deepEqual(
      [found.tree, found.time, found.description, found.username],
      [second.tree, second.time, second.description, second.username],
    )
    assert.equal(found.tags.includes('recovered'), !known)
  }
})

test('of two damaged snapshot files that nobody knows both entries are found by their trees, under new ids', async () => {
  const files: Files = new Map(whole)
  const names = await Promise.all(
    [1, 3].map(async (number) => (await entry(await openAny(files), number)).id),
  )
  for (const id of names) files.set(`snapshot/${id}`, Buffer.alloc(100))
  await using logbook = await openDamaged(files)
  const plan = await repairIt(logbook)
  assert.deepEqual([...plan.unknownSnapshots].sort(), names.sort())
  const numbers = (await listEntries(logbook)).map(({ number }) => number)
  assert.deepEqual(numbers, [1, 2, 3, undefined])
})

test('what comes back by other means is not lost: a damaged pack and one that is gone', async () => {
  const files: Files = new Map(whole)
  const [damagedPack = '', missingPack = ''] = namesOf(files, 'pack').toSorted(
    (left, right) => (files.get(right)?.length ?? 0) - (files.get(left)?.length ?? 0),
  )
  flip(files, damagedPack, 5000)
  files.delete(missingPack)
  const asked: string[] = []
  await using logbook = await openDamaged(files)
  const plan = await repairIt(logbook, {
    heal: async (pack, ranges) => {
      asked.push(pack)
      if (damagedPack.endsWith(pack))
        assert.ok(ranges.some(({ offset, length }) => offset <= 5000 && 5000 < offset + length))
      return whole.get(`pack/${pack}`)
    },
  })
  assert.ok(asked.length >= 2 && !plan.loses)
  assert.deepEqual(
    plan.packs.map(({ healed, lost }) => [healed, lost]),
    [
      [true, 0],
      [true, 0],
    ],
  )
  assert.ok(files.has(missingPack))
  const repository = await openAny(files)
  assertNothingLost(everything, await readEverything(repository), 'healed')
  assert.deepEqual((await repository.check({ readData: true, reporter: silentReporter })).findings, [])
})

test('bytes that claim to heal and have another hash are not taken', async () => {
  const files: Files = new Map(whole)
  const [pack = ''] = namesOf(files, 'pack')
  flip(files, pack, 100)
  await using logbook = await openDamaged(files)
  const plan = await repairIt(logbook, { heal: async () => Buffer.from('something else'), look: true })
  assert.deepEqual(
    plan.packs.map(({ healed }) => healed),
    [false],
  )
})

test('a repair that only looks changes nothing and lets others write', async () => {
  const files: Files = new Map(whole)
  for (const name of [...namesOf(files, 'pack'), ...namesOf(files, 'index')]) flip(files, name, 60)
  const before = new Map(files)
  await using logbook = await openDamaged(files)
  await using shared = await logbook.repository.lock('shared')
  void shared
  const plan = await repairIt(logbook, { look: true })
  assert.ok(plan.changes && plan.loses)
  files.forEach((data, name) => {
    if (!name.startsWith('lock/')) assert.equal(data, before.get(name))
  })
  await assert.rejects(repairIt(logbook), { code: 'store.locked' })
})

test('where the storage cannot set files aside, copies of them are kept elsewhere, and packs stay where they are', async () => {
  const files: Files = new Map(whole)
  const [pack = ''] = namesOf(files, 'pack')
  const [index = ''] = namesOf(files, 'index')
  flip(files, pack, 100)
  flip(files, index, 100)
  const damagedIndex = files.get(index)
  const { setAside: _without, ...backend } = openMemory({ files })
  const repository = await reopen(backend, { clock: fakeClock() })
  const kept: [string, Buffer][] = []
  await using catalog = Object.assign(openCatalog(':memory:'), {
    async [Symbol.asyncDispose]() {},
  })
  await repairIt(
    { repository, catalog },
    {
      keepCopy: async ({ kind, name }, content) => {
        kept.push([`${kind}/${name}`, content])
        return `/kept/${kind}`
      },
    },
  )
  assert.ok(kept.some(([name, content]) => name === index && damagedIndex?.equals(content)))
  assert.ok(files.has(pack) && !files.has(index))
  const again = await reopen(backend, { clock: fakeClock() })
  assert.equal((await repairIt({ repository: again, catalog })).changes, false)
})

test('a safety entry that lost a path does not say that there was nothing before', async () => {
  const files: Files = new Map()
  const repository = await initRepository({
    backend: openMemory({ files }),
    keys: [cheapKey],
    packBytes: 600_000,
  })
  const at = '2026-11-11T10:00:00Z'
  const rootOf = (path: string) => ({
    path,
    raw: Buffer.from(path).toString('base64'),
    why: 'safety' as const,
  })
  {
    await using writer = await repository.beginWrite()
    const document = {
      ...documentOf({ title: 'before', at, files: {} }, { number: 1, machine: 'lab', kind: 'safety' }),
      roots: [rootOf('/etc/kept'), rootOf('/etc/gone'), rootOf('/etc/new')],
    }
    const vml = await storeVmlFolder(
      writer,
      [{ name: 'entry.json', bytes: encodeEntryDocument(document) }],
      0,
    )
    const etc = await writer.storeTree([
      fileNode('gone', await storeFile(writer, noise(520_000, 'gone'))),
      fileNode('kept', await storeFile(writer, noise(520_000, 'kept'))),
    ])
    await writer.commit({
      time: at,
      tree: await writer.storeTree([vml, folderNode('etc', etc)]),
      paths: ['/etc/kept', '/etc/gone'],
      hostname: 'lab',
      username: 'lab',
      tags: ownTags({ number: 1, kind: 'safety' }),
    })
  }
  const packs = namesOf(files, 'pack').filter((name) => (files.get(name)?.length ?? 0) > 500_000)
  flip(files, packs[0] ?? assert.fail(), 1000)
  await using logbook = await openDamaged(files)
  const plan = await repairIt(logbook)
  const [lost = ''] = plan.entries.flatMap((each) => each.lost.map(({ path }) => path))
  const repaired = await openAny(files)
  const document = await readEntryDocument(repaired, await entry(repaired, 1))
  assert.match(lost, /^\/etc\/(?:gone|kept)$/)
  assert.deepEqual(
    document?.roots.map(({ path }) => path),
    ['/etc/kept', '/etc/gone', '/etc/new'].filter((path) => path !== lost),
  )
})

/** Every call from the n-th on fails, as if the computer had lost its power. */
function cutOff(backend: Backend, at: number, count: { calls: number }): Backend {
  const step = async <T>(call: () => Promise<T>): Promise<T> => {
    if (++count.calls >= at) throw new Error('cut off')
    return await call()
  }
  return {
    ...backend,
    put: async (...put) => await step(async () => await backend.put(...put)),
    get: async (...get) => await step(async () => await backend.get(...get)),
    size: async (...size) => await step(async () => await backend.size(...size)),
    remove: async (...remove) => await step(async () => await backend.remove(...remove)),
    setAside: async (...aside) => await step(async () => (await backend.setAside?.(...aside)) ?? ''),
  }
}

test('cut off at any call of the storage, a repair loses nothing, and the next one ends it', async (context) => {
  const damaged: Files = new Map(whole)
  flip(damaged, ...(await placeOf(damaged, ['home', 'lab', 'big.bin'], 0)))
  const [index = ''] = namesOf(damaged, 'index')
  flip(damaged, index, 70)
  damaged.set(`snapshot/${(await entry(await openAny(whole), 2)).id}`, Buffer.from('noise'))
  const key = namesOf(damaged, 'key').at(-1) ?? assert.fail()
  damaged.set(key, Buffer.concat([damaged.get(key) ?? assert.fail(), Buffer.from(' ')]))
  // What a reader that gets along without that index can read.
  const sound: Files = new Map(damaged)
  sound.set(index, whole.get(index) ?? assert.fail())
  const before = await readEverything(await openAny(sound))

  const count = { calls: 0 }
  let cuts = 0
  let changed = 0
  for (let at = 1; ; at++) {
    const files: Files = new Map(damaged)
    count.calls = 0
    const backend = cutOff(openMemory({ files }), Number.POSITIVE_INFINITY, count)
    const repository = await reopen(backend, { clock: fakeClock() })
    using catalog = openCatalog(':memory:')
    const opened = count.calls
    // From here on the storage ends after `at` further calls.
    const cut = await reopen(cutOff(openMemory({ files }), opened + at, { calls: 0 }), { clock: fakeClock() })
    await repository[Symbol.asyncDispose]()
    try {
      await using repair = await openRepair(
        { repository: cut, catalog },
        { readData: true, look: false, reporter: silentReporter },
      )
      await repair.run()
      break
    } catch (error) {
      assert.match(error instanceof Error ? error.message : '', /cut off/)
    }
    cuts++
    for (const name of namesOf(files, 'lock')) files.delete(name)
    // Most cuts come while it still looks.
    if (files.size === damaged.size && [...damaged].every(([name, data]) => files.get(name) === data))
      continue
    changed++
    // Index files that are still damaged would stop this reader from anything.
    const readable: Files = new Map(files)
    if (readable.has(index)) readable.set(index, whole.get(index) ?? assert.fail())
    assertNothingLost(before, await readEverything(await openAny(readable)), `cut off at ${at}`)
    await using logbook = await openDamaged(files)
    await repairIt(logbook)
    const repaired = await openAny(files)
    const after = await readEverything(repaired)
    assertNothingLost(before, after, `cut off at ${at}, then repaired`)
    await assertAllAccounted(everything, repaired, after, { unknown: false, note: `cut off at ${at}` })
    const { findings } = await repaired.check({ readData: true, reporter: silentReporter })
    assert.deepEqual(findings, [], `cut off at ${at}`)
    assert.deepEqual(
      (await listEntries(logbook)).map(({ number }) => number),
      [1, 2, 3, undefined],
    )
  }
  context.diagnostic(`cut off at ${cuts} calls, ${changed} of them after the first write`)
  assert.ok(changed > 10)
})
