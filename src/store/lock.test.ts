import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { test } from 'node:test'
import { openMemory } from '../backend/memory.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import { silentReporter } from '../base/progress.ts'
import { patientClock } from '../../test/patient-clock.ts'
import { fakeClock, makeRepository, reopen, save } from '../../test/store-fixture.ts'
import { openCipher, randomMasterKey } from './cipher.ts'
import { thisProcess } from './lock-holder.ts'
import { acquireLock } from './lock.ts'
import { listLocks } from './lock-file.ts'
import { removeStaleLocks } from './stale-locks.ts'
import type { LockDescription } from './store.ts'
import { type Vault, writeSealedJson } from './sealed-file.ts'

const minuteMs = 60_000

function openVault(): Vault & { readonly files: Map<string, Buffer> } {
  const files = new Map<string, Buffer>()
  return {
    files,
    backend: openMemory({ files }),
    cipher: openCipher(randomMasterKey(randomBytes)),
    version: 2,
  }
}

test('many share, one excludes, and nothing is left behind', async () => {
  const vault = openVault()
  const clock = fakeClock()
  {
    await using first = await acquireLock(vault, 'shared', { clock })
    await using second = await acquireLock(vault, 'shared', { clock })
    assert.deepEqual([first.shared, second.shared], [false, true])
    await assert.rejects(acquireLock(vault, 'exclusive', { clock }), { code: 'store.locked' })
  }
  {
    await using _ = await acquireLock(vault, 'exclusive', { clock })
    await assert.rejects(acquireLock(vault, 'shared', { clock }), { code: 'store.locked' })
    await assert.rejects(acquireLock(vault, 'exclusive', { clock }), { code: 'store.locked' })
  }
  assert.equal(vault.files.size, 0)
})

test('who is refused learns who holds the lock, since when and what to do', async () => {
  const vault = openVault()
  const clock = fakeClock()
  const owner = { hostname: 'far', username: 'ann', pid: 4711, uid: 7, gid: 8 }
  await using _ = await acquireLock(vault, 'exclusive', { clock, owner })
  const refused = await acquireLock(vault, 'shared', { clock }).catch((error: unknown) => error)
  assert.ok(refused instanceof VmlError && refused.code === 'store.locked')
  assert.match(refused.message, /4711.*ann.*far.*2026-11-21T09:00:00/)
  assert.match(refused.hint ?? '', /"far" was switched off/)
})

test('of programs that lock alone at the same moment at most one gets it', async () => {
  for (let round = 0; round < 3; round++) {
    const vault = openVault()
    const tries = await Promise.allSettled([1, 2, 3].map(async () => await acquireLock(vault, 'exclusive')))
    const got = tries.filter((result) => result.status === 'fulfilled')
    assert.ok(got.length <= 1)
    for (const { value } of got) await value[Symbol.asyncDispose]()
    assert.equal(vault.files.size, 0)
  }
})

test('a lock of a dead process of this host is removed', async () => {
  const vault = openVault()
  const child = spawn('true')
  await once(child, 'exit')
  const { process: mark, ...owner } = { ...thisProcess(), pid: child.pid ?? 0 }
  const lock = { time: new Date().toISOString(), exclusive: true, ...owner }
  await writeLockFile(vault, { ...lock, vml: mark })
  {
    await using _ = await acquireLock(vault, 'shared')
    assert.equal(vault.files.size, 1)
  }
  // restic's own tell no more than the names of host and process, which a clone of this machine has as well.
  await writeLockFile(vault, lock)
  const stopping = new AbortController()
  const onWatch = () => stopping.abort(new Error('It is watched'))
  await assert.rejects(acquireLock(vault, 'shared', { onWatch, signal: stopping.signal }), /watched/)
  assert.equal(vault.files.size, 1)
  assert.deepEqual(
    (await removeStaleLocks(vault)).map(({ state }) => state),
    ['missing'],
  )
  await using _ = await acquireLock(vault, 'exclusive')
})

test('a process that got the number of a dead one does not keep its lock', async () => {
  const vault = openVault()
  const owner = thisProcess()
  const started = String(Number(owner.process?.started) - 1)
  const lock = { time: new Date().toISOString(), exclusive: true, ...owner }
  await writeLockFile(vault, { ...lock, vml: { ...owner.process, started } })
  await using _ = await acquireLock(vault, 'shared')
  assert.equal(vault.files.size, 1)
})

