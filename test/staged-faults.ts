// A save over a folder of this host whose packs are staged, while the backend or the disk goes wrong once, at every call of both: no silent loss.
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readdirSync, readlinkSync, rmSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Backend } from '../src/backend/backend.ts'
import { isFailure } from '../src/base/failure.ts'
import { silentReporter } from '../src/base/progress.ts'
import type { SnapshotId } from '../src/model/ids.ts'
import { initRepository } from '../src/store/repository.ts'
import { untrue } from './fault-matrix.ts'
import { type Call, type Fault, faultPoints, faults, openFaulty, type Operation } from './faulty-backend.ts'
import {
  canMeetDisk,
  type DiskCall,
  type DiskFault,
  diskFaults,
  type FaultyDisk,
  isUntrue,
  openFaultyDisk,
} from './faulty-disk.ts'
import { cheapKey, fakeClock, noise, readAll, reopen, save } from './store-fixture.ts'

const packBytes = 2_500_000
const earlier = [noise(50_000, 'earlier'), Buffer.from('small')]
/** What the caller's thread writes by itself, and what goes through lanes in other threads. */
const loads = {
  own: [noise(1_500_000, 'one'), noise(1_200_000, 'two'), noise(1_300_000, 'three'), Buffer.from('small')],
  lanes: [
    ...[noise(1_500_000, 'one'), noise(1_200_000, 'two'), noise(1_600_000, 'three')],
    ...[noise(2_000_000, 'four'), noise(2_000_000, 'five'), Buffer.from('small')],
  ],
}
export type Load = keyof typeof loads

export interface StagedTally {
  points: number
  /** At how many of them an error was told. */
  told: number
  /** Content that was no longer what was written; the check of all data, or the read-back, told of each. */
  found: number
  /** Names in `tmp/` that were left, and swept by a later save. */
  left: number
}

interface Point {
  readonly title: string
  /** Content was lost by what said that it was written: that it is told is all that can be promised. */
  readonly isUntrue: boolean
  readonly backendFaultAt?: (call: Call) => Fault | undefined
  readonly diskFaultAt?: (call: DiskCall) => DiskFault | undefined
  readonly wasMet: () => boolean
  /** By the fault itself. */
  readonly leaksDescriptor?: boolean
}

const staged: readonly Operation[] = ['stage', 'putStaged', 'drop']

