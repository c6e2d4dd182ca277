import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { array, assert as hold, asyncProperty, constant, nat, oneof, record } from 'fast-check'
import { openMemory } from '../backend/memory.ts'
import { silentReporter } from '../base/progress.ts'
import type { Snapshot } from '../model/entry.ts'
import type { PackId } from '../model/ids.ts'
import { openCipher } from './cipher.ts'
import { openKeys } from './keys.ts'
import { openMarksFile, openMemoryMarks, type PruneMarks } from './prune-marks.ts'
import { pruneRuleDefault, type PruneRule } from './prune-plan.ts'
import { readSealedJson, writeSealedJson, type Vault } from './sealed-file.ts'
import { readTreeReferences } from './tree-references.ts'
import {
  fakeClock,
  makeRepository,
  namesOf,
  noise,
  password,
  readAll,
  reopen,
  save,
} from '../../test/store-fixture.ts'

type Files = Map<string, Buffer>

const parts = Array.from({ length: 10 }, (_, seed) => noise(100_000 + seed * 30_000, `part ${seed}`))
const partOf = (seed: number) => parts[seed] ?? assert.fail('No such part')

interface Asked {
  readonly marks?: PruneMarks
  readonly now?: boolean
  readonly rule?: Partial<PruneRule>
  /** Called between the marking and the deletion. */
  readonly between?: () => Promise<void>
}

const options = { packBytes: 1_000_000, clock: fakeClock() }

async function prune(
  files: Files,
  { marks = openMemoryMarks(), now = false, rule = {}, between }: Asked = {},
) {
  const repository = await reopen(files, options)
  await using run = await repository.beginPrune({
    rule: { ...pruneRuleDefault, ...rule },
    marks,
    now,
    reporter: silentReporter,
  })
  const repacked = await run.mark()
  if (between) {
    // As `remove` begins: the shared lock is given back, the exclusive one not taken yet.
    await run[Symbol.asyncDispose]()
    await between()
  }
  return { plan: run.plan, repacked, done: await run.remove() }
}

async function forget(files: Files, ...ids: readonly Snapshot['id'][]) {
  const repository = await reopen(files, options)
  await using _lock = await repository.lock('exclusive')
  for (const id of ids) await repository.removeSnapshot(id)
}

function removeAll(files: Files, kind: string): void {
  for (const name of namesOf(files, kind)) files.delete(name)
}

function packBytesOf(files: Files): number {
  return namesOf(files, 'pack').reduce((sum, name) => sum + (files.get(name)?.length ?? 0), 0)
}

async function assertSound(files: Files) {
  const report = await (await reopen(files)).check({ readData: true, reporter: silentReporter })
  assert.deepEqual(report.findings, [])
  return report
}

async function openVault(files: Files): Promise<Vault> {
  const backend = openMemory({ files })
  for await (const { masterKey } of openKeys({ backend, passwords: [password] }))
    return { backend, cipher: openCipher(masterKey), version: 2 }
  return assert.fail('No key')
}

/** Two entries; only one of them has the first file, both have the second. */
async function makeHistory() {
  const { repository, files } = await makeRepository(options)
  const gone = await save(repository, [noise(3_000_000, 'gone'), noise(900_000, 'both')])
  const stays = await save(repository, [noise(900_000, 'both'), noise(700_000, 'stays')])
  return { files, gone, stays }
}

test('V62: what no snapshot needs is marked by one run and deleted by the next; all else stays', async () => {
  const { files, gone } = await makeHistory()
  await forget(files, gone.id)
  const expected = await readAll(await reopen(files))
  const before = packBytesOf(files)
  const marks = openMemoryMarks()
  const one = await prune(files, { marks })
  assert.deepEqual(one.done?.packs, [])
  assert.ok(packBytesOf(files) >= before)
  const two = await prune(files, { marks })
  assert.ok((two.done?.bytes ?? 0) >= 2_900_000)
  assert.ok(packBytesOf(files) < before - 2_500_000)
  assert.deepEqual(await readAll(await reopen(files)), expected)
  assert.deepEqual((await assertSound(files)).unusedPacks, [])
  // Nothing is left to do: nothing is written and nobody is locked out.
  const written = [...files.keys()]
  const three = await prune(files, { marks })
  assert.deepEqual([three.repacked.packs, three.done?.packs], [0, []])
  assert.deepEqual([...files.keys()], written)
})

