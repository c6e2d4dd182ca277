// A prune that is cut off before or after any call of the backend, seen from inside; test/e2e/prune-crash.test.ts kills the process.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openMemory } from '../backend/memory.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import { silentReporter } from '../base/progress.ts'
import type { PackId } from '../model/ids.ts'
import { openMemoryMarks } from './prune-marks.ts'
import { Died, openDying } from '../../test/dying-backend.ts'
import { makePruneHistory, packBytes, pruneOnce } from '../../test/prune-history.ts'
import { fakeClock, readAll, reopen, save } from '../../test/store-fixture.ts'

/** More than a prune of that history makes; the loop ends at the first one that was not cut off. */
const callsMax = 400

test('cut off before or after any call of the backend, a prune loses nothing, and the next one finishes the work', async (context) => {
  const base = new Map<string, Buffer>()
  const baseMarks = openMemoryMarks()
  await makePruneHistory(openMemory({ files: base }), baseMarks)
  const marked = [...(await baseMarks.read())]
  const expected = await readAll(await reopen(base))
  const options = { packBytes, clock: fakeClock() }
  const tally = { cuts: 0, afterDeletion: 0 }
  // Before a call is nearly after the one before it: each way of pruning gets one of the two, at every other call. All of them
  // are cut with npm run test:long -- prune-crash.
  for (const [now, when] of [
    [false, 'before'],
    [true, 'after'],
  ] as const) {
    for (let at = now ? 1 : 2; at <= callsMax; at += 2) {
      const files = new Map(base)
      const marks = openMemoryMarks(marked)
      const backend = openDying(openMemory({ files }), { at, when, die: () => {} })
      const cut = await reopen(backend, options)
        .then(async (repository) => await pruneOnce(repository, { marks, now }))
        .then(
          () => false,
          (error: unknown) => {
            if (!(error instanceof Died)) throw error
            return true
          },
        )
      // Its locks are those of a process that is there no more.
      for (const name of [...files.keys()]) if (name.startsWith('lock/')) files.delete(name)
      if (!cut && at > backend.calls()) break
      assert.ok(at < callsMax)
      tally.cuts++
      if ([...base.keys()].some((name) => name.startsWith('pack/') && !files.has(name))) tally.afterDeletion++
      await inspect(files, marks, { expected, options })
    }
  }
  context.diagnostic(`${tally.cuts} cuts, ${tally.afterDeletion} of them after a pack was deleted`)
  assert.ok(tally.cuts > 35 && tally.afterDeletion > 4)
})

test('where any one call of the backend fails, before or after it took effect, nothing is lost and no lock is left', async () => {
  const base = new Map<string, Buffer>()
  const baseMarks = openMemoryMarks()
  await makePruneHistory(openMemory({ files: base }), baseMarks)
  const marked = [...(await baseMarks.read())]
  const expected = await readAll(await reopen(base))
  const options = { packBytes, clock: fakeClock() }
  for (const when of ['before', 'after'] as const) {
    // Each of the two meets other calls; all of them take a minute.
    for (let at = when === 'before' ? 3 : 6; ; at += 6) {
      const files = new Map(base)
      const marks = openMemoryMarks(marked)
      const die = () => {
        throw new VmlError('unavailable.network', 'The storage is gone for a moment')
      }
      const backend = openDying(openMemory({ files }), { at, when, die, once: true })
      const attempt = async () => await pruneOnce(await reopen(backend, options), { marks, now: true })
      await attempt().catch((error: unknown) => {
        if (!isFailure(error, 'unavailable.network', 'store.locked')) throw error
      })
      if (at > backend.calls()) break
      // But for the call that would have removed it, no lock is left.
      const locks = [...files.keys()].filter((name) => name.startsWith('lock/'))
      assert.ok(locks.length <= 1)
      for (const name of locks) files.delete(name)
      await inspect(files, marks, { expected, options })
    }
  }
})

async function inspect(
  files: Map<string, Buffer>,
  marks: ReturnType<typeof openMemoryMarks>,
  {
    expected,
    options,
  }: { expected: Map<string, Buffer>; options: NonNullable<Parameters<typeof reopen>[1]> },
): Promise<void> {
  const { findings } = await (await reopen(files)).check({ readData: true, reporter: silentReporter })
  assert.deepEqual(findings, [])
  const again = await reopen(files, options)
  // A save that comes first takes in what it finds without an index: that must do no harm.
  const saved = await save(again, [Buffer.from('after the cut')])
  await pruneOnce(again, { marks, now: true })
  const found = await readAll(await reopen(files))
  assert.equal(found.get(`${saved.id}/files/0`)?.toString(), 'after the cut')
  found.delete(`${saved.id}/files/0`)
  assert.deepEqual(found, expected)
  const after = await (await reopen(files)).check({ readData: true, reporter: silentReporter })
  assert.deepEqual([after.findings, after.unusedPacks], [[], [] satisfies readonly PackId[]])
}
