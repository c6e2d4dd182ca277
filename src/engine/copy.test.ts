import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  copyAll,
  copyContext,
  makeLogbook,
  openLogbookAgain,
  saveEntry,
  storeFolder,
  type TestLogbook,
} from '../../test/copy-fixture.ts'
import { Died, type DyingBackend, openDying } from '../../test/dying-backend.ts'
import { noise, readAll } from '../../test/store-fixture.ts'
import type { Backend } from '../backend/backend.ts'
import { silentReporter } from '../base/progress.ts'
import type { Repository } from '../store/store.ts'
import { measureCopy, planCopy, runCopy } from './copy.ts'
import { importedTag, listEntries } from './entries.ts'

const files = {
  'home/a': noise(90_000, 'a'),
  'home/deep/er/b': noise(70_000, 'b'),
  'home/deep/c': Buffer.from('short'),
  'etc/d': noise(1000, 'd'),
}

test('an entry keeps id, number, tags, time, title and content; a second copy does nothing (Z9, G5)', async () => {
  const [from, into] = [await makeLogbook(), await makeLogbook()]
  const saved = await saveEntry(from.repository, { number: 3, day: 1, files, tags: ['paper'] })
  const first = await copyAll(from, into)
  assert.deepEqual(
    first.outcomes.map(({ outcome }) => outcome),
    ['copied'],
  )
  const [copied] = await listEntries(into)
  assert.ok(copied)
  const { id, original, ...kept } = copied.snapshot
  const { id: sourceId, ...fields } = saved
  assert.deepEqual(kept, fields)
  assert.equal(original, sourceId)
  assert.notEqual(id, sourceId)
  assert.deepEqual([copied.id, copied.number, copied.tags], [sourceId, 3, ['paper']])
  await assertSame(from, into)

  const before = new Map(into.files)
  const again = await copyAll(from, into)
  assert.deepEqual(
    again.outcomes.map(({ outcome }) => outcome),
    ['there'],
  )
  assert.deepEqual([...into.files.keys()].sort(), [...before.keys()].sort())
})

test('only what is missing is moved, and folders that an entry there has are not read (Y4)', async () => {
  const source = await makeLogbook()
  const into = await makeLogbook()
  await saveEntry(source.repository, { number: 1, day: 1, files })
  await copyAll(source, into)
  await saveEntry(source.repository, { number: 2, day: 2, files: { ...files, 'etc/new': noise(500, 'new') } })

  const trees: string[] = []
  const from = await openLogbookAgain(source.files)
  const watched = { ...from, repository: watchTrees(from.repository, trees) }
  const { counts } = await copyAll(watched, into, ({ number }) => number === 2)
  assert.deepEqual([counts.blobs, counts.trees], [1, 2])
  // The root of both, and etc of this one; nothing of home.
  assert.equal(new Set(trees).size, 3)
  await assertSame(source, into)
})

test('a folder that a killed writer left without its files is not taken for whole', async () => {
  const from = await makeLogbook()
  const into = await makeLogbook(from.repository.chunker.polynomial)
  await saveEntry(from.repository, { number: 1, day: 1, files })
  // As a kill leaves it: packs of folders stored and indexed, packs of data lost.
  {
    await using writer = await into.repository.beginWrite()
    await storeFolder(writer, files)
  }
  await dropDataPacks(into)
  const left = await openLogbookAgain(into.files)
  const [entry] = await listEntries(from)
  assert.ok(entry && (await left.repository.indexView()).has('tree', entry.snapshot.tree))
  await copyAll(from, left)
  await assertSame(from, left)
})

test('a number that another entry has there is replaced by one above all, and no other is shifted', async () => {
  const [from, into] = [await makeLogbook(), await makeLogbook()]
  await saveEntry(into.repository, { number: 1, day: 3, files: { x: noise(10, 'x') }, machine: 'other' })
  for (const number of [1, 2, 3]) await saveEntry(from.repository, { number, day: number, files })
  const { outcomes } = await copyAll(from, into)
  assert.deepEqual(
    outcomes.map(({ entry, number }) => [entry.number, number]),
    [
      [1, 4],
      [2, 2],
      [3, 3],
    ],
  )
  const numbers = (await listEntries(into)).map(({ number }) => number)
  assert.equal(new Set(numbers).size, 4)
  // A later copy finds it under the number that it got.
  assert.deepEqual(
    (await copyAll(from, into)).outcomes.map(({ outcome }) => outcome),
    ['there', 'there', 'there'],
  )
})

