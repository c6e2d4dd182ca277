import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { Died, openDying } from '../../test/dying-backend.ts'
import {
  cheapKey,
  fakeClock,
  makeRepository,
  namesOf,
  noise,
  readAll,
  reopen,
  save,
} from '../../test/store-fixture.ts'
import type { Backend } from '../backend/backend.ts'
import { openMemory } from '../backend/memory.ts'
import { isFailure } from '../base/failure.ts'
import { type Reporter, silentReporter } from '../base/progress.ts'
import type { PackId } from '../model/ids.ts'
import { openMemoryMarks } from './prune-marks.ts'
import { initRepository } from './repository.ts'
import type { Repository } from './store.ts'

const quiet = { reporter: silentReporter }
type Files = Map<string, Buffer>

/** Packs of some hundred KiB, a few for each content. */
async function fill(repository: Repository, seeds: readonly string[], bytes = 300_000): Promise<void> {
  for (const seed of seeds) await save(repository, [noise(bytes, seed)])
}

async function protectedRepository(
  share: number,
  seeds: readonly string[],
): Promise<{ readonly repository: Repository; readonly files: Files }> {
  const made = await makeRepository({ clock: fakeClock() })
  await fill(made.repository, seeds)
  const parity = await made.repository.openParity()
  await parity.set(share, quiet)
  await parity.update(quiet)
  return made
}

/** Sorted, which is another order at each run: their names are random. */
function packsOf(files: Files): string[] {
  return namesOf(files, 'pack').toSorted()
}

/** Recovery data and its settings, sorted likewise. */
function parityOf(files: Files): string[] {
  return namesOf(files, 'parity').toSorted()
}

/** Packs of content, which are all of one size class. */
function largePacks(files: Files): string[] {
  return packsOf(files).filter((name) => (files.get(name)?.length ?? 0) > 100_000)
}

function settingsOf(files: Files): string[] {
  return parityOf(files).filter((name) => files.get(name)?.toString('latin1', 0, 6) !== 'VMLPAR')
}

function flip(files: Files, name: string, at: number, bit = 0): void {
  const changed = Buffer.from(files.get(name) ?? assert.fail())
  changed[at] = (changed[at] ?? 0) ^ (1 << bit)
  files.set(name, changed)
}

async function healed(
  files: Files,
  name: string,
  reporter: Reporter = silentReporter,
): Promise<Buffer | undefined> {
  const parity = await (await reopen(files, { clock: fakeClock() })).openParity()
  return await parity.healer({ reporter })(name.slice(5) as PackId, [])
}

test('V62: every pack is protected after an update, and a second one has nothing to do', async () => {
  const { repository, files } = await protectedRepository(0.05, ['a', 'b', 'c'])
  const parity = await repository.openParity()
  const state = await parity.state({ ...quiet, readData: true })
  assert.deepEqual(state.unprotected, [])
  assert.equal(state.protectedPacks, packsOf(files).length)
  assert.deepEqual(state.damaged, [])
  const before = new Map(files)
  const update = await parity.update(quiet)
  assert.deepEqual(
    { ...update, bytesRead: 0 },
    { packs: 0, bytesRead: 0, bytesWritten: 0, filesRemoved: 0, damagedPacks: [] },
  )
  assert.deepEqual([...files.keys()].toSorted(), [...before.keys()].toSorted())
})

test('any single flipped bit of a pack is found and healed', async () => {
  const { files } = await protectedRepository(0.05, ['a', 'b', 'c'])
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.nat(), fc.nat(7), async (which, at, bit) => {
      const copy = new Map(files)
      const names = packsOf(copy)
      const name = names[which % names.length] ?? assert.fail()
      const whole = files.get(name) ?? assert.fail()
      flip(copy, name, at % whole.length, bit)
      assert.deepEqual(await healed(copy, name), whole)
    }),
    { numRuns: 30 },
  )
})

