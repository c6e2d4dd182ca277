// Kills a copy with SIGKILL at calls of the backend; afterwards restic finds the target sound, what it shows is whole, and the next copy ends it.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openLocal } from '../src/backend/local.ts'
import { initRepository } from '../src/store/repository.ts'
import type { Repository } from '../src/store/store.ts'
import { saveEntry } from './copy-fixture.ts'
import { resticProgram } from './restic-peer.ts'
import { cheapKey, noise, password, readAll, reopen } from './store-fixture.ts'

const worker = join(import.meta.dirname, 'store-copier.ts')

export interface KillTally {
  /** Calls of the target's backend in one copy. */
  readonly points: number
  readonly kills: number
  /** Entries that were whole when their copy was killed. */
  readonly whole: number
}

/** At every `stride`-th call, before and after it. */
export async function killCopies(stride: number): Promise<KillTally> {
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
    const tally = { points: 0, kills: 0, whole: 0 }
    for (const when of ['before', 'after']) {
      const points = Number(run(folder, { base, source, at: 0, when }).stdout)
      assert.ok(points > 20)
      tally.points += points
      // Another remainder the second time, so that a stride meets different calls.
      for (let at = when === 'before' ? 1 : 1 + (2 % stride); at <= points; at += stride) {
        const { signal, stderr, place } = run(folder, { base, source, at, when })
        assert.equal(signal, 'SIGKILL', stderr)
        tally.kills++
        tally.whole += await inspect(place, expected)
        const again = spawnSync(process.execPath, [worker, place, '0', when, source], {
          encoding: 'utf8',
        })
        assert.equal(again.status, 0, again.stderr)
        assert.equal(await inspect(place, expected), expected.size)
      }
    }
    return tally
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

function run(
  folder: string,
  { base, source, at, when }: { base: string; source: string; at: number; when: string },
) {
  const place = join(folder, 'target')
  rmSync(place, { recursive: true, force: true })
  cpSync(base, place, { recursive: true })
  const child = spawnSync(process.execPath, [worker, place, String(at), when, source], {
    encoding: 'utf8',
  })
  return { ...child, place }
}

/** How many entries there are; each must be one of the source, to its last byte. */
async function inspect(place: string, expected: ReadonlyMap<string, unknown>): Promise<number> {
  // The lock of a dead process stops restic until it is told to look.
  restic(place, 'unlock')
  assert.match(restic(place, 'check', '--read-data'), /no errors were found/)
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

function restic(place: string, ...args: readonly string[]): string {
  return execFileSync(resticProgram('0.19'), ['--no-cache', '-r', place, ...args], {
    encoding: 'utf8',
    env: { ...process.env, RESTIC_PASSWORD: password.toString() },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}