test('what was edited since is brought up to date, under the number that it has there', async () => {
  const [from, into] = [await makeLogbook(), await makeLogbook()]
  await saveEntry(into.repository, { number: 1, day: 3, files: { x: noise(10, 'x') }, machine: 'other' })
  const first = await saveEntry(from.repository, { number: 1, day: 1, files })
  await copyAll(from, into)
  await editEntry(from.repository, first.id, 'a better title')
  const { outcomes } = await copyAll(await openLogbookAgain(from.files), into)
  assert.deepEqual(
    outcomes.map(({ outcome }) => outcome),
    ['updated'],
  )
  const entries = await listEntries(into)
  assert.equal(entries.length, 2)
  const entry = entries.find(({ id }) => id === String(first.id))
  assert.deepEqual([entry?.title, entry?.number, entry?.twins], ['a better title', 2, []])
})

test('other content under the same id is left alone and told', async () => {
  const [from, into] = [await makeLogbook(), await makeLogbook()]
  const first = await saveEntry(from.repository, { number: 1, day: 1, files })
  {
    await using writer = await into.repository.beginWrite()
    const tree = await storeFolder(writer, { 'home/c': noise(10, 'scrubbed') })
    const { id, ...fields } = first
    await writer.commit({ ...fields, tree, original: id })
  }
  const { outcomes } = await copyAll(from, into)
  assert.deepEqual(
    outcomes.map(({ outcome }) => outcome),
    ['differs'],
  )
  assert.equal((await listEntries(into)).length, 1)
})

test('a parent is named by its snapshot there, where it is there', async () => {
  const [from, into] = [await makeLogbook(), await makeLogbook()]
  const first = await saveEntry(from.repository, { number: 1, day: 1, files })
  const second = await saveEntry(from.repository, { number: 2, day: 2, files, parent: first.id })
  await saveEntry(from.repository, { number: 3, day: 3, files, parent: second.id })
  await copyAll(from, into, ({ number }) => number !== 2)
  const parents = async () =>
    (await listEntries(into)).map(({ number, snapshot }) => [number, snapshot.parent])
  assert.deepEqual(await parents(), [
    [1, undefined],
    [3, undefined],
  ])
  await copyAll(from, into)
  const there = (await listEntries(into)).find(({ number }) => number === 1)
  assert.deepEqual(new Map((await parents()) as [number, unknown][]).get(2), there?.snapshot.id)
})

test('an imported entry stays marked, and what comes from somebody else becomes so', async () => {
  const [from, own, theirs] = [await makeLogbook(), await makeLogbook(), await makeLogbook()]
  await saveEntry(from.repository, { number: 1, day: 1, files, tags: [importedTag] })
  await saveEntry(from.repository, { number: 2, day: 2, files })
  await copyAll(from, own)
  await copyAll(from, theirs, () => true, { imported: true })
  const marks = async (logbook: TestLogbook) =>
    (await listEntries(logbook)).map(
      ({ snapshot }) => snapshot.tags.filter((tag) => tag === importedTag).length,
    )
  assert.deepEqual(await marks(own), [1, 0])
  assert.deepEqual(await marks(theirs), [1, 1])
})

test('an entry that was removed there meanwhile, with all its packs, is no base', async () => {
  const [from, into] = [await makeLogbook(), await makeLogbook()]
  const first = await saveEntry(from.repository, { number: 1, day: 1, files })
  await copyAll(from, into)
  await saveEntry(from.repository, { number: 2, day: 2, files: { ...files, 'etc/new': noise(500, 'new') } })
  await editEntry(from.repository, first.id, 'a better title')
  const context = await copyContext(from, into)
  const plan = planCopy(context.source, context)
  // Another program's rm and prune, between the look and the lock.
  for (const path of [...into.files.keys()]) if (/^(snapshot|index|pack)/.test(path)) into.files.delete(path)
  const late = await openLogbookAgain(into.files)
  await runCopy(plan, { ...context, into: late })
  await assertSame(from, late)
  await assertSound(late)
})

