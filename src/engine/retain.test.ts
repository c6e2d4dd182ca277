// Which entries policies let go: never the newest, never what is protected, never more than a budget asks for.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { openCatalog } from '../catalog/catalog.ts'
import { isFailure } from '../base/failure.ts'
import type { EntryId, SnapshotId, TreeId } from '../model/ids.ts'
import { emptyPolicy, type Policy } from '../model/policy.ts'
import {
  fileNode,
  folderNode,
  makeRepository,
  noise,
  snapshotOf,
  storeFile,
} from '../../test/store-fixture.ts'
import { growthOf } from '../store/entry-sizes.ts'
import type { Repository } from '../store/store.ts'
import { importedTag, listEntries, type LoggedEntry, ownTags } from './entries.ts'
import { fitBudget } from './budget.ts'
import { uncoveredRoots } from './uncovered-roots.ts'
import { planForget, type PolicyPlan, removalOf, runForget } from './retain.ts'

const nowMs = Date.parse('2026-11-21T00:00:00Z')
const options = { nowMs, localZone: () => 0 }
const dayMs = 86_400_000

interface Sketch {
  readonly machine?: string
  readonly host?: string
  readonly project?: string
  readonly kind?: LoggedEntry['kind']
  readonly tags?: readonly string[]
  readonly daysAgo: number
  readonly paths?: readonly string[]
}

function factsOf(machine: string, number: number, host: string): LoggedEntry['facts'] {
  const statistics = { files: 0, folders: 0, others: 0, bytes: 0, filesRead: 0, bytesRead: 0 }
  const [kind, mode, outcome] = ['environment', 'full', 'complete'] as const
  return { kind, title: '', note: '', machine, host, number, mode, outcome, statistics }
}

let made = 0
function entry({
  machine = 'lab',
  host,
  project,
  kind = 'environment',
  tags = [],
  daysAgo,
  paths = ['/home/lab'],
}: Sketch): LoggedEntry {
  const number = ++made
  const id = number.toString(16).padStart(64, '0')
  const takenAt = new Date(nowMs - daysAgo * dayMs)
  return {
    id: id as EntryId,
    number,
    machine,
    kind,
    tags,
    title: '',
    note: '',
    takenAt,
    facts: host === undefined ? undefined : factsOf(machine, number, host),
    twins: [],
    ...(project === undefined ? {} : { project }),
    snapshot: {
      ...snapshotOf('0'.repeat(64) as TreeId, tags),
      id: id as SnapshotId,
      time: takenAt.toISOString(),
      hostname: machine,
      paths,
    },
  }
}

function policy(change: Partial<Policy>, machine = 'lab', project?: string): Policy {
  return { ...emptyPolicy(machine, project), ...change }
}

const keepOne: Partial<Policy> = { keep: { count: { last: 1 }, within: {}, tags: [] } }

function going(plans: readonly PolicyPlan[]): ReadonlySet<LoggedEntry> {
  return new Set(removalOf(plans).entries)
}

const sketch: fc.Arbitrary<Sketch> = fc
  .record({
    machine: fc.constantFrom('lab', 'web'),
    project: fc.constantFrom(undefined, 'thesis', 'other'),
    kind: fc.constantFrom('environment', 'environment', 'environment', 'safety', 'foreign'),
    tags: fc.constantFrom<readonly string[]>([], [], [], ['keep'], ['paper'], [importedTag]),
    daysAgo: fc.integer({ min: 0, max: 700 }).map((halves) => halves / 2),
  })
  .map(({ project, ...rest }) => ({ ...rest, ...(project === undefined ? {} : { project }) }))

test('protected entries stay, whatever the rules: the newest of each line, tags, imported and foreign ones, other machines', () => {
  const count = fc.nat(3)
  const keep = fc.record({ last: count, daily: count, monthly: count }, { requiredKeys: [] })
  fc.assert(
    fc.property(fc.array(sketch, { maxLength: 40 }), keep, (sketches, counts) => {
      const entries = sketches.map(entry).toSorted((a, b) => a.takenAt.getTime() - b.takenAt.getTime())
      const rules = { keep: { count: counts, within: {}, tags: [['paper']] } }
      const gone = going(planForget(entries, [policy(rules), policy(rules, 'lab', 'thesis')], options))
      for (const each of gone) {
        assert.equal(each.machine, 'lab')
        assert.ok(each.kind === 'environment' || each.kind === 'safety')
        for (const tag of ['keep', importedTag]) assert.ok(!each.tags.includes(tag))
        if (each.kind === 'environment') assert.ok(!each.tags.includes('paper'))
        const newer = entries.filter(
          (other) =>
            other.machine === each.machine &&
            other.project === each.project &&
            other.kind === each.kind &&
            !other.tags.includes(importedTag) &&
            other.takenAt >= each.takenAt &&
            other !== each,
        )
        assert.ok(newer.length > 0, 'the newest went')
      }
    }),
  )
})

