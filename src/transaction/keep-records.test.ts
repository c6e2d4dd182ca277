import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { Died, openDying } from '../../test/dying-backend.ts'
import { documentOf, fileOf, recordTransaction } from '../../test/recorded-transaction.ts'
import { makeRepository, noise, reopen } from '../../test/store-fixture.ts'
import { openMemory } from '../backend/memory.ts'
import type { Clock } from '../base/clock.ts'
import { silentReporter as silent } from '../base/progress.ts'
import { rawFromString } from '../base/raw-text.ts'
import { openCatalog } from '../catalog/catalog.ts'
import { parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import { droppedReason, isDropped } from '../model/transaction-record.ts'
import type { PathChange } from '../model/transaction.ts'
import type { PackageState } from '../packages/package-system.ts'
import { pruneRuleDefault } from '../store/prune-plan.ts'
import { applyDelta } from '../wire/zstd-delta.ts'
import { nextEntryNumber } from '../engine/entries.ts'
import { checkPins } from './check-pins.ts'
import { keepRecords, type RecordKeeping, readTransactions } from './keep-records.ts'
import { listPins, pinContent, pinPath } from './pins.ts'
import { pruneMarksOf, runPruning } from '../engine/prune.ts'
import { planRemove } from '../engine/remove.ts'
import { planRecordRemoval, runRecordRemoval } from './remove-transactions.ts'
import { recordChanges } from './record-changes.ts'
import { describeExcess, fitRecords, planRecordBudget } from './record-budget.ts'
import { type MeasuredRecord, recordsGoing } from './records-going.ts'
import { rewriteTransaction } from './rewrite-transaction.ts'
import { openTransactionContents } from './transaction-contents.ts'

/** What happens to the files 0 to 3; a version of 0 is none. */
type Step =
  | { readonly kind: 'transaction'; readonly files: readonly (readonly [file: number, version: number])[] }
  | { readonly kind: 'replaced by hand' | 'written into'; readonly file: number }
  /** Records at these places, of those that are there; cut off at a call of the storage, or at none. */
  | { readonly kind: 'removed'; readonly at: readonly number[]; readonly dies: number }

const file = fc.nat({ max: 3 })
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('transaction' as const),
      files: fc.uniqueArray(fc.tuple(file, fc.nat({ max: 3 })), { minLength: 1, selector: ([at]) => at }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('replaced by hand' as const, 'written into' as const),
      file,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('removed' as const),
      at: fc.uniqueArray(fc.nat({ max: 9 }), { minLength: 1, maxLength: 2 }),
      dies: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 60 })),
    }),
  },
)

test('a record that claims to be complete is, whatever the budget took and whatever happened to the files', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 10 }),
      fc.integer({ min: 12_000, max: 80_000 }),
      async (steps, limitBytes) => void (await play(steps, limitBytes)),
    ),
    { numRuns: 12 },
  )
})

test('a record that stands on a removed one has what it needs, wherever the removal is cut off', async () => {
  const upgrades: Step[] = [1, 2, 3].map((version) => ({ kind: 'transaction', files: [[0, version]] }))
  const removeThird = async (dies: number) =>
    await play([...upgrades, { kind: 'removed', at: [2], dies }], 1_000_000)
  const whole = await removeThird(0)
  assert.equal(whole.rewritten, 1, 'the second stood on the third')
  for (let dies = whole.calls % strideOfDeaths; dies <= whole.calls; dies += strideOfDeaths)
    assert.equal((await removeThird(dies)).calls, dies)
})

/** Each begins anew. */
const strideOfDeaths = 4

