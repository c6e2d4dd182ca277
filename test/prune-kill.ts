// Kills a prune with SIGKILL at calls of the backend; afterwards stock restic finds the logbook sound, every entry is whole and the next prune works.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openLocal } from '../src/backend/local.ts'
import { silentReporter } from '../src/base/progress.ts'
import type { RepositoryId } from '../src/model/ids.ts'
import { openMarksFile, openMemoryMarks } from '../src/store/prune-marks.ts'
import { checkByRestic, killAtCalls, type KillTally } from './kill-at-call.ts'
import { makePruneHistory, openForPrune, pruneOnce } from './prune-history.ts'
import { readAll, reopen } from './store-fixture.ts'

/** At every `stride`-th call, before and after it, with and without `--now`. */
export async function killPrunes(stride: number): Promise<KillTally> {
  const folder = mkdtempSync(join(tmpdir(), 'vml-prune-kill-'))
  try {
    const base = join(folder, 'base')
    const id = await makeBase(base)
    const expected = await readAll(await reopen(openLocal(join(base, 'logbook'))))
    const tally = { points: 0, kills: 0 }
    for (const [index, now] of ['now', 'later'].entries()) {
      const { points, kills } = await killAtCalls({
        program: 'store-pruner.ts',
        words: [now],
        base,
        stride,
        offset: 2 * index,
        pointsMin: 20,
        inspect: async (killed) => await inspect(killed, id, expected),
      })
      tally.points += points
      tally.kills += kills
    }
    return tally
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function makeBase(base: string): Promise<RepositoryId> {
  const place = join(base, 'logbook')
  mkdirSync(place, { recursive: true })
  // The marks are of a repository whose id is known only when it is made.
  const marks = openMemoryMarks()
  await makePruneHistory(openLocal(place), marks)
  const { id } = await openForPrune(openLocal(place))
  await openMarksFile(join(base, 'marks.json'), id).write(await marks.read())
  return id
}

async function inspect(
  killed: string,
  id: RepositoryId,
  expected: ReadonlyMap<string, Buffer>,
): Promise<void> {
  const place = join(killed, 'logbook')
  const marks = openMarksFile(join(killed, 'marks.json'), id)
  checkByRestic(place)
  assert.deepEqual(await readAll(await reopen(openLocal(place))), expected)
  await pruneOnce(await openForPrune(openLocal(place)), { marks, now: true })
  const repository = await reopen(openLocal(place))
  assert.deepEqual(await readAll(repository), expected)
  const { findings, unusedPacks } = await repository.check({ readData: true, reporter: silentReporter })
  assert.deepEqual([findings, unusedPacks], [[], []])
  assert.ok(existsSync(join(place, 'config')))
}
