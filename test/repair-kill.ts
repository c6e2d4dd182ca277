// Kills a repair with SIGKILL at calls of the backend; afterwards what could be read can be read, and the next repair ends it, as restic sees too.
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
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
import { checkByRestic, killAtCalls, type KillTally } from './kill-at-call.ts'
import { reopen } from './store-fixture.ts'

/** At every `stride`-th call, before and after it. */
export async function killRepairs(stride: number): Promise<KillTally> {
  const folder = mkdtempSync(join(tmpdir(), 'vml-repair-kill-'))
  try {
    const base = join(folder, 'base')
    writeOut(await makeLogbook(), base)
    const everything = await readEverything(await reopen(openLocal(base)))
    damage(base)
    const before = await readEverything(await reopen(openLocal(base)))
    return await killAtCalls({
      program: 'store-repairer.ts',
      base,
      stride,
      pointsMin: 30,
      inspect: async (place, note) => {
        assertNothingLost(before, await readEverything(await reopen(openLocal(place))), note)
        using catalog = openCatalog(':memory:')
        await repairIt({ repository: await reopen(openLocal(place)), catalog })
        const repaired = await reopen(openLocal(place))
        const after = await readEverything(repaired)
        assertNothingLost(before, after, `${note}, then repaired`)
        await assertAllAccounted(everything, repaired, after, { unknown: false, note })
        const { findings } = await repaired.check({ readData: true, reporter: silentReporter })
        assert.deepEqual(findings, [], note)
        checkByRestic(place)
      },
    })
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
