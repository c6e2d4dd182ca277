// A save, its read-back and a check over a storage that goes wrong once, in every way, at every call: no silent loss.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Backend } from '../src/backend/backend.ts'
import { openCached } from '../src/backend/cached.ts'
import { openConfirmed } from '../src/backend/confirmed.ts'
import { openMemory } from '../src/backend/memory.ts'
import { openRetrying } from '../src/backend/retrying.ts'
import { isFailure } from '../src/base/failure.ts'
import { silentReporter } from '../src/base/progress.ts'
import type { SnapshotId } from '../src/model/ids.ts'
import { type Call, type Fault, faultPoints, faults, openFaulty, type Operation } from './faulty-backend.ts'
import { patientClock } from './patient-clock.ts'
import { fakeClock, makeRepository, noise, readAll, reopen, save } from './store-fixture.ts'

const packBytes = 60_000
const earlier = [noise(50_000, 'earlier'), Buffer.from('small')]
const wanted = [
  noise(50_000, 'one'),
  noise(40_000, 'two'),
  noise(20_000, 'three'),
  Buffer.from('small'),
  Buffer.alloc(0),
]

/** Against what a storage promises: half a file, or a success that was none. Healed where each write is confirmed and repeated. */
export const untrue: readonly Fault[] = ['short-write', 'lying-write', 'lost-write']
/** Once and over: asking again helps. */
const passing: readonly Fault[] = [
  ...untrue,
  'fails-before',
  'fails-after',
  'list-breaks',
  'list-repeats',
  'slow',
]
const changing: readonly Operation[] = ['create', 'put', 'remove']

interface Start {
  readonly files: ReadonlyMap<string, Buffer>
  readonly snapshot: SnapshotId
}

interface Told {
  /** The snapshot that the save said it made. */
  readonly saved: SnapshotId | undefined
  readonly error: unknown
  readonly calls: readonly Call[]
}

export type Around = 'bare' | 'remote'

export interface FaultTally {
  points: number
  /** At how many of them an error was told. */
  told: number
  /** Where a lock that cannot be read had to be removed before the next save, as its failure says. */
  locksLeft: number
}

/** Every `stride`-th point: a fault at one call of the backend. Fails at the first silent loss. */
export async function runFaults(around: Around, stride: number): Promise<FaultTally> {
  const start = await begin()
  const { calls } = await work(start, around, () => undefined)
  const tally = { points: 0, told: 0, locksLeft: 0 }
  const chosen = faults.filter((fault) => around === 'remote' || !untrue.includes(fault))
  const points = faultPoints(calls, chosen).filter((_, at) => at % stride === 0)
  for (const { fault, call, title, faultAt, wasMet } of points) {
    const files = new Map(start.files)
    const told = await work({ ...start, files }, around, faultAt)
    if (!wasMet()) continue
    tally.points++
    if (told.error !== undefined) tally.told++
    if (around === 'remote' && passing.includes(fault)) assert.equal(told.error, undefined, title)
    const place = { point: title, files, before: start.snapshot }
    await judge(place, told)
    if (!changing.includes(call.operation) && fault !== 'gone') continue
    if (await saveAgain(place)) tally.locksLeft++
  }
  return tally
}

async function begin(): Promise<Start> {
  const { repository, files } = await makeRepository({ packBytes, clock: fakeClock() })
  const { id } = await save(repository, earlier)
  return { files, snapshot: id }
}

/** What a user does: save, read it back, check. An error is whatever of it fails or finds damage. */
async function work(
  { files }: Start,
  around: Around,
  faultAt: (call: Call) => Fault | undefined,
): Promise<Told> {
  using copies = temporaryFolder()
  const clock = fakeClock()
  const faulty = openFaulty(openMemory({ files: files as Map<string, Buffer> }), faultAt)
  const backend: Backend =
    around === 'bare'
      ? faulty
      : openCopied(
          openRetrying(openConfirmed(faulty), {
            clock: patientClock(),
            random: () => 0.5,
            reporter: silentReporter,
          }),
          copies.path,
        )
  let saved: SnapshotId | undefined
  try {
    await using repository = await reopen(backend, { packBytes, clock })
    const { id } = await save(repository, wanted)
    saved = id
    await readAll(repository)
    const { findings } = await repository.check({ readData: true, reporter: silentReporter })
    const damage = findings.filter(({ severity }) => severity === 'damage')
    if (damage.length > 0) return { saved, error: damage, calls: faulty.calls }
    return { saved, error: undefined, calls: faulty.calls }
  } catch (error) {
    assert.ok(isFailure(error), `not a failure that was foreseen: ${String(error)}`)
    return { saved, error, calls: faulty.calls }
  }
}

function openCopied(backend: Backend, folder: string): Backend {
  const cached = openCached(backend)
  cached.keepCopies({ folder, bytesMax: 1_000_000 })
  return cached
}

function temporaryFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'vml-faults-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

interface Place {
  readonly point: string
  readonly files: Map<string, Buffer>
  readonly before: SnapshotId
}

/** Over the storage itself, which is well again. */
async function judge(place: Place, { saved, error }: Told): Promise<void> {
  const { point, before } = place
  const found = await readWell(place)
  expectSnapshot(point, found, before, earlier)
  if (saved !== undefined) expectSnapshot(point, found, saved, wanted)
  if (error !== undefined) return
  assert.ok(saved !== undefined, point)
  await expectSound(place)
}

/** Whether half a lock had to be removed first, as the failure says. */
async function saveAgain(place: Place): Promise<boolean> {
  const { files, before } = place
  const point = `${place.point}, saved again`
  const open = async () => await reopen(files, { packBytes, clock: fakeClock() })
  let locked = false
  const again = await save(await open(), wanted).catch(async (error: unknown) => {
    assert.ok(isFailure(error, 'store.locked'), `${point}: ${String(error)}`)
    locked = true
    for (const path of Array.from(files.keys())) if (path.startsWith('lock/')) files.delete(path)
    return await save(await open(), wanted)
  })
  const found = await readWell(place)
  expectSnapshot(point, found, before, earlier)
  expectSnapshot(point, found, again.id, wanted)
  await expectSound({ ...place, point })
  return locked
}

async function readWell({ point, files }: Place): Promise<ReadonlyMap<string, Buffer>> {
  return await readAll(await reopen(files, { packBytes, clock: fakeClock() })).catch((error: unknown) => {
    throw new Error(point, { cause: error })
  })
}

function expectSnapshot(
  point: string,
  found: ReadonlyMap<string, Buffer>,
  id: SnapshotId,
  contents: readonly Buffer[],
): void {
  for (const [at, content] of contents.entries())
    assert.ok(found.get(`${id}/files/${at}`)?.equals(content), `${point}: file ${at} of ${id.slice(0, 8)}`)
}

async function expectSound({ point, files }: Place): Promise<void> {
  const repository = await reopen(files, { clock: fakeClock() })
  const { findings } = await repository.check({ readData: true, reporter: silentReporter })
  const damage = findings.filter(({ severity }) => severity === 'damage')
  assert.deepEqual(damage, [], point)
}
