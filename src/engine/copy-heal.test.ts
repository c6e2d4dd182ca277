// A second logbook gives back what a repair of the first had to give up, and nothing else that differs is touched.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openMemory } from '../backend/memory.ts'
import type { Backend } from '../backend/backend.ts'
import { openCatalog } from '../catalog/catalog.ts'
import { initRepository } from '../store/repository.ts'
import type { Repository } from '../store/store.ts'
import { type Files, makeLogbook, openAny, openDamaged, readEverything, repairIt } from '../../test/damage.ts'
import { copyAll, copyContext } from '../../test/copy-fixture.ts'
import { Died, type DyingBackend, openDying } from '../../test/dying-backend.ts'
import { cheapKey, fakeClock, reopen } from '../../test/store-fixture.ts'
import { silentReporter } from '../base/progress.ts'
import { planHeals } from './copy-heal.ts'
import { planCopy } from './copy.ts'
import { entryIdOf, listEntries, type LoggedEntry, lostTag, type OpenLogbook } from './entries.ts'
import { planEdit, runEdit } from './edit.ts'

const whole = await makeLogbook()
const everything = await readEverything(await openAny(whole))
const usb: Files = new Map()
{
  const from = await openDamaged(whole)
  const repository = await initRepository({
    backend: openMemory({ files: usb }),
    keys: [cheapKey],
    polynomial: from.repository.chunker.polynomial,
  })
  await copyAll(from, { repository, catalog: openCatalog(':memory:') })
}
const openUsb = async () => await openDamaged(new Map(usb))

/** Each pack of the logbook gone; each damaged at one place. */
function* damages(): Iterable<Files> {
  const packs = [...whole.keys()].filter((name) => name.startsWith('pack/'))
  for (const [index, name] of packs.entries()) {
    yield new Map([...whole].filter(([other]) => other !== name))
    const bytes = Buffer.from(whole.get(name) ?? '')
    const at = Math.floor(bytes.length * (index % 2 === 0 ? 0.2 : 0.8))
    bytes[at] = (bytes[at] ?? 0) ^ 1
    yield new Map(whole).set(name, bytes)
  }
}

/** The first damage that takes something from entry 3, repaired. */
async function repairedLogbook(): Promise<Files> {
  for (const files of damages()) {
    await using logbook = await openDamaged(files)
    const plan = await repairIt(logbook)
    if (plan.entries.some(({ number, lostFiles }) => number === 3 && lostFiles > 0)) return files
  }
  return assert.fail('No damage took anything')
}

const entryOf = async (logbook: OpenLogbook, number: number): Promise<LoggedEntry> =>
  (await listEntries(logbook)).find((entry) => entry.number === number) ?? assert.fail()

const treesOf = (entries: readonly LoggedEntry[]) => entries.map(({ id, snapshot }) => [id, snapshot.tree])

async function assertWhole(files: Files): Promise<void> {
  const repository = await openAny(files)
  assert.deepEqual(await readEverything(repository), everything)
  const { findings } = await repository.check({ readData: true, reporter: silentReporter })
  assert.deepEqual(findings, [])
}

test('whatever damage took from entries, a repair and a copy from a second logbook make them whole as they were', async (context) => {
  let healed = 0
  for (const files of damages()) {
    await using logbook = await openDamaged(files)
    await repairIt(logbook)
    const lost = (await listEntries(logbook)).filter(({ snapshot }) => snapshot.tags.includes(lostTag))
    const { outcomes } = await copyAll(await openUsb(), await openDamaged(files))
    assert.deepEqual(
      new Set(outcomes.flatMap(({ outcome, entry }) => (outcome === 'healed' ? [entry.id] : []))),
      new Set(lost.map(({ id }) => id)),
    )
    healed += lost.length
    await assertWhole(files)
    await using after = await openDamaged(files)
    const entries = await listEntries(after)
    assert.deepEqual(
      entries.map(({ id, number, title, twins }) => [id, number, title, twins]),
      (await listEntries(await openDamaged(whole))).map(({ id, number, title }) => [id, number, title, []]),
    )
    assert.ok(entries.every(({ snapshot }) => !snapshot.tags.includes(lostTag)))
    const again = await copyAll(await openUsb(), after)
    assert.ok(again.outcomes.every(({ outcome }) => outcome === 'there'))
  }
  context.diagnostic(`${healed} entries healed`)
  assert.ok(healed > 10)
})

