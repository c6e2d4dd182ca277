import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { patientClock } from '../../test/patient-clock.ts'
import { systemClock } from '../base/clock.ts'
import { isFailure } from '../base/failure.ts'
import { silentReporter } from '../base/progress.ts'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath, rootPath } from '../model/raw-path.ts'
import { openCommitDisk } from '../stage/commit-disk.ts'
import { openLibc } from '../wire/libc.ts'
import { dropStage, withNewStage } from './open-stage.ts'
import { requireStillOpen, withOpenStage, withStageLock } from './stage-lock.ts'
import { pathOfNote, type StageNote, writeStageNote } from './stage-note.ts'
import { openFolder, type Workplace } from './workplace.ts'

const note = (token: string): StageNote => ({
  schema: 1,
  token: token.repeat(32),
  source: 'apt',
  title: 'a run of apt',
  note: '',
  tags: [],
  command: [],
  user: { name: 'root', uid: 0 },
  startedAt: '2026-11-22T05:00:00.000Z',
  process: { id: 1, started: '1' },
})
const [own, other] = [note('a'), note('b')]

async function withPlace(
  run: (place: Workplace, path: string) => Promise<void>,
  clock = systemClock,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vml-stage-lock-'))
  try {
    const libc = openLibc(tmpdir())
    assert.ok(libc)
    const state = parseRawPath(rawFromString(folder)) ?? rootPath
    const place = { state, clock, reporter: silentReporter, disk: openCommitDisk(libc) }
    mkdirSync(openFolder(place), { recursive: true })
    await run(place as unknown as Workplace, join(folder, 'stage.lock'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const perlHold = `use Fcntl; open(my $f, "+>>", $ARGV[0]) or exit 9; my $lock = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0);
fcntl($f, F_SETLK, $lock) or exit 1; $| = 1; print "x"; <STDIN>`

/** Another process that is at work, such as the hook of an apt that was killed. */
async function hold(path: string): Promise<ChildProcess> {
  const holder = spawn('perl', ['-e', perlHold, path])
  await once(holder.stdout, 'data')
  return holder
}

async function end(holder: ChildProcess): Promise<void> {
  holder.kill('SIGKILL')
  await once(holder, 'close')
}

test('who has waited for a stage does nothing where another one is open by then', async () => {
  await withPlace(async (place, path) => {
    for (const [found, expected] of [
      [other, undefined],
      [own, 'done'],
    ] as const) {
      await writeStageNote(pathOfNote(openFolder(place)), own)
      const holder = await hold(path)
      const work = withOpenStage(place, async () => await Promise.resolve('done'))
      await writeStageNote(pathOfNote(openFolder(place)), found)
      await end(holder)
      assert.equal(await work, expected)
    }
    rmSync(openFolder(place), { recursive: true })
    assert.equal(await withOpenStage(place, async () => await Promise.resolve('done')), undefined)
  })
})

test('what another process has opened meanwhile is neither removed nor committed', async () => {
  await withPlace(async (place) => {
    await writeStageNote(pathOfNote(openFolder(place)), other)
    dropStage(place, own, undefined)
    dropStage(place, undefined, undefined)
    assert.ok(existsSync(pathOfNote(openFolder(place))))
    assert.throws(() => requireStillOpen(place, own), /another process has ended it/)
    dropStage(place, other, undefined)
    assert.ok(!existsSync(openFolder(place)))
  })
})

test('the wait for who is at work on a transaction is bounded, and says who; to open one does not wait', async () => {
  const clock = patientClock()
  await withPlace(async (place, path) => {
    const holder = await hold(path)
    const isHeld = (error: unknown) =>
      isFailure(error, 'store.locked') && error.details['process'] === holder.pid
    await assert.rejects(
      withStageLock(place, async () => await Promise.resolve()),
      isHeld,
    )
    const waited = clock.slept.length
    assert.ok(waited > 1000)
    await assert.rejects(
      withNewStage(place, undefined, async () => await Promise.resolve()),
      (error: unknown) => isFailure(error, 'store.locked'),
    )
    assert.equal(clock.slept.length, waited)
    await end(holder)
    await withStageLock(place, async () => await Promise.resolve())
  }, clock)
})

test('what was started by who is at work does not wait for it, and what outlives it holds no lock', async () => {
  await withPlace(async (place, path) => {
    const code = `const { withStageLock } = await import(${JSON.stringify(join(import.meta.dirname, 'stage-lock.ts'))})
      const clock = { now: () => 0, sleep: () => new Promise(() => setTimeout(() => {}, 60_000)) }
      await withStageLock({ state: process.argv[1], clock, reporter: {} }, async () => console.log('taken')).catch((error) => console.log(error.code))`
    const start = () => spawn(process.execPath, ['--input-type=module', '-e', code, place.state])
    const said = await withStageLock(place, async () => String((await once(start().stdout, 'data'))[0]))
    assert.equal(said, 'store.locked\n')
    const service = await withStageLock(place, async () => await Promise.resolve(spawn('sleep', ['60'])))
    await end(await hold(path))
    await end(service)
  })
})