test('as many packs of a group as it has rows may be lost; one more is a failure that says so and changes nothing', async () => {
  const { files } = await protectedRepository(0.05, ['a', 'b', 'c', 'd', 'e'])
  const large = largePacks(files)
  const lost = large.slice(0, 2)
  const copy = new Map(files)
  for (const name of lost) copy.delete(name)
  for (const name of lost) assert.deepEqual(await healed(copy, name), files.get(name))
  const third = large[2] ?? assert.fail()
  copy.delete(third)
  const before = new Map(copy)
  const warnings: string[] = []
  const reporter = {
    ...silentReporter,
    warn: ({ warning }: { warning: string }) => void warnings.push(warning),
  }
  assert.notDeepEqual(await healed(copy, third, reporter), files.get(third))
  assert.match(
    warnings.join(),
    /3 packs of its group are damaged in the same place, and recovery data is there for 2/,
  )
  assert.deepEqual(copy, before)
})

test('damage in different places of more packs than there are rows is healed, in rows as well', async () => {
  const { files } = await protectedRepository(0.05, ['a', 'b', 'c', 'd', 'e'])
  const copy = new Map(files)
  const large = largePacks(files)
  for (const [at, name] of large.entries()) flip(copy, name, at * 65_536 + 17)
  const row = parityOf(copy).find((name) => (files.get(name)?.length ?? 0) > 300_000) ?? assert.fail()
  flip(copy, row, 200_000)
  flip(copy, row, 3)
  for (const name of large) assert.deepEqual(await healed(copy, name), files.get(name))
})

test('what is erased within the rows comes back, whatever it is: cut off, zeros, longer, gone', async () => {
  const { files } = await protectedRepository(0.1, ['a', 'b', 'c', 'd', 'e', 'f'])
  const large = largePacks(files)
  const damage = fc.constantFrom('cut', 'zeros', 'longer', 'gone', 'empty', 'flips')
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.nat(large.length - 1), { minLength: 1, maxLength: 4 }),
      fc.array(damage, { minLength: 4, maxLength: 4 }),
      fc.nat(250_000),
      async (which, kinds, place) => {
        const copy = new Map(files)
        const hurt = which.map((each) => large[each] ?? assert.fail())
        for (const [at, name] of hurt.entries()) {
          const data = files.get(name) ?? assert.fail()
          if (kinds[at] === 'gone') copy.delete(name)
          else if (kinds[at] === 'empty') copy.set(name, Buffer.alloc(0))
          else if (kinds[at] === 'cut') copy.set(name, data.subarray(0, place))
          else if (kinds[at] === 'longer') copy.set(name, Buffer.concat([data, noise(100, 'more')]))
          else if (kinds[at] === 'zeros') copy.set(name, Buffer.from(data).fill(0, place))
          else for (let step = 0; step < data.length; step += 50_000) flip(copy, name, step)
        }
        for (const name of hurt) assert.deepEqual(await healed(copy, name), files.get(name))
      },
    ),
    { numRuns: 40 },
  )
})

test('check --repair puts a lost pack and a flipped bit right by recovery data, and nothing is lost', async () => {
  const { repository, files } = await protectedRepository(0.05, ['a', 'b', 'c', 'd'])
  const whole = await readAll(repository)
  const [lost = '', flipped = ''] = largePacks(files)
  files.delete(lost)
  flip(files, flipped, 1000)
  const again = await reopen(files, { clock: fakeClock() })
  {
    await using repair = await again.beginRepair({ readData: true, look: false, ...quiet })
    assert.deepEqual(
      repair.survey.packs.map(({ healed: back, lost: blobs }) => [back, blobs]),
      [
        [true, 0],
        [true, 0],
      ],
    )
    await repair.run({})
  }
  const repaired = await reopen(files, { clock: fakeClock() })
  assert.deepEqual(await readAll(repaired), whole)
  const { findings } = await repaired.check({ readData: true, ...quiet })
  assert.deepEqual(findings, [])
  const parity = await repaired.openParity()
  await parity.update({ ...quiet, verify: true })
  const state = await parity.state({ ...quiet, readData: true })
  assert.deepEqual([state.unprotected, state.damaged], [[], []])
})