test('each machine and project is a line of its own, and a policy of a project comes before that of its machine', () => {
  const entries = [
    entry({ daysAgo: 9 }),
    entry({ daysAgo: 8 }),
    entry({ daysAgo: 7, project: 'thesis' }),
    entry({ daysAgo: 6, project: 'thesis' }),
    entry({ daysAgo: 5, project: 'other' }),
    entry({ daysAgo: 4, project: 'other' }),
    entry({ daysAgo: 3, machine: 'web' }),
    entry({ daysAgo: 2, machine: 'web' }),
  ]
  const ofThesis = policy({ keep: { count: { last: 5 }, within: {}, tags: [] } }, 'lab', 'thesis')
  const gone = going(planForget(entries, [ofThesis, policy(keepOne)], options))
  assert.deepEqual(gone, new Set([entries[0], entries[4]]))
})

test('no entry of a host goes because of those of another host that uses the same name for its machine', () => {
  const entries = [
    entry({ daysAgo: 9, host: 'comp-a' }),
    entry({ daysAgo: 8, host: 'comp-a' }),
    entry({ daysAgo: 7, host: 'comp-b' }),
    entry({ daysAgo: 6, host: 'comp-b' }),
  ]
  assert.deepEqual(going(planForget(entries, [policy(keepOne)], options)), new Set([entries[0], entries[2]]))
})

test('an entry that lies in the future does not stand for the newest that was made', () => {
  const entries = [entry({ daysAgo: 3 }), entry({ daysAgo: 2 }), entry({ daysAgo: -900 })]
  const tagged = policy({ keep: { count: {}, within: {}, tags: [['paper']] } })
  assert.deepEqual(going(planForget(entries, [tagged], options)), new Set(entries.slice(0, 1)))
})

test('what was saved last stays, though a clock that was set back makes it look old', () => {
  const entries = [
    entry({ daysAgo: 2 }),
    entry({ daysAgo: 1 }),
    entry({ daysAgo: 901, kind: 'safety' }),
    entry({ daysAgo: 900, kind: 'safety' }),
    entry({ daysAgo: 400 }),
    entry({ daysAgo: 399 }),
    entry({ daysAgo: 60, kind: 'safety' }),
    entry({ daysAgo: 900, kind: 'safety' }),
  ]
  const [older, , ofOld, ofOlder, back] = entries
  assert.deepEqual(
    going(planForget(entries, [policy(keepOne)], options)),
    new Set([older, ofOld, ofOlder, back]),
  )
})

test('of what goes, the folders are named that no entry which stays is of', () => {
  const [first, second, third] = [
    entry({ daysAgo: 3, paths: ['/home/lab', '/data/cfg'] }),
    entry({ daysAgo: 2, paths: ['/home/lab/thesis/text'] }),
    entry({ daysAgo: 1, paths: ['/home/lab/thesis'] }),
  ]
  const [plan] = planForget([first, second, third], [policy(keepOne)], options)
  assert.deepEqual([...uncoveredRoots(plan?.decisions ?? [])], [[first, ['/home/lab', '/data/cfg']]])
})

test('a policy that only saves lets nothing go', () => {
  const entries = [entry({ daysAgo: 400, kind: 'safety' }), entry({ daysAgo: 300 }), entry({ daysAgo: 1 })]
  assert.equal(going(planForget(entries, [policy({ everyMs: 1000 })], options)).size, 0)
})

test('safety entries stay for 30 days before the newest entry, the newest always, and never more than a hundred', () => {
  const old = [entry({ daysAgo: 90, kind: 'safety' }), entry({ daysAgo: 80, kind: 'safety' })]
  const newest = entry({ daysAgo: 10 })
  // 10 + 30 days ago.
  const recent = [entry({ daysAgo: 39, kind: 'safety' }), entry({ daysAgo: 20, kind: 'safety' })]
  const gone = going(planForget([...old, ...recent, newest], [policy(keepOne)], options))
  assert.deepEqual(gone, new Set(old))
  assert.deepEqual(going(planForget([...old, newest], [policy(keepOne)], options)), new Set(old.slice(0, 1)))
  const many = Array.from({ length: 130 }, (_, index) => entry({ daysAgo: 29 - index / 10, kind: 'safety' }))
  assert.deepEqual(
    going(planForget([...many, newest], [policy(keepOne)], options)),
    new Set(many.slice(0, 30)),
  )
})