test('with now, one run does both', async () => {
  const { files, gone, stays } = await makeHistory()
  await forget(files, gone.id)
  const expected = await readAll(await reopen(files))
  await prune(files, { now: true, rule: { maxUnused: { share: 0 } } })
  assert.deepEqual(await readAll(await reopen(files)), expected)
  const { unusedPacks, blobs } = await assertSound(files)
  assert.deepEqual(unusedPacks, [])
  const needed = new Set<string>()
  const repository = await reopen(files)
  const walk = async (tree: Snapshot['tree']): Promise<void> => {
    needed.add(tree)
    for (const node of await repository.readTree(tree)) {
      for (const blob of node.content ?? []) needed.add(blob)
      if (node.subtree !== undefined) await walk(node.subtree)
    }
  }
  await walk(stays.tree)
  assert.equal(blobs, needed.size)
})

test('a plan changes nothing, and what it says of sizes is what is stored', async () => {
  const { files, gone } = await makeHistory()
  await forget(files, gone.id)
  const before = [...files.keys()]
  const asked = { rule: pruneRuleDefault, marks: openMemoryMarks(), now: true, reporter: silentReporter }
  {
    await using run = await (await reopen(files, options)).beginPrune(asked)
    const { total, used, unused, repack, keptUnusedBytes } = run.plan
    assert.equal(total.bytes, packBytesOf(files))
    assert.equal(total.packs, namesOf(files, 'pack').length)
    assert.ok(used.bytes + unused.bytes + repack.bytes - repack.rewriteBytes + keptUnusedBytes <= total.bytes)
  }
  assert.deepEqual([...files.keys()], before)
})

test('a pack that a snapshot has used since its marking goes back', async () => {
  const { files, gone } = await makeHistory()
  await forget(files, gone.id)
  const marks = openMemoryMarks()
  const { plan } = await prune(files, { marks })
  assert.ok(plan.unused.packs.length > 0)
  await save(await reopen(files, options), [noise(3_000_000, 'gone')])
  const expected = await readAll(await reopen(files))
  const again = await prune(files, { marks })
  assert.ok(again.plan.back.packs.length > 0)
  assert.deepEqual(await readAll(await reopen(files)), expected)
  await assertSound(files)
})

test('a save between the marking and the deletion of one run loses nothing', async () => {
  const { files, gone } = await makeHistory()
  await forget(files, gone.id)
  let expected: Map<string, Buffer> | undefined
  const { plan, done } = await prune(files, {
    now: true,
    between: async () => {
      await save(await reopen(files, options), [noise(3_000_000, 'gone'), noise(500_000, 'new')])
      expected = await readAll(await reopen(files))
    },
  })
  assert.ok(plan.unused.packs.length > 0)
  assert.equal(done?.newSnapshots, 1)
  assert.ok(done.back.length > 0 && done.packs.length > 0, 'data is needed again, trees are not')
  assert.deepEqual(await readAll(await reopen(files)), expected)
  await assertSound(files)
})

test('where another prune ran in between, nothing is deleted and all is looked at again', async () => {
  const { files, gone } = await makeHistory()
  await forget(files, gone.id)
  const expected = await readAll(await reopen(files))
  const other = async () => void (await prune(files, { now: true }))
  const { done } = await prune(files, { now: true, between: other })
  assert.equal(done, undefined)
  assert.deepEqual(await readAll(await reopen(files)), expected)
  await prune(files, { now: true })
  assert.deepEqual((await assertSound(files)).unusedPacks, [])
})

test('packs that no index names stay for one run, and are deleted by the next', async () => {
  const { files, stays } = await makeHistory()
  const before = namesOf(files, 'pack')
  const other = await makeRepository(options)
  await save(other.repository, [noise(800_000, 'left behind')])
  for (const name of namesOf(other.files, 'pack')) files.set(name, other.files.get(name) ?? Buffer.alloc(0))
  const marks = openMemoryMarks()
  const one = await prune(files, { marks })
  assert.equal(one.plan.unindexed.packs.length, namesOf(other.files, 'pack').length)
  await prune(files, { marks })
  assert.deepEqual(namesOf(files, 'pack'), before)
  assert.ok([...(await readAll(await reopen(files))).keys()].some((path) => path.startsWith(stays.id)))
})