test('beyond what a place can bear only what lies there is lost: every other blob of a lost pack is saved', async () => {
  const { repository, files } = await makeRepository({ clock: fakeClock() })
  for (const seed of ['a', 'b', 'c', 'd'])
    await save(
      repository,
      Array.from({ length: 6 }, (_, at) => noise(400_000, `${seed}${at}`)),
    )
  const parity = await repository.openParity()
  await parity.set(0.05, quiet)
  await parity.update(quiet)
  const whole = await readAll(repository)
  const [one = '', two = ''] = packsOf(files).filter((name) => (files.get(name)?.length ?? 0) > 1_000_000)
  const row = parityOf(files).find((name) => (files.get(name)?.length ?? 0) > 1_000_000) ?? assert.fail()
  files.delete(one)
  files.delete(two)
  flip(files, row, 1_000_000)
  const again = await reopen(files, { clock: fakeClock() })
  {
    await using repair = await again.beginRepair({ readData: true, look: false, ...quiet })
    for (const { healed: back, state, salvaged, lost } of repair.survey.packs)
      assert.deepEqual([back, state, salvaged + lost, lost > 0 && lost < 3], [false, 'missing', 6, true])
    await repair.run({})
  }
  const repaired = await reopen(files, { clock: fakeClock() })
  let readable = 0
  for await (const { id, tree } of repaired.snapshots()) {
    const [folder] = await repaired.readTree(tree)
    for (const { name, content } of await repaired.readTree(folder?.subtree ?? assert.fail())) {
      const expected = whole.get(`/${id}/files/${name}`) ?? whole.get(`${id}/files/${name}`)
      const blobs = await Promise.all(
        (content ?? []).map(async (blob) => await repaired.readBlob(blob).catch(() => undefined)),
      )
      if (blobs.some((blob) => blob === undefined)) continue
      assert.deepEqual(Buffer.concat(blobs.map((blob) => blob ?? assert.fail())), expected)
      readable++
    }
  }
  assert.ok(readable >= 20, `${readable} of 24 files`)
})

test('damaged, cut off and removed recovery data is found and made anew', async () => {
  const { repository, files } = await protectedRepository(0.05, ['a', 'b', 'c'])
  const parity = await repository.openParity()
  const rows = parityOf(files).filter((name) => (files.get(name)?.length ?? 0) > 4096)
  for (const [at, name] of rows.entries()) {
    const data = files.get(name) ?? assert.fail()
    if (at % 4 === 0) files.delete(name)
    else if (at % 4 === 1) files.set(name, data.subarray(0, data.length - 1))
    else if (at % 4 === 2) flip(files, name, Math.floor(data.length / 2))
    else files.set(name, noise(data.length, 'junk'))
    const state = await parity.state({ ...quiet, readData: true })
    assert.equal(state.damaged.length, at % 4 === 0 ? 0 : 1)
    await parity.update({ ...quiet, verify: true })
    const after = await parity.state({ ...quiet, readData: true })
    assert.deepEqual([after.damaged, after.unprotected], [[], []])
    for (const lost of largePacks(files).slice(0, 2)) {
      const copy = new Map(files)
      copy.delete(lost)
      assert.deepEqual(await healed(copy, lost), files.get(lost))
    }
  }
})

test('a group with a pack that is lost stays whatever an update does, until the pack is back', async () => {
  const { repository, files } = await protectedRepository(0.05, ['a', 'b', 'c'])
  const [lost = '', hurt = ''] = largePacks(files)
  const pack = files.get(lost) ?? assert.fail()
  const other = files.get(hurt) ?? assert.fail()
  files.delete(lost)
  await fill(repository, ['d', 'e'])
  const parity = await repository.openParity()
  await parity.update({ ...quiet, verify: true })
  await parity.set(0.2, quiet)
  await parity.update({ ...quiet, verify: true })
  assert.deepEqual(await healed(files, lost), pack)
  // One that is there and damaged is protected by nothing else either.
  files.set(lost, pack)
  flip(files, hurt, 5)
  await parity.set(0.5, quiet)
  const update = await parity.update({ ...quiet, verify: true })
  assert.deepEqual(update.damagedPacks, [hurt.slice(5)])
  assert.deepEqual(await healed(files, hurt), other)
})