/** Every `stride`-th point; `all` takes calls of the backend that stage nothing, too. */
export async function runStagedFaults(
  load: Load,
  { stride, all }: { readonly stride: number; readonly all: boolean },
): Promise<StagedTally> {
  const disk = await openFaultyDisk()
  const folder = mkdtempSync(join(tmpdir(), 'vml-staged-'))
  try {
    const base = join(folder, 'base')
    const before = await begin(disk, base)
    const tally = { points: 0, told: 0, found: 0, left: 0 }
    for (const [at, point] of (await pointsOf(disk, base, load, all)).entries()) {
      if (at % stride !== 0) continue
      const place = join(folder, `at-${at}`)
      cpSync(base, place, { recursive: true })
      await runPoint({ disk, place, load, before, point }, tally)
      rmSync(place, { recursive: true })
    }
    return tally
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function begin({ openLocal }: FaultyDisk, base: string): Promise<SnapshotId> {
  await using repository = await initRepository({
    backend: openLocal(base),
    keys: [cheapKey],
    clock: fakeClock(),
  })
  return (await save(repository, earlier)).id
}

async function pointsOf(disk: FaultyDisk, base: string, load: Load, all: boolean): Promise<Point[]> {
  const place = `${base}-whole`
  cpSync(base, place, { recursive: true })
  const diskCalls = disk.watch(() => undefined)
  const { calls, error } = await work(disk.openLocal(place), load, () => undefined)
  disk.watch(undefined)
  rmSync(place, { recursive: true })
  assert.equal(error, undefined)
  for (const operation of ['open', 'fstat', 'fdatasync', 'link', 'syncFolder'])
    assert.ok(diskCalls.filter((call) => call.operation === operation).length > 1, operation)
  const chosen = calls.filter(({ operation }) => all || staged.includes(operation))
  const atBackend = faultPoints(
    chosen,
    faults.filter((fault) => !untrue.includes(fault) || fault === 'lost-write'),
  )
    .filter(({ fault, call }) => fault !== 'lost-write' || staged.includes(call.operation))
    .map(({ fault, call, title, faultAt, wasMet }) => ({
      title,
      isUntrue: fault === 'lost-write' && call.operation === 'putStaged',
      backendFaultAt: faultAt,
      wasMet,
      leaksDescriptor: call.operation === 'drop',
    }))
  return [...atBackend, ...diskFaults.flatMap((fault) => diskPoints(diskCalls, fault))]
}

function diskPoints(calls: readonly DiskCall[], fault: DiskFault): Point[] {
  return calls
    .filter((call) => canMeetDisk(fault, call))
    .map((call) => {
      let met = false
      return {
        title: `${fault} at the disk's ${call.operation} ${call.nth}`,
        isUntrue: isUntrue(fault, call),
        diskFaultAt: ({ operation, nth }) => {
          if (operation !== call.operation || nth !== call.nth) return undefined
          met = true
          return fault
        },
        wasMet: () => met,
      }
    })
}

interface Run {
  readonly disk: FaultyDisk
  readonly place: string
  readonly load: Load
  readonly before: SnapshotId
  readonly point: Point
}

async function runPoint(run: Run, tally: StagedTally): Promise<void> {
  const { disk, place, load, before, point } = run
  const { title } = point
  const { openLocal } = disk
  if (point.diskFaultAt) disk.watch(point.diskFaultAt)
  const { saved, error } = await work(
    openLocal(place),
    load,
    point.backendFaultAt ?? (() => undefined),
    title,
  )
  disk.watch(undefined)
  if (!point.wasMet()) return
  tally.points++
  if (error !== undefined) tally.told++
  if (!point.leaksDescriptor) assert.deepEqual(openBelow(place), [], `${title}: a file stays open`)
  if (point.isUntrue && error !== undefined) {
    tally.found++
    await expectEntries(run, [[before, earlier]], 'only those before')
    return
  }
  const known: (readonly [SnapshotId, readonly Buffer[]])[] = [[before, earlier]]
  if (saved !== undefined) known.push([saved, loads[load]])
  await expectEntries(run, known)
  if (error === undefined) {
    assert.ok(saved !== undefined, title)
    await expectSound(run)
  }
  tally.left += ageLeftovers(place, title)
  known.push([await saveAgain(run), loads[load]])
  await expectEntries(run, known)
  await expectSound(run)
  assert.deepEqual(readdirSync(join(place, 'tmp')), [], `${title}: what was left is not swept`)
}

interface Told {
  /** The snapshot that the save said it made. */
  readonly saved: SnapshotId | undefined
  readonly error: unknown
  readonly calls: readonly Call[]
}

/** What a user does: save, read it back, check. */
async function work(
  backend: Backend,
  load: Load,
  faultAt: (call: Call) => Fault | undefined,
  title = 'no fault',
): Promise<Told> {
  const faulty = openFaulty(backend, faultAt)
  const { calls } = faulty
  let saved: SnapshotId | undefined
  try {
    await using repository = await reopen(faulty, { packBytes, clock: fakeClock() })
    saved = (await save(repository, loads[load])).id
    await readAll(repository)
    const { findings } = await repository.check({ readData: true, reporter: silentReporter })
    const damage = findings.filter(({ severity }) => severity === 'damage')
    return { saved, error: damage.length > 0 ? damage : undefined, calls }
  } catch (error) {
    assert.ok(isForeseen(error), `${title}: not a failure that was foreseen: ${String(error)}`)
    return { saved, error, calls }
  }
}

function isForeseen(error: unknown): boolean {
  if (error instanceof SuppressedError) return isForeseen(error.error) && isForeseen(error.suppressed)
  return isFailure(error)
}

async function saveAgain({ disk: { openLocal }, place, load, point: { title } }: Run): Promise<SnapshotId> {
  const open = async () => await reopen(openLocal(place), { packBytes, clock: fakeClock() })
  const again = await save(await open(), loads[load]).catch(async (error: unknown) => {
    // Half a lock, of a fault at the lock itself: it is removed first, as the failure says.
    assert.ok(isFailure(error, 'store.locked'), `${title}, saved again: ${String(error)}`)
    for (const name of readdirSync(join(place, 'locks'))) rmSync(join(place, 'locks', name))
    return await save(await open(), loads[load])
  })
  return again.id
}

async function expectEntries(
  { disk: { openLocal }, place, point: { title } }: Run,
  known: readonly (readonly [SnapshotId, readonly Buffer[]])[],
  which: 'all' | 'only those before' = 'all',
): Promise<void> {
  await using repository = await reopen(openLocal(place), { packBytes, clock: fakeClock() })
  const ids = new Set<string>(known.map(([id]) => id))
  const found = await readAll(
    which === 'all'
      ? repository
      : {
          ...repository,
          async *snapshots() {
            for await (const each of repository.snapshots()) if (ids.has(each.id)) yield each
          },
        },
  ).catch((error: unknown) => {
    throw new Error(title, { cause: error })
  })
  for (const [id, contents] of known)
    for (const [at, content] of contents.entries())
      assert.ok(found.get(`${id}/files/${at}`)?.equals(content), `${title}: file ${at} of ${id.slice(0, 8)}`)
}

async function expectSound({ disk: { openLocal }, place, point: { title } }: Run): Promise<void> {
  await using repository = await reopen(openLocal(place), { clock: fakeClock() })
  const { findings } = await repository.check({ readData: true, reporter: silentReporter })
  const damage = findings.filter(({ severity }) => severity === 'damage')
  assert.deepEqual(damage, [], title)
}

/** As if nobody had written to them for long. */
function ageLeftovers(place: string, title: string): number {
  const names = readdirSync(join(place, 'tmp'))
  const longAgo = new Date(Date.now() - 24 * 3600_000)
  for (const name of names) {
    assert.match(name, /^vml-put-[0-9a-f]{16}$/, title)
    utimesSync(join(place, 'tmp', name), longAgo, longAgo)
  }
  return names.length
}

/** Files of a repository that this process has open. */
function openBelow(place: string): readonly string[] {
  return readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      const path = readlinkSync(join('/proc/self/fd', descriptor))
      return path.startsWith(`${place}/`) ? [path] : []
    } catch {
      // The one by which this folder was listed.
      return []
    }
  })
}