/** A repository in memory with an entry a day, the content of each day its own and some of it shared with the day before. */
async function logbookOf(days: number): Promise<{
  readonly logbook: { repository: Repository; catalog: ReturnType<typeof openCatalog> }
  readonly entries: readonly LoggedEntry[]
}> {
  const { repository } = await makeRepository()
  const catalog = openCatalog(':memory:')
  await using writer = await repository.beginWrite()
  for (let day = 0; day < days; day++) {
    const nodes = []
    for (const part of [day, day + 1])
      nodes.push(fileNode(String(part), await storeFile(writer, noise(3000 + part, String(part)))))
    const tree = await writer.storeTree([folderNode('files', await writer.storeTree(nodes))])
    await writer.commit({
      ...snapshotOf(tree, ownTags({ number: day + 1, kind: 'environment' })),
      time: new Date(nowMs - (days - day) * dayMs).toISOString(),
    })
  }
  const logbook = { repository, catalog }
  return { logbook, entries: await listEntries(logbook) }
}

const bytesOf = async (repository: Repository, entries: readonly LoggedEntry[]) => {
  let bytes = 0
  for await (const grown of growthOf(
    repository,
    entries.map(({ snapshot }) => snapshot.tree),
  ))
    bytes += grown
  return bytes
}

test('a budget lets the oldest go, no more than it must, and leaves the newest (M6)', async () => {
  const { logbook, entries } = await logbookOf(12)
  await using repository = logbook.repository
  const mine = policy({ budget: { kind: 'bytes', bytes: 1 } })
  const whole = await bytesOf(repository, entries)
  for (const share of [0, 0.1, 0.3, 0.5, 0.9, 1]) {
    const limitBytes = Math.floor(whole * share)
    const [plan] = planForget(entries, [mine], options)
    assert.ok(plan)
    const fitted = await fitBudget(logbook, plan, { limitBytes })
    const gone = going([fitted])
    const left = entries.filter((each) => !gone.has(each))
    assert.deepEqual(left, entries.slice(gone.size), 'the oldest go first')
    assert.equal(fitted.budget?.bytes, await bytesOf(repository, left))
    assert.equal(fitted.budget?.bytesByRules, whole)
    assert.equal(fitted.budget?.exceeded, (fitted.budget?.bytes ?? 0) > limitBytes)
    if (fitted.budget?.exceeded) assert.equal(gone.size, 0, 'entries went for a budget that cannot be met')
    const one = entries[gone.size - 1]
    if (one) assert.ok((await bytesOf(repository, [one, ...left])) > limitBytes, 'one went for nothing')
    assert.ok(left.length >= 1)
  }
})

/** One entry for each list of contents, a day after the other. */
async function logbookOfContents(contents: readonly (readonly Buffer[])[]) {
  const { repository } = await makeRepository()
  await using writer = await repository.beginWrite()
  for (const [day, files] of contents.entries()) {
    const nodes = []
    for (const [index, bytes] of files.entries())
      nodes.push(fileNode(String(index), await storeFile(writer, bytes)))
    await writer.commit({
      ...snapshotOf(await writer.storeTree(nodes), ownTags({ number: day + 1, kind: 'environment' })),
      time: new Date(nowMs - (contents.length - day) * dayMs).toISOString(),
    })
  }
  const logbook = { repository, catalog: openCatalog(':memory:') }
  return { logbook, entries: await listEntries(logbook) }
}

const budgeted = policy({ budget: { kind: 'bytes', bytes: 1 } })
const withTag = (each: LoggedEntry, tag: string) => ({
  ...each,
  snapshot: { ...each.snapshot, tags: [...each.snapshot.tags, tag] },
})

