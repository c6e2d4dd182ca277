// Two prunes over a storage that goes wrong once, in every way, at every call: no snapshot ever loses a byte.
import assert from 'node:assert/strict'
import type { Backend } from '../src/backend/backend.ts'
import { openConfirmed } from '../src/backend/confirmed.ts'
import { openMemory } from '../src/backend/memory.ts'
import { openRetrying } from '../src/backend/retrying.ts'
import { isFailure } from '../src/base/failure.ts'
import { silentReporter } from '../src/base/progress.ts'
import type { PackId } from '../src/model/ids.ts'
import { openMemoryMarks } from '../src/store/prune-marks.ts'
import { type Around, untrue } from './fault-matrix.ts'
import { type Call, type Fault, faultPoints, faults, openFaulty } from './faulty-backend.ts'
import { patientClock } from './patient-clock.ts'
import { makePruneHistory, packBytes, pruneOnce } from './prune-history.ts'
import { fakeClock, readAll, reopen } from './store-fixture.ts'

interface Start {
  readonly files: ReadonlyMap<string, Buffer>
  readonly marked: ReadonlySet<PackId>
  readonly content: ReadonlyMap<string, Buffer>
}

export interface PruneFaultTally {
  points: number
  /** At how many of them an error was told. */
  told: number
  /** Locks, whole or half, of prunes that could not remove them any more. */
  locksLeft: number
}

/** Every `stride`-th point: a fault at one call of the backend during two prunes, the second of which deletes. */
export async function runPruneFaults(around: Around, stride: number): Promise<PruneFaultTally> {
  const start = await begin()
  const { calls } = await prune(start, new Map(start.files), around, () => undefined)
  const tally = { points: 0, told: 0, locksLeft: 0 }
  const chosen = faults.filter((fault) => around === 'remote' || !untrue.includes(fault))
  for (const { title: point, faultAt, wasMet } of faultPoints(calls, chosen).filter(
    (_, at) => at % stride === 0,
  )) {
    const files = new Map(start.files)
    const { error } = await prune(start, files, around, faultAt)
    if (!wasMet()) continue
    tally.points++
    if (error !== undefined) tally.told++
    await expectWhole(point, files, start.content)
    // As vml unlock does: this process lives on, so that its locks are not stale.
    for (const path of Array.from(files.keys()))
      if (path.startsWith('lock/') && files.delete(path)) tally.locksLeft++
    await pruneOnce(await open(openMemory({ files })), { marks: openMemoryMarks(), now: true })
    await expectWhole(`${point}, pruned again`, files, start.content)
  }
  return tally
}

async function open(backend: Backend) {
  return await reopen(backend, { packBytes, clock: fakeClock() })
}

async function begin(): Promise<Start> {
  const files = new Map<string, Buffer>()
  const marks = openMemoryMarks()
  await makePruneHistory(openMemory({ files }), marks)
  return {
    files,
    marked: new Set(await marks.read()),
    content: await readAll(await open(openMemory({ files }))),
  }
}

async function prune(
  { marked }: Start,
  files: Map<string, Buffer>,
  around: Around,
  faultAt: (call: Call) => Fault | undefined,
): Promise<{ readonly error: unknown; readonly calls: readonly Call[] }> {
  const faulty = openFaulty(openMemory({ files }), faultAt)
  const backend =
    around === 'bare'
      ? faulty
      : openRetrying(openConfirmed(faulty), {
          clock: patientClock(),
          random: () => 0.5,
          reporter: silentReporter,
        })
  const marks = openMemoryMarks(marked)
  let error: unknown
  for (const _ of [1, 2]) {
    try {
      await pruneOnce(await open(backend), { marks, now: false })
    } catch (failure) {
      const foreseen = isFailure(failure) || String(failure).includes('changed the index')
      assert.ok(foreseen, `not a failure that was foreseen: ${String(failure)}`)
      error ??= failure
    }
  }
  return { error, calls: faulty.calls }
}

async function expectWhole(
  point: string,
  files: Map<string, Buffer>,
  content: ReadonlyMap<string, Buffer>,
): Promise<void> {
  const found = await readAll(await open(openMemory({ files }))).catch((error: unknown) => {
    throw new Error(point, { cause: error })
  })
  assert.equal(found.size, content.size, point)
  for (const [path, bytes] of content) assert.ok(found.get(path)?.equals(bytes), `${point}: ${path}`)
}