test('what was edited since the repair stays edited', async () => {
  const files = await repairedLogbook()
  await using logbook = await openDamaged(files)
  const before = await entryOf(logbook, 3)
  await runEdit(logbook, planEdit(before, { title: 'what is left', addTags: ['mine'], removeTags: [] }))
  const edited = await entryOf(logbook, 3)
  const { outcomes } = await copyAll(await openUsb(), await openDamaged(files), ({ number }) => number === 3)
  assert.deepEqual(
    outcomes.map(({ outcome }) => outcome),
    ['healed'],
  )
  const after = await entryOf(await openDamaged(files), 3)
  assert.deepEqual([after.title, after.tags, after.id], ['what is left', ['mine'], edited.id])
  assert.ok(!after.snapshot.tags.includes(lostTag))
})

test('an entry that differs in more than what damage took is left as it is, and so is one of somebody else', async () => {
  const files = await repairedLogbook()
  const differs = async (logbook: OpenLogbook, imported: boolean) => {
    const context = await copyContext(await openUsb(), logbook)
    const chosen = context.source.filter(({ number }) => number === 3)
    const plan = await planHeals(planCopy(chosen, { ...context, imported }), context)
    return plan.copies.map(({ step }) => step)
  }
  assert.deepEqual(await differs(await openDamaged(files), false), ['heal'])
  assert.deepEqual(await differs(await openDamaged(files), true), ['differs'])
  await using logbook = await openDamaged(files)
  const { repository } = logbook
  const { snapshot } = await entryOf(logbook, 3)
  await leaveOut(repository, snapshot.id)
  assert.deepEqual(await differs(await openDamaged(files), false), ['differs'])
})

/** As somebody who wanted a file not to be there would: another form of the entry, without notes.txt. */
async function leaveOut(repository: Repository, id: LoggedEntry['snapshot']['id']): Promise<void> {
  const snapshot = await repository.readSnapshot(id)
  await using writer = await repository.beginWrite({ lock: 'exclusive' })
  const without = async (tree: typeof snapshot.tree): Promise<typeof snapshot.tree> => {
    const nodes = []
    for (const node of await repository.readTree(tree)) {
      if (node.name === 'notes.txt') continue
      nodes.push(node.subtree === undefined ? node : { ...node, subtree: await without(node.subtree) })
    }
    return await writer.storeTree(nodes)
  }
  const { id: old, ...fields } = snapshot
  const original = entryIdOf(snapshot) as string as typeof id
  await writer.commit({ ...fields, original, tree: await without(snapshot.tree) })
  await repository.removeSnapshot(old)
}

test('cut off anywhere, a healing copy leaves each entry once, whole or as the repair left it, and is repeated', async (context) => {
  const start = await repairedLogbook()
  const from = await openUsb()
  const left = (await entryOf(await openDamaged(new Map(start)), 3)).snapshot.tree
  const right = (await entryOf(from, 3)).snapshot.tree
  let points = 0
  for (let at = 1; ; at += 3) {
    const files = new Map(start)
    let dying: DyingBackend | undefined
    const wrap = (backend: Backend) => (dying = openDying(backend, { at, when: 'after', die: () => {} }))
    const error: unknown = await reopen(wrap(openMemory({ files })), { clock: fakeClock() })
      .then(async (repository) => await copyAll(from, { repository, catalog: openCatalog(':memory:') }))
      .then(() => {})
      .catch((reason: unknown) => reason)
    if (error === undefined && (dying?.calls() ?? 0) < at) break
    if (error !== undefined && !(error instanceof Died)) throw error
    points++
    const entries = await listEntries(await openDamaged(files))
    assert.deepEqual(
      entries.map(({ number }) => number),
      (await listEntries(from)).map(({ number }) => number),
    )
    const tree = entries.find(({ number }) => number === 3)?.snapshot.tree
    assert.ok(tree === left || tree === right)
    for (const path of [...files.keys()]) if (path.startsWith('lock/')) files.delete(path)
    await copyAll(from, await openDamaged(files))
    // The form that a repair left may stand beside the whole one, as after an edit that was cut off; it counts no more.
    const last = await listEntries(await openDamaged(files))
    assert.deepEqual(treesOf(last), treesOf(await listEntries(from)))
    const { findings } = await (await openAny(files)).check({ readData: true, reporter: silentReporter })
    assert.deepEqual(findings, [])
  }
  context.diagnostic(`${points} points`)
  assert.ok(points > 10)
})