test('a marked pack without an index that a save took in since stays as long as it is needed', async () => {
  const { repository, files } = await makeRepository(options)
  const first = await save(repository, [noise(800_000, 'cut off')])
  for (const name of namesOf(files, 'index')) files.delete(name)
  files.delete(`snapshot/${first.id}`)
  const marks = openMemoryMarks()
  const { plan } = await prune(files, { marks })
  assert.ok(plan.unindexed.packs.length > 0)
  const again = await save(await reopen(files, options), [noise(800_000, 'cut off')])
  const { done } = await prune(files, { marks })
  assert.deepEqual(done?.packs, [])
  assert.equal((await readAll(await reopen(files))).get(`${again.id}/files/0`)?.length, 800_000)
})

test('what two programs stored at once is kept once', async () => {
  const { repository, files } = await makeRepository(options)
  const content = noise(2_500_000, 'twice')
  {
    // Both look before either has written.
    const other = await reopen(files, options)
    const { fileNode, snapshotOf, storeFile } = await import('../../test/store-fixture.ts')
    await using one = await repository.beginWrite()
    await using two = await other.beginWrite()
    for (const writer of [one, two]) {
      const stored = await storeFile(writer, content)
      await writer.commit(snapshotOf(await writer.storeTree([fileNode('0', stored)])))
    }
  }
  assert.ok(packBytesOf(files) > 5_000_000)
  const expected = await readAll(await reopen(files))
  const { plan } = await prune(files, { now: true })
  assert.ok(plan.duplicates.bytes >= 2_500_000)
  assert.ok(packBytesOf(files) < 2_600_000)
  assert.deepEqual(await readAll(await reopen(files)), expected)
  await assertSound(files)
})

test('many small packs become few', async () => {
  const { files } = await makeRepository(options)
  for (let at = 0; at < 12; at++) await save(await reopen(files, options), [noise(20_000, `small ${at}`)])
  const expected = await readAll(await reopen(files))
  const indexes = namesOf(files, 'index').length
  await prune(files, { now: true })
  assert.ok(namesOf(files, 'pack').length <= 3)
  assert.ok(namesOf(files, 'index').length < indexes)
  assert.deepEqual(await readAll(await reopen(files)), expected)
  await assertSound(files)
})

test('whatever cannot be read whole: nothing is deleted, nothing is written, and it is said', async () => {
  const { files: sound, gone, stays } = await makeHistory()
  await forget(sound, gone.id)
  const cases: Record<string, (files: Files) => void> = {
    'a snapshot was changed': (files) => void files.get(`snapshot/${stays.id}`)?.writeUInt8(1, 40),
    'an index is gone': (files) => removeAll(files, 'index'),
    'an index was changed': (files) =>
      void files.get(namesOf(files, 'index').toSorted()[0] ?? '')?.writeUInt8(1, 40),
    'all packs are gone': (files) => removeAll(files, 'pack'),
    'all packs are cut off': (files) => {
      for (const name of namesOf(files, 'pack'))
        files.set(name, files.get(name)?.subarray(0, 100) ?? Buffer.alloc(0))
    },
    'all packs were changed': (files) => {
      for (const name of namesOf(files, 'pack')) files.get(name)?.fill(7, 20, 60)
    },
  }
  for (const [what, damage] of Object.entries(cases)) {
    const files: Files = new Map([...sound].map(([name, data]) => [name, Buffer.from(data)]))
    damage(files)
    const before = [...files.keys()].toSorted()
    await assert.rejects(prune(files, { now: true, rule: { maxUnused: { share: 0 } } }), (error) => {
      assert.match(String((error as { code?: unknown }).code), /^integrity\./, what)
      return true
    })
    assert.deepEqual([...files.keys()].toSorted(), before, what)
  }
})

test('a blob that is damaged in the pack to be rewritten keeps every pack where it is', async () => {
  const { repository, files } = await makeRepository({ ...options, packBytes: 4_000_000 })
  const contents = [noise(900_000, 'a'), noise(900_000, 'b'), noise(900_000, 'c')]
  const gone = await save(repository, contents)
  await save(repository, contents.slice(1))
  await forget(files, gone.id)
  const largest = namesOf(files, 'pack').toSorted(
    (left, right) => (files.get(right)?.length ?? 0) - (files.get(left)?.length ?? 0),
  )[0]
  files.get(largest ?? '')?.fill(7, 2_000_000, 2_000_010)
  const before = namesOf(files, 'pack')
  await assert.rejects(prune(files, { now: true, rule: { maxUnused: { share: 0 } } }), {
    code: 'integrity.mac',
  })
  assert.ok(before.every((name) => files.has(name)))
})