test('a clone of this machine, with its name and numbers, holds its lock', async () => {
  const vault = openVault()
  const owner = { ...thisProcess(), pid: 999_999_99 }
  const boot = 'of another kernel'
  const lock = { time: new Date().toISOString(), exclusive: true, ...owner }
  await writeLockFile(vault, { ...lock, vml: { ...owner.process, boot } })
  assert.deepEqual(await removeStaleLocks(vault), [])
  await assert.rejects(acquireLock(vault, 'shared'), { code: 'store.locked' })
})

test('a lock whose process lives on this kernel is held, however long it has not been refreshed', async () => {
  const vault = openVault()
  const { process: mark, ...owner } = thisProcess()
  const time = new Date(Date.now() - 5 * 60 * minuteMs).toISOString()
  await writeLockFile(vault, { time, exclusive: true, ...owner, vml: mark })
  assert.deepEqual(await removeStaleLocks(vault), [])
  assert.equal(vault.files.size, 1)
})

test('a lock of a living process of this host, and a young one of another, hold', async () => {
  const vault = openVault()
  const clock = fakeClock()
  const young = new Date(clock.now() - 29 * minuteMs).toISOString()
  await writeLockFile(vault, { time: young, exclusive: true, hostname: 'far', username: '', pid: 999_999_99 })
  await assert.rejects(acquireLock(vault, 'shared', { clock }), { code: 'store.locked' })
  vault.files.clear()
  await writeLockFile(vault, { time: young, exclusive: true, ...thisProcess() })
  await assert.rejects(acquireLock(vault, 'shared', { clock }), { code: 'store.locked' })
})

test('a lock that nobody refreshed for half an hour is removed after a watch, not before', async () => {
  for (const act of ['unlock', 'lock'] as const) {
    const vault = openVault()
    const clock = fakeClock()
    const old = new Date(clock.now() - 31 * minuteMs).toISOString()
    await writeLockFile(vault, { time: old, exclusive: true, hostname: 'far', username: '', pid: 1 })
    const [before] = vault.files.keys()
    const watched: string[] = []
    const options = {
      clock,
      onWatch: (locks: readonly LockDescription[]) => watched.push(...locks.map(({ hostname }) => hostname)),
    }
    const going =
      act === 'unlock' ? removeStaleLocks(vault, options) : acquireLock(vault, 'exclusive', options)
    for (let minute = 0; minute < 5; minute++) await passMinute(clock)
    assert.deepEqual([...vault.files.keys()], [before])
    for (let minute = 0; minute < 3; minute++) await passMinute(clock)
    await going
    assert.deepEqual(watched, ['far'])
    assert.ok(!vault.files.has(before ?? ''))
  }
})

test('a live lock of a host whose clock is hours behind is never taken for stale', async () => {
  const vault = openVault()
  const clock = fakeClock()
  const behind = { ...clock, now: () => clock.now() - 5 * 60 * minuteMs }
  const owner = { hostname: 'far', username: 'ann', pid: 7, uid: 7, gid: 7 }
  await using lock = await acquireLock(vault, 'exclusive', { clock: behind, owner })
  const locking = assert.rejects(acquireLock(vault, 'shared', { clock }), { code: 'store.locked' })
  const removing = removeStaleLocks(vault, { clock })
  for (let minute = 0; minute < 8; minute++) await passMinute(clock)
  assert.deepEqual(await removing, [])
  await locking
  await lock.ensureHeld()
  // And one that is ahead sees nothing but a young lock.
  const ahead = { ...clock, now: () => clock.now() - 10 * 60 * minuteMs }
  assert.deepEqual(await removeStaleLocks(vault, { clock: ahead }), [])
})

test('a lock that cannot be read stops, an empty one does not', async () => {
  const vault = openVault()
  vault.files.set(`lock/${'a'.repeat(64)}`, Buffer.alloc(0))
  {
    await using _ = await acquireLock(vault, 'exclusive')
  }
  vault.files.set(`lock/${'b'.repeat(64)}`, Buffer.from('noise'))
  await assert.rejects(acquireLock(vault, 'shared'), { code: 'store.locked' })
})