test('a transaction that takes more than the budget by itself does not take the small ones before it along', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-keep-'))
  try {
    await using machine = await openMachine(folder, 100_000)
    const all = Array.from({ length: 12 }, (_, at) => at * 2)
    await machine.transact(all.map((at) => [at, 1]))
    await machine.transact([[0, 2]])
    await machine.transact(all.map((at) => [at, 0]))
    const dropped = (await readTransactions(machine.keeping)).map(({ document }) => isDropped(document))
    assert.deepEqual(dropped, [false, false, false])
    await machine.transact(all.map((at) => [at, 3]))
    await machine.transact([[0, 4]])
    const [, , large] = await readTransactions(machine.keeping)
    assert.ok(large && isDropped(large.document), 'it goes as soon as there is a newer one')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('what small records have of a newer large one that goes is written into them, or they go with it, and none says that it is whole and is not', async () => {
  // With its contents a small record is a small one yet under the first budget, and none under the second.
  for (const [limitBytes, then] of [
    [3_000_000, ['delta', 'blob', 'dropped']],
    [1_000_000, ['dropped', 'dropped', 'dropped']],
  ] as const) {
    const folder = mkdtempSync(join(tmpdir(), 'vml-keep-'))
    try {
      await using machine = await openMachine(folder, limitBytes)
      const { keeping } = machine
      const kinds = async () =>
        (await readTransactions(keeping)).map(({ document, changes }) =>
          isDropped(document) ? 'dropped' : changes.map(({ preImage: { kind } }) => kind).join(),
        )
      await machine.transact([
        [0, 1],
        [1, largeVersion],
      ])
      for (const version of [2, 3]) await machine.transact([[0, version]])
      await machine.transact([
        [0, 0],
        [1, 0],
      ])
      assert.deepEqual(await kinds(), ['fingerprint,fingerprint', 'delta', 'delta', 'blob,blob'])
      await machine.transact([[2, 1]])
      assert.deepEqual((await kinds()).slice(1, -1), then)
      await machine.requireHonest()
      assert.equal(await checkPins(keeping, { all: true }), 0, 'nothing is found later')
    } finally {
      rmSync(folder, { recursive: true })
    }
  }
})

test('a record whose base went for the budget says so, and not that a file was written into', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-keep-'))
  try {
    await using machine = await openMachine(folder, 1_000_000)
    const { keeping } = machine
    for (const version of [1, 2, 3]) await machine.transact([[0, version]])
    await machine.transact([[0, 0]])
    // As one did that let it go by itself.
    const [, , , last] = await readTransactions(keeping)
    await rewriteTransaction(keeping.logbook, last ?? assert.fail(), {
      preImages: new Map([[pathOf(nameOf(0)), { preImage: { kind: 'lost', reason: droppedReason } }]]),
      gaps: [{ path: rootPath, reason: droppedReason }],
    })
    assert.equal(await checkPins(keeping, { all: true }), 2)
    const reasons = (await readTransactions(keeping)).map(({ document }) => document.gaps[0]?.reason)
    const base = 'the content that its delta was made against was dropped for the budget'
    assert.deepEqual(reasons, [undefined, base, base, droppedReason])
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a budget that no going meets takes nothing, and says what stays whatever goes', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-keep-'))
  try {
    await using machine = await openMachine(folder, 1_000_000)
    for (const version of [1, 2, 3]) await machine.transact([[0, version]])
    await machine.transact([[0, 0]])
    const { keeping, budget } = machine
    const tight = await planRecordBudget(keeping, { ...budget, limitBytes: 1000 })
    assert.ok(tight && tight.lastingBytes > 1000 && tight.lastingBytes < 20_000)
    assert.deepEqual(tight.going, [])
    assert.match(
      describeExcess(tight),
      /^Records take \d\S* KiB, more than the budget of 1000 B, and \S+ KiB of it, .* stays whatever pre-images go: none was dropped/,
    )
    await fitRecords(keeping, { ...budget, limitBytes: 1000 })
    const dropped = (await readTransactions(keeping)).map(({ document }) => isDropped(document))
    assert.deepEqual(dropped, [false, false, false, false])
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a file that is written into while a transaction runs is found by the next, too', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-keep-'))
  try {
    await using machine = await openMachine(folder, 1_000_000)
    for (const version of [1, 2]) await machine.transact([[0, version]])
    await checkPins(machine.keeping)
    machine.writeInto(0)
    await machine.transact([[1, 1]])
    assert.equal(await checkPins(machine.keeping), 1)
    await machine.requireHonest()
  } finally {
    rmSync(folder, { recursive: true })
  }
})

const measured: fc.Arbitrary<MeasuredRecord[]> = fc
  .array(
    fc.record({
      bytes: fc.oneof(fc.nat({ max: 20 }), fc.nat({ max: 1500 })),
      canGo: fc.oneof({ weight: 4, arbitrary: fc.constant(true) }, fc.constant(false)),
    }),
    { maxLength: 60 },
  )
  .map((records) => records.map((one, at) => ({ ...one, wholeBytes: one.bytes, isSpared: at === 0 })))

