// A save that is killed at any point leaves a logbook that restic finds sound, and the next save reuses what was stored.
import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openLocal } from '../../src/backend/local.ts'
import { initRepository } from '../../src/store/repository.ts'
import { silentReporter } from '../../src/base/progress.ts'
import { resticProgram } from '../restic-peer.ts'
import { cheapKey, noise, password, readAll, reopen, save } from '../store-fixture.ts'

const writer = join(import.meta.dirname, '../store-writer.ts')
const contents = [0, 1, 2, 3].map((part) => noise(700_000, `file ${part}`))
// More than a save of these files takes; the loop ends at the first one that was not killed.
const callsMax = 60

test('killed before or after any call of the backend, a save leaves a sound logbook and loses nothing it stored', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-crash-'))
  try {
    const base = join(folder, 'base')
    const first = await initRepository({ backend: openLocal(base), keys: [cheapKey] })
    const old = await save(first, [Buffer.from('saved before')])
    const tally = { kills: 0, committed: 0 }
    for (const when of ['before', 'after']) {
      // Before every second call and after the others: between two calls nothing is written.
      for (let at = when === 'before' ? 1 : 2; at <= callsMax; at += 2) {
        const place = join(folder, `${when}-${at}`)
        cpSync(base, place, { recursive: true })
        const run = spawnSync(process.execPath, [writer, place, String(at), when], { encoding: 'utf8' })
        if (run.status === 0) {
          assert.ok(at > 5)
          break
        }
        assert.equal(run.signal, 'SIGKILL', run.stderr)
        assert.ok(at < callsMax)
        tally.kills++
        // To be killed before a call is nearly to be killed after the one before it: one of the two goes to restic.
        if (when === 'before') inspectWithRestic(place)
        tally.committed += await inspect(place, old.id)
        rmSync(place, { recursive: true })
      }
    }
    context.diagnostic(`${tally.kills} kills, ${tally.committed} of them after the snapshot`)
    assert.ok(tally.kills > 10)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('two saves of the same files at once both succeed', async () => {
  const place = mkdtempSync(join(tmpdir(), 'vml-crash-'))
  try {
    await initRepository({ backend: openLocal(place), keys: [cheapKey] })
    const saving = [1, 2, 3].map(() => spawn(process.execPath, [writer, place], { stdio: 'inherit' }))
    await Promise.all(saving.map(async (child) => void (await once(child, 'exit'))))
    assert.deepEqual(
      saving.map(({ exitCode }) => exitCode),
      [0, 0, 0],
    )
    assert.match(restic(place, 'check', '--read-data'), /no errors were found/)
    const found = await readAll(await reopen(openLocal(place)))
    assert.equal(found.size, 3 * contents.length)
    for (const [path, content] of found) assertContent(path, content, 'none')
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
})

/** Returns how many snapshots the killed save left: 0 or 1. */
async function inspect(place: string, old: string): Promise<number> {
  const packs = listPacks(place)
  const repository = await reopen(openLocal(place), { packBytes: 1_000_000 })
  const before = await Array.fromAsync(repository.snapshotIds())
  assert.ok(before.some((id) => id === old))
  for (const [path, content] of await readAll(repository)) assertContent(path, content, old)

  const again = await save(repository, contents)
  const found = await readAll(await reopen(openLocal(place)))
  for (const [path, content] of found) assertContent(path, content, old)
  assert.equal([...found.keys()].filter((path) => path.startsWith(again.id)).length, contents.length)
  // What the killed save stored was used again: each file is in a pack of its own, so no pack is stored twice.
  const dataPacks = listPacks(place).filter((pack) => !packs.includes(pack))
  const sum = listPacks(place).length
  assert.ok(sum <= 2 + contents.length + 3, `${sum} packs after ${dataPacks.length} new ones`)
  const { findings } = await (
    await reopen(openLocal(place))
  ).check({ readData: true, reporter: silentReporter })
  assert.deepEqual(findings, [])
  return before.length - 1
}

function inspectWithRestic(place: string): void {
  // The lock of a dead process stops restic until it is told to look.
  restic(place, 'unlock')
  assert.match(restic(place, 'check', '--read-data'), /no errors were found/)
}

function assertContent(path: string, content: Buffer, old: string): void {
  const [snapshot, , name] = path.split('/')
  const expected = snapshot === old ? Buffer.from('saved before') : contents[Number(name)]
  assert.ok(expected?.equals(content), path)
}

function listPacks(place: string): string[] {
  return readdirSync(join(place, 'data'), { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.length > 60,
  )
}

function restic(place: string, ...args: readonly string[]): string {
  return execFileSync(resticProgram('0.19'), ['--no-cache', '-r', place, ...args], {
    encoding: 'utf8',
    env: { ...process.env, RESTIC_PASSWORD: password.toString() },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}