test('whoever uses the logbook keeps a prune from deleting, not from marking', async () => {
  const { files, gone } = await makeHistory()
  await forget(files, gone.id)
  const marks = openMemoryMarks()
  const before = namesOf(files, 'pack')
  const other = await reopen(files, options)
  {
    await using _lock = await other.lock('shared')
    await assert.rejects(prune(files, { marks, now: true }), { code: 'store.locked' })
    assert.ok((await marks.read()).size > 0)
  }
  {
    await using _lock = await other.lock('exclusive')
    await assert.rejects(prune(files, { marks }), { code: 'store.locked' })
  }
  assert.ok(before.every((name) => files.has(name)))
  assert.ok(((await prune(files, { marks })).done?.packs.length ?? 0) > 0)
})

test('when the lock is lost while packs are deleted, no further one is', async () => {
  const { files, gone } = await makeHistory()
  await forget(files, gone.id)
  const expected = await readAll(await reopen(files))
  const clock = fakeClock()
  const memory = openMemory({ files })
  let removed = 0
  const asleep = {
    ...memory,
    traits: { ...memory.traits, connections: 1 },
    remove: async (...[file]: Parameters<typeof memory.remove>) => {
      await memory.remove(file)
      if (file.kind !== 'pack') return
      removed++
      // This computer slept for an hour, and somebody took the lock for stale.
      for (const name of namesOf(files, 'lock')) files.delete(name)
      await clock.pass(3_600_000)
    },
  }
  const repository = await reopen(asleep, { packBytes: 1_000_000, clock })
  const rule = { ...pruneRuleDefault, maxUnused: { share: 0 } }
  await using run = await repository.beginPrune({
    rule,
    marks: openMemoryMarks(),
    now: true,
    reporter: silentReporter,
  })
  await run.mark()
  await assert.rejects(run.remove(), { code: 'store.locked' })
  assert.equal(removed, 1)
  assert.deepEqual(await readAll(await reopen(files)), expected)
  await assertSound(files)
})

test('an index that another one supersedes neither counts nor comes back', async () => {
  const { files, gone } = await makeHistory()
  await forget(files, gone.id)
  const vault = await openVault(files)
  const [first = ''] = namesOf(files, 'index').toSorted()
  const name = first.slice('index/'.length)
  const old = await readSealedJson(vault, { kind: 'index', name })
  await writeSealedJson(vault, 'index', { ...(old as object), supersedes: [name] })
  const expected = await readAll(await reopen(files))
  await prune(files, { now: true, rule: { maxUnused: { share: 0 } } })
  assert.ok(!files.has(first))
  assert.deepEqual(await readAll(await reopen(files)), expected)
  await assertSound(files)
})

test('a pack of which two indexes name a part each is whole in the new one', async () => {
  const { files, gone } = await makeHistory()
  await forget(files, gone.id)
  const vault = await openVault(files)
  type Json = { packs: { id: string; blobs: unknown[] }[] }
  for (const name of namesOf(files, 'index')) {
    const { packs } = (await readSealedJson(vault, {
      kind: 'index',
      name: name.slice('index/'.length),
    })) as Json
    files.delete(name)
    const parts = [0, 1].map((part) => ({
      packs: packs
        .map(({ id, blobs }) => ({ id, blobs: blobs.filter((_, at) => at % 2 === part) }))
        .filter(({ blobs }) => blobs.length > 0),
    }))
    for (const part of parts) await writeSealedJson(vault, 'index', part)
    await writeSealedJson(vault, 'index', { packs })
  }
  const expected = await readAll(await reopen(files))
  await prune(files, { now: true })
  await prune(files, { now: true, rule: { maxUnused: { share: 0 } } })
  assert.deepEqual(await readAll(await reopen(files)), expected)
  await assertSound(files)
})