test('of records beyond their budget none goes that need not, a small one only after all large ones, and never the newest', () => {
  const limit = 1000
  fc.assert(
    fc.property(measured, fc.nat({ max: limit }), (newestFirst, lastingBytes) => {
      const newest = newestFirst[0]?.bytes ?? 0
      const going = recordsGoing(newestFirst, { limitBytes: limit, lastingBytes, sparedBytes: newest })
      const room = Math.max(limit - lastingBytes - newest, Math.min(limit - lastingBytes, limit / 10))
      const places = [...newestFirst.keys()]
      const able = places.filter((at) => at > 0 && newestFirst[at]?.canGo)
      const bytesOf = (some: readonly number[]) =>
        some.reduce((sum, at) => sum + (newestFirst[at]?.bytes ?? 0), 0)
      const isSmall = (at: number) => bytesOf([at]) < limit / 100
      const staying = able.filter((at) => !going.has(at))
      assert.ok([...going].every((at) => able.includes(at)))
      assert.ok(staying.length === 0 || bytesOf(staying) <= room, 'what stays has room')
      const last = [...going].at(-1)
      assert.ok(
        last === undefined || bytesOf([...staying, last]) > room,
        'with the last that went it has none',
      )
      const large = able.filter((at) => !isSmall(at))
      const oldestStaying = large.findLast((at) => !going.has(at)) ?? 0
      assert.ok(
        large.every((at) => !going.has(at) || at > oldestStaying),
        'of large ones the oldest go first',
      )
      if (bytesOf(able.filter(isSmall)) <= limit / 2 && oldestStaying > 0)
        assert.ok(![...going].some(isSmall), 'no small one goes while a large one stays')
    }),
    { numRuns: 1000 },
  )
})

test('of two large ones after many small ones the older large one goes alone', () => {
  const small = Array.from({ length: 25 }, () => ({ bytes: 9, wholeBytes: 9, isSpared: false, canGo: true }))
  const large = { bytes: 700, wholeBytes: 700, isSpared: false, canGo: true }
  const records = [{ ...large, isSpared: true }, large, ...small]
  const room = { limitBytes: 1000, lastingBytes: 20, sparedBytes: 700 }
  assert.deepEqual([...recordsGoing(records, room)], [1])
})

