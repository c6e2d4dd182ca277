// Kills a prune with SIGKILL at calls of the backend; afterwards stock restic finds the logbook sound, every entry is whole and the next prune works.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openLocal } from '../src/backend/local.ts'
import { silentReporter } from '../src/base/progress.ts'
import { openMarksFile } from '../src/store/prune-marks.ts'
import { makePruneHistory, openForPrune, pruneOnce } from './prune-history.ts'
import { resticProgram } from './restic-peer.ts'
import { password, readAll, reopen } from './store-fixture.ts'

const pruner = join(import.meta.dirname, 'store-pruner.ts')

export interface KillTally {
  /** Calls of the backend that a prune of the history makes. */
  readonly points: number
  readonly kills: number
}

/** At every `stride`-th call, before and after it, with and without `--now`. */
export async function killPrunes(stride: number): Promise<KillTally> {
  const folder = mkdtempSync(join(tmpdir(), 'vml-prune-kill-'))
  try {
    const base = join(folder, 'base')
    const marksFile = join(folder, 'marks.json')
    const id = await makeBase(base, marksFile)
    const expected = await readAll(await reopen(openLocal(base)))
    const tally = { points: 0, kills: 0 }
    let offset = 0
    for (const now of ['now', 'later']) {
      for (const when of ['before', 'after']) {
        const points = Number(run(folder, { base, marksFile, now, at: 0, when }).stdout)
        assert.ok(points > 20)
        tally.points += points
        // Another remainder each time, so that a stride meets different calls.
        for (let at = 1 + (offset++ % stride); at <= points; at += stride) {
          const { signal, stderr, place, marks } = run(folder, { base, marksFile, now, at, when })
          assert.equal(signal, 'SIGKILL', stderr)
          tally.kills++
          await inspect(place, openMarksFile(marks, id), expected)
        }
      }
    }
    return tally
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function makeBase(base: string, marksFile: string) {
  // The marks are of a repository whose id is known only when it is made.
  const { openMemoryMarks } = await import('../src/store/prune-marks.ts')
  const marks = openMemoryMarks()
  await makePruneHistory(openLocal(base), marks)
  const { id } = await openForPrune(openLocal(base))
  await openMarksFile(marksFile, id).write(await marks.read())
  return id
}

interface Run {
  readonly base: string
  readonly marksFile: string
  readonly now: string
  readonly at: number
  readonly when: string
}

function run(folder: string, { base, marksFile, now, at, when }: Run) {
  const place = join(folder, 'logbook')
  const marks = join(folder, 'marks-of-the-run.json')
  rmSync(place, { recursive: true, force: true })
  cpSync(base, place, { recursive: true })
  cpSync(marksFile, marks)
  const child = spawnSync(process.execPath, [pruner, place, marks, now, String(at), when], {
    encoding: 'utf8',
  })
  return { ...child, place, marks }
}

async function inspect(
  place: string,
  marks: ReturnType<typeof openMarksFile>,
  expected: ReadonlyMap<string, Buffer>,
): Promise<void> {
  // The lock of a dead process stops restic until it is told to look.
  restic(place, 'unlock')
  assert.match(restic(place, 'check', '--read-data'), /no errors were found/)
  assert.deepEqual(await readAll(await reopen(openLocal(place))), expected)
  await pruneOnce(await openForPrune(openLocal(place)), { marks, now: true })
  const repository = await reopen(openLocal(place))
  assert.deepEqual(await readAll(repository), expected)
  const { findings, unusedPacks } = await repository.check({ readData: true, reporter: silentReporter })
  assert.deepEqual([findings, unusedPacks], [[], []])
  assert.ok(existsSync(join(place, 'config')))
}

function restic(place: string, ...args: readonly string[]): string {
  return execFileSync(resticProgram('0.19'), ['--no-cache', '-r', place, ...args], {
    encoding: 'utf8',
    env: { ...process.env, RESTIC_PASSWORD: password.toString() },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}