test('a held lock is written anew every five minutes, the new file before the old one goes', async () => {
  const vault = openVault()
  const clock = fakeClock()
  const counts: number[] = []
  const watched: Vault = {
    ...vault,
    backend: {
      ...vault.backend,
      remove: async (file) => {
        counts.push(vault.files.size)
        await vault.backend.remove(file)
      },
    },
  }
  await using lock = await acquireLock(watched, 'shared', { clock })
  const [before] = vault.files.keys()
  for (let minute = 0; minute < 60; minute++) await clock.pass(minuteMs)
  assert.equal(vault.files.size, 1)
  assert.notEqual([...vault.files.keys()][0], before)
  assert.deepEqual(counts, Array(12).fill(2))
  const [found] = await Array.fromAsync(listLocks(vault))
  assert.equal(Date.parse(found?.lock?.time ?? ''), clock.now())
  await lock.ensureHeld()
})

test('a lock that was taken for stale while this computer slept is lost, and says so', async () => {
  const vault = openVault()
  const clock = fakeClock()
  await using lock = await acquireLock(vault, 'shared', { clock })
  await lock.ensureHeld()
  // Another program removes it, and this one wakes up.
  vault.files.clear()
  await clock.pass(40 * minuteMs)
  await assert.rejects(lock.ensureHeld(), (error) => isFailure(error, 'store.locked'))
  assert.equal(vault.files.size, 0)
})

test('a young lock that another program removed by force is lost too', async () => {
  const vault = openVault()
  const clock = fakeClock()
  await using lock = await acquireLock(vault, 'shared', { clock })
  await clock.pass(6 * minuteMs)
  await lock.ensureHeld()
  vault.files.clear()
  await assert.rejects(lock.ensureHeld(), (error) => isFailure(error, 'store.locked'))
  await clock.pass(10 * minuteMs)
  assert.equal(vault.files.size, 0)
})

test('after a long sleep a lock that is still there is written anew before anything else', async () => {
  const vault = openVault()
  const clock = fakeClock()
  await using lock = await acquireLock(vault, 'shared', { clock })
  const [before] = vault.files.keys()
  await clock.pass(40 * minuteMs)
  await lock.ensureHeld()
  assert.notEqual([...vault.files.keys()][0], before)
})

test('storage that fails for ten minutes loses no lock', async () => {
  const vault = openVault()
  const clock = fakeClock()
  let down = false
  const shaky: Vault = {
    ...vault,
    backend: {
      ...vault.backend,
      put: async (...put) => {
        if (down) throw new VmlError('unavailable.network', 'Cannot reach it')
        await vault.backend.put(...put)
      },
    },
  }
  await using lock = await acquireLock(shaky, 'shared', { clock })
  down = true
  for (let minute = 0; minute < 10; minute++) await clock.pass(minuteMs)
  down = false
  await clock.pass(minuteMs)
  const [found] = await Array.fromAsync(listLocks(vault))
  assert.ok(clock.now() - Date.parse(found?.lock?.time ?? '') <= minuteMs)
  await lock.ensureHeld()
})

/** In the steps in which a watch looks. */
async function passMinute(clock: ReturnType<typeof fakeClock>): Promise<void> {
  for (let step = 0; step < 3; step++) await clock.pass(minuteMs / 3)
}

async function writeLockFile(vault: Vault, lock: Record<string, unknown>): Promise<void> {
  await writeSealedJson(vault, 'lock', lock)
}

test('a writer waits for the moments in which a prune holds the logbook alone', async () => {
  const { files, repository } = await makeRepository()
  const lock = await repository.lock('exclusive')
  const { sleep, ...clock } = patientClock(Date.now())
  let pauses = 0
  const phases: string[] = []
  const other = await reopen(files, {
    clock: {
      ...clock,
      async sleep(ms, options) {
        await sleep(ms, options)
        if (++pauses === 2) await lock[Symbol.asyncDispose]()
      },
    },
    reporter: { ...silentReporter, progress: ({ phase }) => void phases.push(phase) },
  })
  const snapshot = await save(other, [Buffer.from('waited')])
  assert.deepEqual(await Array.fromAsync(repository.snapshotIds()), [snapshot.id])
  assert.deepEqual([...new Set(phases)], ['waiting for the lock'])
})

test('a writer does not wait longer than some seconds, and says who is there', async () => {
  const { files, repository } = await makeRepository()
  await using _lock = await repository.lock('exclusive')
  const clock = patientClock(Date.now())
  const other = await reopen(files, { clock })
  await assert.rejects(other.beginWrite(), (error) => {
    assert.ok(isFailure(error, 'store.locked'))
    assert.match(error.message, new RegExp(`process ${process.pid} .* holds it alone`))
    return true
  })
  assert.ok(clock.slept.length > 1 && clock.slept.every((ms) => ms > 0))
  assert.equal([...files.keys()].filter((path) => path.startsWith('lock/')).length, 1)
})