test('groups follow packs that come and go', async () => {
  const { repository, files } = await protectedRepository(0.05, ['a', 'b'])
  const parity = await repository.openParity()
  for (const seed of ['c', 'd', 'e']) {
    await fill(repository, [seed])
    assert.ok((await parity.state({ ...quiet, readData: false })).unprotected.length > 0)
    await parity.update(quiet)
    const state = await parity.state({ ...quiet, readData: true })
    assert.deepEqual(state.unprotected, [])
  }
  const { groups } = await parity.state({ ...quiet, readData: false })
  assert.equal(groups, 2, 'one of contents, one of trees')
  {
    await using _lock = await repository.lock('exclusive')
    for await (const id of repository.snapshotIds()) {
      await repository.removeSnapshot(id)
      break
    }
  }
  await using run = await repository.beginPrune({
    rule: { maxUnused: { bytes: 0 }, maxRepackBytes: 2 ** 30 },
    marks: openMemoryMarks(),
    now: true,
    ...quiet,
  })
  await run.mark()
  await run.remove()
  await parity.update(quiet)
  const state = await parity.state({ ...quiet, readData: true })
  assert.deepEqual([state.unprotected, state.missing], [[], []])
  assert.equal(state.protectedPacks, packsOf(files).length)
  for (const name of packsOf(files)) {
    const copy = new Map(files)
    copy.delete(name)
    assert.deepEqual(await healed(copy, name), files.get(name))
  }
})

test('cut off at any call, an update leaves what was protected protected, and the next one goes on', async () => {
  const { repository, files } = await protectedRepository(0.05, ['a', 'b', 'c'])
  const [covered = ''] = largePacks(files)
  await fill(repository, ['d', 'e'])
  // One group is extended, one made anew.
  const [row = ''] = parityOf(files).filter((name) => (files.get(name)?.length ?? 0) < 100_000)
  flip(files, row, 2000)
  let points = 0
  for (let at = 1, died = true; died; at++)
    for (const when of ['before', 'after'] as const) {
      const copy = new Map(files)
      const dying = openDying(openMemory({ files: copy }), { at, when, die: () => {} })
      died = await update(dying)
      points++
      for (const name of packsOf(copy)) assert.deepEqual(copy.get(name), files.get(name))
      const without = new Map(copy)
      without.delete(covered)
      assert.deepEqual(await healed(without, covered), files.get(covered), `${when} call ${at}`)
      for (const name of namesOf(copy, 'lock')) copy.delete(name)
      const next = await (await reopen(copy, { clock: fakeClock() })).openParity()
      await next.update({ ...quiet, verify: true })
      const state = await next.state({ ...quiet, readData: true })
      assert.deepEqual([state.unprotected, state.damaged, state.groups], [[], [], 2], `${when} call ${at}`)
    }
  assert.ok(points > 40, `${points} points`)
})

/** Whether it died before it came to its end. */
async function update(backend: Backend): Promise<boolean> {
  try {
    const repository = await reopen(backend, { clock: fakeClock() })
    await (await repository.openParity()).update({ ...quiet, verify: true })
    return false
  } catch (error) {
    if (!(error instanceof Died)) throw error
    return true
  }
}

test('switched off, nothing is left but the word that it is off; losing one copy of the settings switches nothing off', async () => {
  const { repository, files } = await protectedRepository(0.05, ['a', 'b'])
  const parity = await repository.openParity()
  const [settings = ''] = settingsOf(files)
  files.delete(settings)
  assert.equal((await parity.settings())?.share, 0.05)
  await parity.update(quiet)
  assert.equal(settingsOf(files).length, 2)
  await parity.set(undefined, quiet)
  await parity.update(quiet)
  assert.equal(parityOf(files).length, 2)
  const settled = await parity.settings()
  assert.ok(settled && settled.share === undefined)
})

test('settings that somebody without a key wrote count for nothing', async () => {
  const { files } = await protectedRepository(0.05, ['a'])
  const stranger = await makeRepository({ clock: fakeClock() })
  await (await stranger.repository.openParity()).set(undefined, quiet)
  for (const name of parityOf(stranger.files)) files.set(name, stranger.files.get(name) ?? assert.fail())
  const parity = await (await reopen(files, { clock: fakeClock() })).openParity()
  const state = await parity.state({ ...quiet, readData: false })
  assert.equal(state.settings?.share, 0.05)
  assert.equal(state.damaged.length, 2)
})

test('storage that keeps only files of restic refuses recovery data with unsupported', async () => {
  const memory = openMemory()
  await save(await initRepository({ backend: memory, keys: [cheapKey] }), [noise(1000, 'a')])
  const backend = { ...memory, traits: { connections: 4, readOnly: false } }
  const parity = await (await reopen(backend)).openParity()
  await assert.rejects(parity.set(0.05, quiet), (error) => isFailure(error, 'unsupported'))
  assert.equal((await parity.update(quiet)).packs, 0)
  assert.equal((await parity.state({ ...quiet, readData: true })).settings, undefined)
})
