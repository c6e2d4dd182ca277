// How much room entries take, against what the packs say and what stock restic counts.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openLocal } from '../backend/local.ts'
import type { Snapshot } from '../model/entry.ts'
import { resticProgram } from '../../test/restic-peer.ts'
import { cheapKey, makeRepository, noise, password, save } from '../../test/store-fixture.ts'
import { growthOf } from './entry-sizes.ts'
import { initRepository } from './repository.ts'
import type { Repository } from './store.ts'

/** Contents that later snapshots share with earlier ones in part. */
async function saveSome(repository: Repository): Promise<readonly Snapshot[]> {
  const files = Array.from({ length: 6 }, (_, number) => noise(20_000 + number, String(number)))
  const snapshots: Snapshot[] = []
  for (const [from, to] of [
    [0, 2],
    [1, 4],
    [0, 2],
    [2, 6],
  ])
    snapshots.push(await save(repository, files.slice(from, to)))
  return snapshots
}

const sizesOf = async (repository: Repository, snapshots: readonly Snapshot[]) =>
  await Array.fromAsync(
    growthOf(
      repository,
      snapshots.map(({ tree }) => tree),
    ),
  )

test('what entries take together is what restic counts, in whatever order they are asked for', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'vml-sizes-'))
  try {
    await using repository = await initRepository({ backend: openLocal(folder), keys: [cheapKey] })
    const snapshots = await saveSome(repository)
    const countedByRestic = (ids: readonly string[]) => {
      const output = execFileSync(
        resticProgram('0.19'),
        ['-r', folder, '--no-cache', '--json', 'stats', '--mode', 'raw-data', ...ids],
        { env: { ...process.env, RESTIC_PASSWORD: password.toString() }, stdio: ['ignore', 'pipe', 'pipe'] },
      )
      const { total_size: bytes } = JSON.parse(output.toString()) as { total_size: number }
      return bytes
    }
    for (const order of [snapshots, snapshots.slice(1, 3).toReversed()]) {
      const grown = await sizesOf(repository, order)
      for (const [index] of order.entries()) {
        const sum = grown.slice(0, index + 1).reduce((left, right) => left + right, 0)
        assert.equal(sum, countedByRestic(order.slice(0, index + 1).map(({ id }) => id)))
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('an entry that was there before adds nothing', async () => {
  const { repository } = await makeRepository()
  await using _closing = repository
  const snapshots = await saveSome(repository)
  const [, , third] = await sizesOf(repository, snapshots)
  assert.equal(third, 0)
})