async function play(steps: readonly Step[], limitBytes: number) {
  const folder = mkdtempSync(join(tmpdir(), 'vml-keep-'))
  try {
    await using machine = await openMachine(folder, limitBytes)
    for (const each of steps) {
      if (each.kind === 'transaction') await machine.transact(each.files)
      else if (each.kind === 'removed') await machine.remove(each.at, each.dies)
      else if (each.kind === 'written into') machine.writeInto(each.file)
      else machine.replace(each.file, 9)
      await checkPins(machine.keeping)
      await machine.requireHonest()
    }
    return machine.removed
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function openMachine(folder: string, limitBytes: number) {
  const { repository, files: stored } = await makeRepository({ clock: quickClock })
  const catalog = openCatalog(':memory:')
  const logbook = { repository, catalog }
  for (const name of ['root', 'root/usr', 'state', 'kept']) mkdirSync(join(folder, name))
  const place = {
    root: pathOf(join(folder, 'root')),
    state: pathOf(join(folder, 'state')),
    reporter: silent,
    signal: undefined,
  }
  const keeping: RecordKeeping = {
    place,
    logbook,
    contentsOf: (transactions) =>
      openTransactionContents({
        repository,
        transactions: () => Promise.resolve(transactions),
        pinned: (sha256) => pinPath(place, sha256),
        applyDelta: (delta, base) => applyDelta({ delta, base }),
        fromPackage: () => Promise.reject(new TypeError('Nothing comes from a package')),
      }),
  }
  const live = (at: number) => join(folder, 'root', nameOf(at))
  const replace = (at: number, version: number) => {
    if (version === 0) return rmSync(live(at), { force: true })
    writeFileSync(join(folder, 'new'), contentOf(at, version))
    renameSync(join(folder, 'new'), live(at))
  }
  const budget = {
    limitBytes,
    usedBytes: () => Promise.resolve([...stored.values()].reduce((sum, { length }) => sum + length, 0)),
    async prune() {
      await runPruning(repository, {
        rule: pruneRuleDefault,
        marks: pruneMarksOf(join(folder, 'state'), repository.id),
        now: true,
        waitMs: 0,
        reporter: silent,
      })
    },
  }
  let recorded = 0
  let moment = 0
  let isThinned = false
  const removed = { rewritten: 0, calls: 0 }
  return {
    keeping,
    budget,
    replace,
    writeInto(at: number) {
      if (read(live(at))) appendFileSync(live(at), 'written into')
    },
    async remove(places: readonly number[], dies: number) {
      const transactions = await readTransactions(keeping)
      const entries = transactions.filter((_, at) => places.includes(at)).map(({ entry }) => entry)
      if (entries.length === 0) return
      const backend = openDying(openMemory({ files: stored }), { at: dies, when: 'before', die: () => {} })
      try {
        await using other = await reopen(backend, { clock: quickClock })
        const remover = {
          keeping: { ...keeping, logbook: { repository: other, catalog } },
          pins: () => listPins(place),
        }
        const removal = await planRecordRemoval(remover, planRemove(entries))
        removed.rewritten += removal?.dependents.size ?? 0
        if (removal) await runRecordRemoval(remover, removal)
      } catch (error) {
        if (!(error instanceof Died)) throw error
      }
      removed.calls = backend.calls()
      // Of a process that has ended: it would be watched for minutes, which do not pass here.
      for (const name of stored.keys()) if (name.startsWith('lock/')) stored.delete(name)
      const left = await readTransactions(keeping)
      if (dies === 0) assert.equal(left.length, transactions.length - entries.length)
      for (const { entry } of transactions)
        assert.ok(entries.includes(entry) || left.some((each) => each.entry.id === entry.id), 'no other goes')
      recorded = left.length
      isThinned = true
    },
    async transact(changed: readonly (readonly [number, number])[]) {
      const changes: PathChange[] = []
      for (const [at, version] of changed.toSorted(([one], [other]) => one - other)) {
        const before = read(live(at))
        const after = version === 0 ? undefined : contentOf(at, version)
        if (before === undefined ? after === undefined : after?.equals(before)) continue
        if (before) writeFileSync(join(folder, 'kept', String(at)), before)
        changes.push({
          path: pathOf(nameOf(at)),
          ...(before ? { before: fileOf(before) } : {}),
          ...(after ? { after: fileOf(after) } : {}),
        })
        replace(at, version)
      }
      if (changes.length === 0) return
      const {
        changes: all,
        deltas,
        gaps,
        preImageBytes,
      } = await recordChanges(changes, {
        references: new Map(),
        before: (path) => rawFromString(join(folder, 'kept', path.slice(-1))),
        lost: () => 'never',
        after: (path) => rawFromString(join(folder, 'root', path)),
        packagesBefore: [],
        packagesAfter: [allPackaged],
        ruleOf: () => undefined,
        pin: async (path, sha256) => await pinContent(place, path, sha256),
      })
      const time = new Date(Date.UTC(2026, 0, 1) + moment++ * 1000).toISOString()
      await recordTransaction(repository, all, {
        number: await nextEntryNumber(logbook),
        document: documentOf({
          startedAt: time,
          endedAt: time,
          complete: gaps.length === 0,
          gaps,
          counts: { created: 0, changed: changes.length, deleted: 0 },
          preImageBytes,
        }),
        contentBefore: (path) => ({ file: rawFromString(join(folder, 'kept', path.slice(-1))) }),
        contentAfter: (path) => ({ file: rawFromString(join(folder, 'root', path)) }),
        deltas,
      })
      recorded += 1
      await keepRecords(keeping)
      await fitRecords(keeping, budget)
    },
    removed,
    async requireHonest() {
      const transactions = await readTransactions(keeping)
      assert.equal(transactions.length, recorded, 'no record is lost')
      const contents = keeping.contentsOf(transactions)
      for (const transaction of transactions) {
        const { document, changes } = transaction
        for (const change of changes) {
          if (change.before === undefined) continue
          if (document.complete || change.preImage.kind !== 'lost')
            assert.equal(digest(await contents.before(transaction, change)), change.before.sha256)
        }
      }
      const drops = transactions.map(({ document }) => isDropped(document))
      const kept = transactions.map(({ changes }) =>
        changes.some(({ preImage: { kind } }) => kind === 'blob'),
      )
      const lastDrop = drops.lastIndexOf(true)
      assert.ok(recorded === 0 || isThinned || lastDrop < recorded - 1, 'the newest keeps its own')
      assert.ok(
        kept.every((has, at) => !has || at > lastDrop || budget.limitBytes > largeLimit),
        'the oldest go first',
      )
    },
    async [Symbol.asyncDispose]() {
      catalog[Symbol.dispose]()
      await repository[Symbol.asyncDispose]()
    },
  }
}

/** Of 3.5 MB. */
const largeVersion = 100

/** Of 20 kB, most of which is the same in all versions; two files have contents of each other, as a name that moved. */
function contentOf(at: number, version: number): Buffer {
  if (version === largeVersion) return noise(3_500_000, 'large')
  return Buffer.concat([noise(20_000, `family ${at >> 1}`), noise(300, `version ${version}`)])
}

/** Beyond it contents of 20 kB are small. */
const largeLimit = 2_000_000

/** Nobody else is at work, whose lock one would have to look out for; only the refreshing of one's own has to wait. */
const quickClock: Clock = {
  now: () => Date.parse('2026-11-21T09:00:00Z'),
  sleep: async (ms, { signal } = {}) => {
    signal?.throwIfAborted()
    if (ms < 60_000) return
    await new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
  },
}

const allPackaged: PackageState = {
  manager: 'dpkg',
  packages: [],
  unfinished: [],
  ownersOf: () => ['x'],
  packageOf: () => 'x',
  isConfiguration: () => false,
  files: { fileOf: () => undefined },
}

function digest(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex')
}

function nameOf(at: number): string {
  return `/usr/${at}`
}

function read(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch {
    return undefined
  }
}

function pathOf(text: string): RawPath {
  return parseRawPath(rawFromString(text)) ?? rootPath
}
