// What a short command costs: `vml log` on ten entries against a Node that does nothing.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { vmlEnvironment } from '../test/cli.ts'
import { type Bench, type Case, collect, discard } from './case.ts'
import { checkWithRestic, type Keeper, openKeeper } from './programs.ts'
import { run } from './measure.ts'
import type { PairedResult } from './report.ts'

/** The goal is in milliseconds: more pairs than elsewhere. */
const pairsDefault = 15
const entries = 10

export const startCase: Case = {
  title: 'start-up: vml log on 10 entries against bare Node',
  steps: [],
  needs: () => ({ data: [], work: { bytes: 10e6, files: 1000 } }),
  async run(bench) {
    const { pairs = pairsDefault, work } = bench
    const vml = await openKeeper(bench, 'vml', 'start')
    await addEntries(bench, vml)
    const nothing = join(work, 'nothing.js')
    writeFileSync(nothing, '')
    const bare = { command: [process.execPath, nothing], env: vmlEnvironment({ home: work }), cwd: work }
    const start = collect(bench, 'start')
    // The first start writes what later ones use: V8's compiled code, the catalogue.
    await run(vml.command('log'), bench.signal)
    for (let pair = 1; pair <= pairs; pair++) {
      await start.add('vml', pair, vml.command('log'))
      await start.add('node', pair, bare)
    }
    await checkWithRestic(bench, vml)
    await discard(bench, vml.folder)
    return start.results(['node'], ({ figures }: PairedResult) => {
      const wall = figures.find(({ what }) => what === 'wallSeconds')
      return `${(((wall?.ours ?? 0) - (wall?.peer ?? 0)) * 1000).toFixed(0)} ms more than bare Node (medians of ${pairs} pairs)`
    })
  },
}

/** Ten saves of a folder with one file that is another one each time. */
export async function addEntries(bench: Bench, vml: Keeper): Promise<void> {
  const folder = join(vml.folder, 'saved')
  mkdirSync(folder)
  for (let entry = 1; entry <= entries; entry++) {
    writeFileSync(join(folder, 'file'), `as of entry ${entry}\n`)
    await run(vml.save(folder), bench.signal)
  }
}
