// Kills a repair with SIGKILL at calls of the backend; afterwards what could be read can be read, and the next repair ends it, as restic sees too.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openLocal } from '../src/backend/local.ts'
import { openCatalog } from '../src/catalog/catalog.ts'
import { silentReporter } from '../src/base/progress.ts'
import {
  assertAllAccounted,
  assertNothingLost,
  makeLogbook,
  readEverything,
  repairIt,
  writeOut,
} from './damage.ts'
import { resticProgram } from './restic-peer.ts'
import { password, reopen } from './store-fixture.ts'

const repairer = join(import.meta.dirname, 'store-repairer.ts')

export interface KillTally {
  /** Calls of the backend in one repair, before and after each. */
  readonly points: number
  readonly kills: number
}

/** At every `stride`-th call, before and after it. */
export async function killRepairs(stride: number): Promise<KillTally> {
  const folder = mkdtempSync(join(tmpdir(), 'vml-repair-kill-'))
  try {
    const base = join(folder, 'base')
    writeOut(await makeLogbook(), base)
    const everything = await readEverything(await reopen(openLocal(base)))
    damage(base)
    const before = await readEverything(await reopen(openLocal(base)))
    const tally = { points: 0, kills: 0 }
    let offset = 0
    for (const when of ['before', 'after']) {
      const points = Number(run(folder, { base, at: 0, when }).stdout)
      assert.ok(points > 30)
      tally.points += points
      for (let at = 1 + (offset++ % stride); at <= points; at += stride) {
        const { signal, stderr, place } = run(folder, { base, at, when })
        assert.equal(signal, 'SIGKILL', stderr)
        tally.kills++
        const note = `killed ${when} call ${at}`
        assertNothingLost(before, await readEverything(await reopen(openLocal(place))), note)
        using catalog = openCatalog(':memory:')
        await repairIt({ repository: await reopen(openLocal(place)), catalog })
        const repaired = await reopen(openLocal(place))
        const after = await readEverything(repaired)
        assertNothingLost(before, after, `${note}, then repaired`)
        await assertAllAccounted(everything, repaired, after, { unknown: false, note })
        const { findings } = await repaired.check({ readData: true, reporter: silentReporter })
        assert.deepEqual(findings, [], note)
        assert.match(checkByRestic(place), /no errors were found/, note)
      }
    }
    return tally
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** In the largest pack and in a small one; the index stays, so that what can be read is known. */
function damage(place: string): void {
  const packs = readdirSync(join(place, 'data'), { recursive: true, encoding: 'utf8' })
    .map((name) => join(place, 'data', name))
    .filter((path) => statSync(path).isFile())
    .sort((left, right) => statSync(right).size - statSync(left).size)
  const [largest = '', ...others] = packs
  flip(largest, 50_000)
  flip(others.at(-1) ?? '', 40)
}

function flip(path: string, at: number): void {
  const data = readFileSync(path)
  data[at] = (data[at] ?? 0) ^ 1
  writeFileSync(path, data)
}

function run(folder: string, { base, at, when }: { base: string; at: number; when: string }) {
  const place = join(folder, 'logbook')
  rmSync(place, { recursive: true, force: true })
  cpSync(base, place, { recursive: true })
  const child = spawnSync(process.execPath, [repairer, place, String(at), when], { encoding: 'utf8' })
  return { ...child, place }
}

function checkByRestic(place: string): string {
  const { stdout, stderr } = spawnSync(
    resticProgram('0.19'),
    ['--no-cache', '-r', place, 'check', '--read-data'],
    { encoding: 'utf8', env: { ...process.env, RESTIC_PASSWORD: password.toString() } },
  )
  return stdout + stderr
}