test('where the newest entry alone is over the budget, nothing goes, whatever the others share with it', async () => {
  const large = noise(60_000, 'large')
  const { logbook, entries } = await logbookOfContents([
    [large, noise(500, '1')],
    [large, noise(500, '2')],
    [large, noise(500, '3')],
  ])
  await using repository = logbook.repository
  const [plan] = planForget(entries, [budgeted], options)
  assert.ok(plan)
  const fitted = await fitBudget(logbook, plan, { limitBytes: 50_000 })
  assert.equal(going([fitted]).size, 0)
  assert.equal(fitted.budget?.exceeded, true)
  assert.equal(fitted.budget?.bytes, await bytesOf(repository, entries))
  assert.deepEqual(fitted.budget?.mustStay, [
    { entry: entries[2], fixed: 'newest', bytes: await bytesOf(repository, entries.slice(2)) },
  ])
})

test('what a tag or a safety entry holds is never taken, and where it is too much, nothing else is either', async () => {
  for (const kind of ['tag', 'safety'] as const) {
    const { logbook, entries } = await logbookOf(4)
    await using repository = logbook.repository
    const held = entries.map((each, index) =>
      index > 0 ? each : kind === 'tag' ? withTag(each, 'keep') : { ...each, kind },
    )
    const [plan] = planForget(held, [budgeted], options)
    assert.ok(plan)
    const least = await bytesOf(
      repository,
      entries.filter((_, index) => index === 0 || index === 3),
    )
    const below = await fitBudget(logbook, plan, { limitBytes: least - 1 })
    assert.equal(going([below]).size, 0)
    assert.equal(below.budget?.exceeded, true)
    assert.deepEqual(
      below.budget?.mustStay.map(({ entry: { number }, fixed }) => [number, fixed]),
      [
        [4, 'newest'],
        [1, kind],
      ],
    )
    const at = await fitBudget(logbook, plan, { limitBytes: least })
    assert.deepEqual(going([at]), new Set(held.slice(1, 3)))
    assert.deepEqual([at.budget?.exceeded, at.budget?.bytes], [false, least])
  }
})

test('an entry whose going frees nothing that is needed stays, though it is older', async () => {
  const [shared, large] = [noise(20_000, 'shared'), noise(40_000, 'large')]
  const { logbook, entries } = await logbookOfContents([
    [shared],
    [shared, large],
    [shared, noise(300, 'a')],
    [shared],
  ])
  await using repository = logbook.repository
  const [plan] = planForget(entries, [budgeted], options)
  assert.ok(plan)
  const fitted = await fitBudget(logbook, plan, { limitBytes: 30_000 })
  assert.deepEqual(going([fitted]), new Set(entries.slice(1, 2)))
  assert.equal(
    fitted.budget?.bytes,
    await bytesOf(
      repository,
      entries.filter((_, index) => index !== 1),
    ),
  )
})

test('whatever entries share, a budget is met or none goes, and none goes that could have stayed', async () => {
  const pieces = Array.from({ length: 6 }, (_, index) => noise(1000 + 700 * index, `piece ${index}`))
  const contents = fc.array(fc.subarray(pieces, { minLength: 1 }), { minLength: 1, maxLength: 6 })
  await fc.assert(
    fc.asyncProperty(contents, fc.nat(20_000), async (each, limitBytes) => {
      const { logbook, entries } = await logbookOfContents(each)
      await using repository = logbook.repository
      const [plan] = planForget(entries, [budgeted], options)
      assert.ok(plan)
      const fitted = await fitBudget(logbook, plan, { limitBytes })
      const gone = going([fitted])
      const left = entries.filter((entry) => !gone.has(entry))
      const bytes = await bytesOf(repository, left)
      assert.equal(fitted.budget?.bytes, bytes)
      if (gone.size === 0) return
      assert.ok(bytes <= limitBytes)
      for (const one of gone) assert.ok((await bytesOf(repository, [...left, one])) > limitBytes)
    }),
    { numRuns: 12 },
  )
})

test('nothing goes where what the plan keeps was removed since', async () => {
  const { logbook, entries } = await logbookOf(5)
  await using repository = logbook.repository
  const plans = planForget(entries, [policy(keepOne)], options)
  {
    await using _lock = await repository.lock('exclusive')
    await repository.removeSnapshot(entries.at(-1)?.snapshot.id ?? ('' as SnapshotId))
  }
  await assert.rejects(runForget(logbook, plans), (error) => isFailure(error, 'conflict'))
  assert.equal((await listEntries(logbook)).length, 4)
  const again = planForget(await listEntries(logbook), [policy(keepOne)], options)
  await runForget(logbook, again)
  assert.deepEqual(
    (await listEntries(logbook)).map(({ id }) => id),
    [entries[3]?.id],
  )
})
