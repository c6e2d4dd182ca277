// A save that is killed at any point leaves a logbook that restic finds sound, and the next save reuses what was stored.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openLocal } from '../../src/backend/local.ts'
import { initRepository } from '../../src/store/repository.ts'
import { silentReporter } from '../../src/base/progress.ts'
import { checkByRestic, killAtCalls } from '../kill-at-call.ts'
import { cheapKey, noise, readAll, reopen, save } from '../store-fixture.ts'

const writer = join(import.meta.dirname, '../store-writer.ts')
const contents = [0, 1, 2, 3].map((part) => noise(700_000, `file ${part}`))

test('killed before or after any call of the backend, a save leaves a sound logbook and loses nothing it stored', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-crash-'))
  try {
    const base = join(folder, 'base')
    const first = await initRepository({ backend: openLocal(base), keys: [cheapKey] })
    const old = await save(first, [Buffer.from('saved before')])
    let committed = 0
    const { kills } = await killAtCalls({
      program: 'store-writer.ts',
      base,
      // Before every second call and after the others: between two calls nothing is written.
      stride: 2,
      pointsMin: 10,
      inspect: async (place, note) => {
        // To be killed before a call is nearly to be killed after the one before it: one of the two goes to restic.
        if (note.includes('before')) checkByRestic(place)
        committed += await inspect(place, old.id)
      },
    })
    context.diagnostic(`${kills} kills, ${committed} of them after the snapshot`)
    assert.ok(kills > 10)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('two saves of the same files at once both succeed', async () => {
  const place = mkdtempSync(join(tmpdir(), 'vml-crash-'))
  try {
    await initRepository({ backend: openLocal(place), keys: [cheapKey] })
    const saving = [1, 2, 3].map(() =>
      spawn(process.execPath, [writer, place], { stdio: ['ignore', 'ignore', 'inherit'] }),
    )
    await Promise.all(saving.map(async (child) => void (await once(child, 'exit'))))
    assert.deepEqual(
      saving.map(({ exitCode }) => exitCode),
      [0, 0, 0],
    )
    checkByRestic(place)
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