test('marks are a hint: lost, forged or of another logbook, they cost a run and no data', async () => {
  const { files, gone } = await makeHistory()
  const expected = await readAll(await reopen(files))
  const everything = namesOf(files, 'pack').map((name) => name.slice('pack/'.length) as PackId)
  const forged: PruneMarks = { read: async () => new Set(everything), write: async () => {} }
  const { plan } = await prune(files, { marks: forged, now: true, rule: { maxUnused: { share: 0 } } })
  assert.equal(plan.back.packs.length, everything.length)
  assert.deepEqual(await readAll(await reopen(files)), expected)
  await forget(files, gone.id)

  const folder = await mkdtemp(join(tmpdir(), 'vml-marks-'))
  try {
    const { id } = await reopen(files)
    const path = join(folder, 'prune', 'marks.json')
    const marks = openMarksFile(path, id)
    assert.equal((await marks.read()).size, 0)
    await marks.write(everything)
    assert.deepEqual(await marks.read(), new Set(everything))
    assert.equal((await openMarksFile(path, 'a'.repeat(64) as typeof id).read()).size, 0)
    const text = await readFile(path, 'utf8')
    for (const broken of ['', 'null', '[]', text.slice(0, 50), text.replace('"schema":1', '"schema":2')]) {
      await writeFile(path, broken)
      assert.equal((await marks.read()).size, 0)
    }
    await writeFile(path, text.replace('"packs":["', '"packs":[7,"../../etc","'))
    assert.deepEqual(await marks.read(), new Set(everything))
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('references of a tree are found whatever else stands in it, and a strange one is refused', () => {
  const [blob, tree] = ['a'.repeat(64), 'b'.repeat(64)]
  const find = (text: string) => {
    const found: string[] = []
    readTreeReferences(Buffer.from(text), {
      data: (id) => void found.push(`d${id[0]}`),
      tree: (id) => void found.push(`t${id[0]}`),
    })
    return found
  }
  const node = `{"name":"x","type":"of 2040","content":["${blob}","${blob}"],"deep":{"content":["no"]}}`
  assert.deepEqual(find(`{"nodes":[${node},{"name":"y","subtree":"${tree}","content":null}]}`), [
    'da',
    'da',
    'tb',
  ])
  assert.deepEqual(find('{"nodes":null}'), [])
  for (const strange of [
    '{}',
    '[]',
    '{"nodes":[{"content":["zz"]}]}',
    '{"nodes":[{"subtree":""}]}',
    `{"nodes":[{"content":"${blob}"}]}`,
    '{"nodes":[]} ',
    '{"nodes":[]}x',
  ]) {
    if (strange === '{"nodes":[]} ') assert.deepEqual(find(strange), [])
    else assert.throws(() => find(strange), { code: 'integrity.format' }, strange)
  }
})

test('random histories of saves, removals, prunes and lost marks keep exactly what their entries say', async () => {
  const part = nat(9)
  const step = oneof(
    record({ save: array(part, { minLength: 1, maxLength: 4 }) }),
    record({ save: array(part, { minLength: 1, maxLength: 4 }) }),
    record({ forget: nat(5) }),
    record({ prune: constant(false), share: nat(2) }),
    record({ prune: constant(true), share: nat(2) }),
    record({ lose: constant('marks') }),
    record({ lose: constant('index') }),
  )
  await hold(
    asyncProperty(array(step, { minLength: 4, maxLength: 12 }), async (steps) => {
      const { files } = await makeRepository(options)
      const kept = new Map<Snapshot['id'], readonly number[]>()
      let marks = openMemoryMarks()
      for (const each of steps) {
        if ('save' in each) {
          const repository = await reopen(files, options)
          const { id } = await save(
            repository,
            each.save.map((seed) => partOf(seed)),
          )
          kept.set(id, each.save)
        } else if ('forget' in each) {
          const id = [...kept.keys()][each.forget]
          if (id === undefined) continue
          await forget(files, id)
          kept.delete(id)
        } else if ('prune' in each) {
          await prune(files, { marks, now: each.prune, rule: { maxUnused: { share: each.share / 20 } } })
        } else if (each.lose === 'marks') marks = openMemoryMarks()
        else {
          // Killed after the packs and before the index: they are written again or taken in.
          const before = new Set(files.keys())
          await save(await reopen(files, options), [noise(90_000, `lost ${files.size}`)])
          for (const name of [...files.keys()])
            if (!before.has(name) && !name.startsWith('pack/')) files.delete(name)
        }
        const found = await readAll(await reopen(files))
        const expected = [...kept].flatMap(([id, parts]) =>
          parts.map((seed, at) => [`${id}/files/${at}`, partOf(seed)] as const),
        )
        assert.equal(found.size, expected.length)
        for (const [path, content] of expected) assert.ok(found.get(path)?.equals(content), path)
      }
      await prune(files, { marks, now: true, rule: { maxUnused: { share: 0 } } })
      const report = await assertSound(files)
      assert.deepEqual(report.unusedPacks, [])
    }),
    { numRuns: 14 },
  )
})
