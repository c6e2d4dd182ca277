// Thinnings that are killed at calls of the storage, one after the other: what must hold after each.
import assert from 'node:assert/strict'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openLocal } from '../src/backend/local.ts'
import type { Snapshot } from '../src/model/entry.ts'
import { initRepository } from '../src/store/repository.ts'
import { checkByRestic, killAtCalls, type KillTally, runToEnd } from './kill-at-call.ts'
import { cheapKey, fileNode, noise, readAll, reopen, snapshotOf, storeFile } from './store-fixture.ts'

/** At every `stride`-th call, before it and after it took effect. */
export async function killThinnings(stride: number): Promise<KillTally> {
  const folder = await mkdtemp(join(tmpdir(), 'vml-forget-'))
  try {
    const base = join(folder, 'base')
    const snapshots = await makeLogbook(base)
    const stays = [1, 4, 5].map((index) => String(snapshots[index]?.id)).toSorted()
    const thinner = { program: 'store-thinner.ts' }
    const whole = join(folder, 'whole')
    await cp(base, whole, { recursive: true })
    runToEnd(thinner, whole)
    assert.deepEqual(await idsOf(whole), stays)
    checkByRestic(whole)
    return await killAtCalls({
      ...thinner,
      base,
      stride,
      pointsMin: 4,
      inspect: async (place) => {
        await assertWhole(place, snapshots, stays)
        runToEnd(thinner, place)
        assert.deepEqual(await idsOf(place), stays)
      },
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function makeLogbook(folder: string): Promise<readonly Snapshot[]> {
  await using repository = await initRepository({ backend: openLocal(folder), keys: [cheapKey] })
  await using writer = await repository.beginWrite()
  const snapshots: Snapshot[] = []
  for (let number = 1; number <= 6; number++) {
    const file = fileNode('file', await storeFile(writer, noise(5000, String(number))))
    const tree = await writer.storeTree([file])
    const tags = [`vml:n=${number}`, 'vml:kind=environment', ...(number === 2 ? ['keep'] : [])]
    const time = `2026-01-0${number}T10:00:00Z`
    snapshots.push(await writer.commit({ ...snapshotOf(tree, tags), time }))
  }
  // An edit that was cut off has left the form of before: both are one entry.
  const [first] = snapshots
  if (first) {
    const { id: original, ...rest } = first
    snapshots.push(await writer.commit({ ...rest, original, tags: [...rest.tags, 'vml:rev=1'] }))
  }
  return snapshots
}

async function idsOf(folder: string): Promise<readonly string[]> {
  await using repository = await reopen(openLocal(folder))
  return (await Array.fromAsync(repository.snapshotIds())).toSorted()
}

async function assertWhole(
  place: string,
  snapshots: readonly Snapshot[],
  stays: readonly string[],
): Promise<void> {
  const left = await idsOf(place)
  const has = (index: number) => left.includes(String(snapshots[index]?.id))
  for (const id of left) assert.ok(snapshots.some((snapshot) => snapshot.id === id))
  for (const id of stays) assert.ok(left.includes(id), `${id} was lost`)
  // The newer form of an edited entry goes last: the older one never shows again.
  if (has(0)) assert.ok(has(6))
  // Oldest first.
  if (!has(3)) assert.ok(!has(2))
  await using repository = await reopen(openLocal(place))
  assert.equal((await readAll(repository)).size, left.length)
}
