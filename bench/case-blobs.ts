// Logbooks of very many blobs: what a short command costs there, and the memory of everything that needs the index.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fillWithBlobs } from './blob-logbook.ts'
import { type Bench, type Case, collect, discard, pathOnly, scaled } from './case.ts'
import { addEntries } from './case-start.ts'
import { run, type Work } from './measure.ts'
import { checkWithRestic, type Keeper, openKeeper, password, resticOn } from './programs.ts'
import type { Result } from './report.ts'
import type { Space } from './space.ts'

const sizes = { noop: 1_000_000, memory: 5_000_000 }
const pairsDefault = 5

/** A blob has 72 bytes sealed, 37 in its pack's header and some 120 in an index and its copies; a snapshot names it with 70. */
function spaceOfBlobs(blobs: number): Space {
  return { bytes: 100e6 + blobs * 600, files: 10_000 }
}

export const noopCase: Case = {
  title: 'vml log and vml ls @latest on 1,000,000 blobs against restic on the same repository',
  steps: ['log', 'ls'],
  peers: ['restic'],
  needs: ({ scale }) => ({ data: [], work: spaceOfBlobs(scaled(sizes.noop, { scale })) }),
  async run(bench, steps) {
    const { pairs = pairsDefault } = bench
    const vml = await makeLogbook(bench, 'noop', scaled(sizes.noop, bench))
    const restic = resticOn(bench, vml)
    const works: Readonly<Record<string, readonly [Work, Work]>> = {
      log: [vml.command('log'), restic('snapshots', '--quiet')],
      ls: [vml.command('ls', '@latest'), restic('ls', '--quiet', 'latest', '/')],
    }
    const results: Result[] = []
    for (const [step, [ours, theirs]] of Object.entries(works)) {
      if (!steps.has(step)) continue
      const collected = collect(bench, `noop-${step}`)
      // The first one fills the caches of both.
      for (const work of [ours, theirs]) await run(work, bench.signal)
      for (let pair = 1; pair <= pairs; pair++) {
        await collected.add('vml', pair, ours)
        await collected.add('restic', pair, theirs)
      }
      results.push(...collected.results(['restic']))
    }
    await discard(bench, vml.folder)
    return results
  },
}

export const memoryCase: Case = {
  title:
    'peak memory on 5,000,000 blobs: a small save without and with caches, a check, against restic on the same repository',
  steps: ['cold', 'warm', 'check'],
  peers: ['restic'],
  needs: ({ scale }) => ({ data: [], work: spaceOfBlobs(scaled(sizes.memory, { scale })) }),
  async run(bench, steps) {
    const { pairs = pairsDefault } = bench
    const vml = await makeLogbook(bench, 'memory', scaled(sizes.memory, bench))
    const restic = resticOn(bench, vml)
    const folder = join(vml.folder, 'few')
    mkdirSync(folder)
    const cold = collect(bench, 'memory-cold')
    const warm = collect(bench, 'memory-warm')
    const check = collect(bench, 'memory-check')
    let file = 0
    const add = async (collected: typeof cold, pair: number, who: string, work: Work) => {
      // Something new each time: a save of nothing would not need the index.
      writeFileSync(join(folder, `file-${++file}`), `${file}\n`)
      await collected.add(who, pair, work)
    }
    for (let pair = 1; pair <= pairs; pair++) {
      const ours = vml.save(folder)
      const theirs = restic('backup', '--quiet', folder)
      if (steps.has('cold')) {
        await run(clearCaches(vml), bench.signal)
        await add(cold, pair, 'vml', ours)
        await add(cold, pair, 'restic', theirs)
      }
      if (steps.has('warm')) {
        if (!steps.has('cold') && pair === 1) for (const work of [ours, theirs]) await run(work, bench.signal)
        await add(warm, pair, 'vml', ours)
        await add(warm, pair, 'restic', theirs)
      }
      if (steps.has('check')) {
        await check.add('vml', pair, vml.command('check'))
        await check.add('restic', pair, restic('check', '--quiet'))
      }
    }
    await checkWithRestic(bench, vml)
    await discard(bench, vml.folder)
    return Object.entries({ cold, warm, check }).flatMap(([step, collected]) =>
      steps.has(step) ? collected.results(['restic']) : [],
    )
  },
}

/** What both programs keep on this computer about the repository; V8's compiled code is no matter of blobs. */
function clearCaches({ folder }: Keeper): Work {
  const script =
    'rm -rf restic-cache; find home/.cache/vml -mindepth 1 -maxdepth 1 ! -name code -exec rm -rf {} +'
  return { command: ['sh', '-c', script], env: pathOnly(), cwd: folder }
}

/** Ten entries, then all the blobs; restic says that it is whole before anything is measured on it. */
async function makeLogbook(bench: Bench, label: string, blobs: number): Promise<Keeper> {
  const vml = await openKeeper(bench, 'vml', label)
  await addEntries(bench, vml)
  await fillWithBlobs({ repository: vml.repository, password, blobs, signal: bench.signal })
  await checkWithRestic(bench, vml)
  return vml
}