test('what the target has lost is copied again with the next entry that needs it, though an entry there has the same folder', async () => {
  const [from, into] = [await makeLogbook(), await makeLogbook()]
  const first = await saveEntry(from.repository, { number: 1, day: 1, files })
  await copyAll(from, into)
  const [present] = await listEntries(into)
  assert.ok(present)
  const packs = [...into.files.keys()].filter((path) => path.startsWith('pack'))
  assert.ok(packs.length > 1)
  await saveEntry(from.repository, { number: 2, day: 2, files: { ...files, 'etc/new': noise(500, 'new') } })
  for (const lost of packs) {
    const after = await openLogbookAgain(without(into.files, lost))
    await copyAll(from, after)
    await assertSame(
      await openLogbookAgain(without(from.files, `snapshot/${first.id}`)),
      await openLogbookAgain(without(after.files, `snapshot/${present.snapshot.id}`)),
    )
  }
})

test('an entry that cannot be read whole is left out, the others are copied, and nothing half shows', async () => {
  const from = await makeLogbook()
  await saveEntry(from.repository, { number: 1, day: 1, files: { 'home/good': noise(150_000, 'good') } })
  const packs = new Set(from.files.keys())
  await saveEntry(from.repository, { number: 2, day: 2, files: { 'home/bad': noise(150_000, 'bad') } })
  const added = [...from.files].filter(([path]) => path.startsWith('pack/') && !packs.has(path))
  const [largest] = added.sort(([, left], [, right]) => right.length - left.length)
  largest?.[1].fill(7, 100, 200)
  await saveEntry(from.repository, { number: 3, day: 3, files: { 'home/also': noise(150_000, 'also') } })
  const into = await makeLogbook()
  const { outcomes } = await copyAll(await openLogbookAgain(from.files), into)
  assert.deepEqual(
    outcomes.map(({ entry, outcome }) => [entry.number, outcome]),
    [
      [2, 'damaged'],
      [1, 'copied'],
      [3, 'copied'],
    ],
  )
  await assertSound(into)
  assert.deepEqual(
    (await listEntries(into)).map(({ number }) => number),
    [1, 3],
  )
})

test('a dry run counts what the copy then moves, and writes nothing', async () => {
  const [from, into] = [await makeLogbook(), await makeLogbook()]
  await saveEntry(from.repository, { number: 1, day: 1, files })
  await saveEntry(from.repository, { number: 2, day: 2, files: { ...files, 'etc/new': noise(500, 'new') } })
  const context = await copyContext(from, into)
  const before = [...into.files.keys()]
  const counted = await measureCopy(planCopy(context.source, context), context)
  assert.deepEqual([...into.files.keys()], before)
  const { counts } = await copyAll(from, into)
  assert.deepEqual(counted, { ...counts })
})

test('many small blobs are read by few requests', async () => {
  const source = await makeLogbook()
  const many = Object.fromEntries(
    Array.from({ length: 400 }, (_, at) => [`home/${at % 7}/${at}`, noise(300 + at, `small ${at}`)]),
  )
  await saveEntry(source.repository, { number: 1, day: 1, files: many })
  let gets = 0
  const from = await openLogbookAgain(source.files, (backend) => ({
    ...backend,
    get: async (...get) => {
      if (get[0].kind === 'pack') gets++
      return await backend.get(...get)
    },
  }))
  const into = await makeLogbook()
  await copyAll(from, into)
  await assertSame(source, into)
  assert.ok(gets < 20, `${gets} requests for 400 files`)
})

test('cut off before or after any operation, the target shows whole entries only, and the next copy goes on (Y5)', async (context) => {
  const from = await makeLogbook()
  const older = { 'home/old': noise(150_000, 'old') }
  await saveEntry(from.repository, { number: 1, day: 1, files: older })
  const start = await makeLogbook()
  await copyAll(from, start)
  await saveEntry(from.repository, { number: 2, day: 2, files: { ...older, ...files } })
  await saveEntry(from.repository, { number: 3, day: 3, files: { ...files, 'home/x': noise(190_000, 'x') } })
  const tally = { points: 0, whole: 0 }
  for (const when of ['before', 'after'] as const) {
    for (let at = 1; ; at++) {
      const place = new Map(start.files)
      let dying: DyingBackend | undefined
      const wrap = (backend: Backend) => (dying = openDying(backend, { at, when, die: () => {} }))
      const copying = openLogbookAgain(place, wrap).then(async (into) => await copyAll(from, into))
      const error = await copying.then(
        () => undefined,
        (reason: unknown) => reason,
      )
      if (error === undefined && (dying?.calls() ?? 0) < at) break
      if (error !== undefined && !(error instanceof Died)) throw error
      tally.points++
      const left = await openLogbookAgain(place)
      await assertSound(left)
      const there = await listEntries(left)
      assert.ok(there.some(({ number }) => number === 1))
      tally.whole += there.length - 1
      // What is not locked by a living process: the cut one is none.
      for (const path of [...place.keys()]) if (path.startsWith('lock/')) place.delete(path)
      const packs = new Map([...place].filter(([path]) => path.startsWith('pack/')))
      const again = await openLogbookAgain(place)
      await copyAll(from, again)
      await assertSame(from, again)
      for (const path of packs.keys()) assert.ok(place.has(path))
    }
  }
  context.diagnostic(`${tally.points} points, ${tally.whole} entries were whole at them`)
  assert.ok(tally.points > 40)
})

