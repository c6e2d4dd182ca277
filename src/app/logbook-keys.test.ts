import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Died, openDying } from '../../test/dying-backend.ts'
import { cheapKey, fakeClock, makeRepository, reopen } from '../../test/store-fixture.ts'
import { openMemory } from '../backend/memory.ts'
import { systemClock } from '../base/clock.ts'
import type { Repository } from '../store/store.ts'
import { type Config, readConfig } from './config.ts'
import { findComputerKeys } from './keyring.ts'
import {
  addComputerKey,
  changePassword,
  findLogbookKey,
  listLogbookKeys,
  removeLogbookKey,
} from './logbook-keys.ts'

const fresh = Buffer.from('the new one')

test('cut off at any call of the backend, this computer gets its key the next time, and it opens', async (context) => {
  const { files } = await makeRepository()
  const points = await atEveryCall(files, 1, async (repository, config) => {
    await addComputerKey(config, systemClock, repository)
  })
  context.diagnostic(`${points.length} points`)
  assert.ok(points.length > 8)
  for (const { place, config, remove } of points) {
    const repository = await reopen(place, { clock: fakeClock() })
    const { id } = await addComputerKey(config, systemClock, repository)
    const names = (await Array.fromAsync(repository.keys())).map((key) => key.id)
    const [known] = await findComputerKeys(config.folders, names)
    assert.equal(await repository.findKey(known?.secret ?? Buffer.alloc(0)), id)
    await remove()
  }
})

test('cut off at any call of the backend, a change of the password leaves the old one or the new one, or both', async (context) => {
  const { repository: first, files } = await makeRepository()
  const old = await first.addKey({ ...cheapKey, password: Buffer.from('the old one') })
  const points = await atEveryCall(files, 2, async (repository, config) => {
    const key = findLogbookKey(await listLogbookKeys(config, repository), old)
    await changePassword(config, repository, { old: key, password: fresh })
  })
  context.diagnostic(`${points.length} points`)
  assert.ok(points.length > 6)
  const ends = new Set<string>()
  for (const { place, remove } of points) {
    const repository = await reopen(place, { clock: fakeClock() })
    const opens = [await repository.findKey(Buffer.from('the old one')), await repository.findKey(fresh)]
    ends.add(opens.map((id) => id !== undefined).join())
    assert.ok(opens.some((id) => id !== undefined))
    await remove()
  }
  assert.ok(ends.has('true,false') && ends.has('true,true'))
})

test('cut off at any call of the backend, a removal leaves the key that is in use, and can be repeated', async () => {
  const { repository: first, files } = await makeRepository()
  const old = await first.addKey({ ...cheapKey, password: Buffer.from('the old one') })
  const remove = async (repository: Repository, config: Config) => {
    const keys = await listLogbookKeys(config, repository)
    const key = keys.find(({ id }) => id === old)
    if (key) await removeLogbookKey(config, repository, { key, proof: undefined })
  }
  for (const { place, config, remove: clear } of await atEveryCall(files, 1, remove)) {
    const repository = await reopen(place, { clock: fakeClock() })
    await remove(repository, config)
    assert.deepEqual(
      (await Array.fromAsync(repository.keys())).map(({ id }) => id),
      [first.keyId],
    )
    await clear()
  }
})

test('two programs that remove a key each leave one', async () => {
  const { repository: first, files } = await makeRepository()
  const second = await first.addKey({ ...cheapKey, password: fresh })
  await using home = await openHome()
  const [left, right] = [await reopen(files), await reopen(files)]
  const bySecond = { ...right, keyId: second }
  const keys = await listLogbookKeys(home.config, left)
  const tries = await Promise.allSettled([
    removeLogbookKey(home.config, left, { key: findLogbookKey(keys, second), proof: undefined }),
    removeLogbookKey(home.config, bySecond, {
      key: { ...findLogbookKey(keys, first.keyId), current: false },
      proof: undefined,
    }),
  ])
  assert.ok(tries.some(({ status }) => status === 'rejected'))
  assert.ok((await Array.fromAsync(left.keys())).length >= 1)
})

test('a damaged key file is listed as such and stops nothing', async () => {
  const { files } = await makeRepository()
  files.set(`key/${'a'.repeat(64)}`, Buffer.from('{"kdf": "none"}'))
  await using home = await openHome()
  const repository = await reopen(files)
  await addComputerKey(home.config, systemClock, repository)
  const keys = await listLogbookKeys(home.config, repository)
  assert.deepEqual(
    new Set(keys.map(({ damage, here, current }) => [damage !== undefined, here, current].join())),
    new Set(['false,false,true', 'false,true,false', 'true,false,false']),
  )
})

interface CutPoint {
  readonly place: Map<string, Buffer>
  readonly config: Config
  remove(): Promise<void>
}

/** The world as it is left by a death before or after a call, for every `stride`-th of them. */
async function atEveryCall(
  files: ReadonlyMap<string, Buffer>,
  stride: number,
  work: (repository: Repository, config: Config) => Promise<void>,
): Promise<CutPoint[]> {
  const points: CutPoint[] = []
  for (const when of ['before', 'after'] as const) {
    for (let at = when === 'before' ? 1 : stride; ; at += stride) {
      const place = new Map(files)
      const home = await openHome()
      const dying = openDying(openMemory({ files: place }), { at, when, die: () => {} })
      const error = await reopen(dying, { clock: fakeClock() }).then(
        async (repository) => await work(repository, home.config).then(() => undefined, reasonOf),
        reasonOf,
      )
      if (error !== undefined && !(error instanceof Died)) throw error
      if (dying.calls() < at) {
        await home[Symbol.asyncDispose]()
        break
      }
      for (const path of [...place.keys()]) if (path.startsWith('lock/')) place.delete(path)
      points.push({ place, config: home.config, remove: async () => await home[Symbol.asyncDispose]() })
    }
  }
  return points
}

function reasonOf(reason: unknown): unknown {
  return reason
}

async function openHome(): Promise<AsyncDisposable & { readonly config: Config }> {
  const home = await mkdtemp(join(tmpdir(), 'vml-keys-'))
  return {
    config: readConfig({}, { environment: { HOME: home, USER: 'ann' }, workingFolder: home }),
    [Symbol.asyncDispose]: async () => await rm(home, { recursive: true, force: true }),
  }
}
