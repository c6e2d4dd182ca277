// Kills a copy with SIGKILL at calls of the backend; afterwards restic finds the target sound, what it shows is whole, and the next copy ends it.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openLocal } from '../src/backend/local.ts'
import { initRepository } from '../src/store/repository.ts'
import type { Repository } from '../src/store/store.ts'
import { saveEntry } from './copy-fixture.ts'
import { checkByRestic, killAtCalls, type KillTally, runToEnd } from './kill-at-call.ts'
import { cheapKey, noise, readAll, reopen } from './store-fixture.ts'

export interface CopyKillTally extends KillTally {
  /** Entries that were whole when their copy was killed. */
  readonly whole: number
}

/** At every `stride`-th call, before and after it. */
export async function killCopies(stride: number): Promise<CopyKillTally> {
  const folder = mkdtempSync(join(tmpdir(), 'vml-copy-kill-'))
  try {
    const source = join(folder, 'source')
    const base = join(folder, 'base')
    await makeSource(source)
    await using from = await reopen(openLocal(source))
    const { polynomial } = from.chunker
    await (
      await initRepository({ backend: openLocal(base), keys: [cheapKey], polynomial })
    )[Symbol.asyncDispose]()
    const expected = await contents(from)
    const copier = { program: 'store-copier.ts', words: [source] }
    let whole = 0
    const tally = await killAtCalls({
      ...copier,
      base,
      stride,
      pointsMin: 20,
      inspect: async (place) => {
        whole += await inspect(place, expected)
        runToEnd(copier, place)
        assert.equal(await inspect(place, expected), expected.size)
      },
    })
    return { ...tally, whole }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function makeSource(place: string): Promise<void> {
  const repository = await initRepository({
    backend: openLocal(place),
    keys: [cheapKey],
    packBytes: 200_000,
  })
  const first = { 'home/a': noise(190_000, 'a'), 'home/deep/b': noise(190_000, 'b') }
  await saveEntry(repository, { number: 1, day: 1, files: first })
  await saveEntry(repository, { number: 2, day: 2, files: { ...first, 'etc/c': noise(190_000, 'c') } })
}

/** How many entries there are; each must be one of the source, to its last byte. */
async function inspect(place: string, expected: ReadonlyMap<string, unknown>): Promise<number> {
  checkByRestic(place)
  await using repository = await reopen(openLocal(place))
  const found = await contents(repository)
  for (const [original, files] of found) assert.deepEqual(files, expected.get(original))
  return found.size
}

/** Every file of every entry, by the id of the entry. */
async function contents(repository: Repository): Promise<Map<string, Map<string, string>>> {
  const found = new Map<string, Map<string, string>>()
  const all = await readAll(repository)
  for await (const { id, original } of repository.snapshots())
    found.set(
      original ?? id,
      new Map(
        [...all]
          .filter(([path]) => path.startsWith(id))
          .map(([path, bytes]) => [path.slice(64), bytes.toString('base64')]),
      ),
    )
  return found
}