test('over random histories every copy holds what its source holds, whatever was there before', async () => {
  const content = fc.constantFrom(...['p', 'q', 'r', 's', 't'].map((seed) => noise(2000, seed)))
  const path = fc.constantFrom('a', 'b', 'f/a', 'f/b', 'f/g/a', 'f/g/b', 'h/a')
  const state = fc.uniqueArray(fc.tuple(path, content), { selector: ([name]) => name, minLength: 1 })
  await fc.assert(
    fc.asyncProperty(
      fc.array(state, { minLength: 1, maxLength: 5 }),
      fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
      async (history, early) => {
        const [from, into] = [await makeLogbook(), await makeLogbook()]
        for (const [at, entries] of history.entries())
          await saveEntry(from.repository, {
            number: at + 1,
            day: at + 1,
            files: Object.fromEntries(entries),
          })
        await copyAll(from, into, ({ number = 0 }) => early[number - 1] ?? false)
        const source = await openLogbookAgain(from.files)
        await copyAll(source, into)
        await assertSame(source, into)
        await assertSound(into)
      },
    ),
    { numRuns: 15 },
  )
})

function without(files: ReadonlyMap<string, Buffer>, path: string): Map<string, Buffer> {
  assert.ok(files.has(path))
  return new Map([...files].filter(([name]) => name !== path))
}

/** The same trees, every file read to its end. */
async function assertSame(from: TestLogbook, into: TestLogbook): Promise<void> {
  const trees = async ({ files: place }: TestLogbook) => {
    const { repository } = await openLogbookAgain(place)
    const found = new Map<string, Map<string, string>>()
    const all = await readAll(repository)
    for await (const { id, tree } of repository.snapshots())
      found.set(
        tree,
        new Map(
          [...all]
            .filter(([path]) => path.startsWith(id))
            .map(([path, bytes]) => [path.slice(64), bytes.toString('hex')]),
        ),
      )
    return found
  }
  const [left, right] = [await trees(from), await trees(into)]
  for (const [tree, content] of left) assert.deepEqual(right.get(tree), content)
}

async function assertSound({ files: place }: TestLogbook): Promise<void> {
  const { repository } = await openLogbookAgain(place)
  const { findings } = await repository.check({ readData: true, reporter: silentReporter })
  assert.deepEqual(
    findings.filter(({ severity }) => severity === 'damage'),
    [],
  )
}

function watchTrees(repository: Repository, trees: string[]): Repository {
  return {
    ...repository,
    readTree: async (...read) => {
      trees.push(read[0])
      return await repository.readTree(...read)
    },
    readTreeBytes: async (...read) => {
      trees.push(read[0])
      return await repository.readTreeBytes(...read)
    },
  }
}

/** Takes the packs of data away, and lets a writer make the index anew from what is left. */
async function dropDataPacks({ files: place }: TestLogbook): Promise<void> {
  for (const [path, { length }] of [...place])
    if (path.startsWith('index/') || (path.startsWith('pack/') && length > 10_000)) place.delete(path)
  const { repository } = await openLogbookAgain(place)
  await (await repository.beginWrite())[Symbol.asyncDispose]()
}

async function editEntry(
  repository: Repository,
  id: Parameters<Repository['readSnapshot']>[0],
  title: string,
) {
  const { id: old, ...fields } = await repository.readSnapshot(id)
  await using writer = await repository.beginWrite({ lock: 'exclusive' })
  await writer.commit({ ...fields, original: old, description: title, tags: [...fields.tags, 'vml:rev=1'] })
  await repository.removeSnapshot(old)
}
