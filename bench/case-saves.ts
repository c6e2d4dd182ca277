// Saves and restores of a folder of this host: first, with nothing changed, with one file in a hundred changed, and back.
import { join } from 'node:path'
import {
  type Asked,
  type Bench,
  type Case,
  type CaseNeeds,
  collect,
  compareBytes,
  discard,
  outliveDeletions,
  pathOnly,
  scaled,
  warm,
} from './case.ts'
import { changeFiles } from './change.ts'
import { type DataRequest, spaceOf } from './data.ts'
import { run } from './measure.ts'
import { checkWithRestic, type Keeper, openKeeper } from './programs.ts'
import { type Result } from './report.ts'
import { addSpace, noSpace, timesSpace } from './space.ts'

type Step = 'first' | 'unchanged' | 'changed' | 'restore'

export const saveCases: Readonly<Record<string, Case>> = {
  small: defineSaves(
    '75,000 files of a home, 2.5 GB',
    ['first', 'unchanged', 'changed', 'restore'],
    (asked) => ({
      kind: 'home',
      size: asked.scale,
    }),
  ),
  big: defineSaves(
    'files of 100 to 500 MB, 5 GB: noise, text, tables, holes',
    ['first', 'unchanged', 'restore'],
    (asked) => ({
      kind: 'big',
      size: asked.scale,
    }),
  ),
  million: defineSaves('a tree of 1,000,000 empty and tiny files', ['first', 'unchanged'], (asked) => ({
    kind: 'tree',
    size: scaled(1_000_000, asked),
  })),
}

const pairsDefault = 3

function defineSaves(
  title: string,
  steps: readonly Step[],
  requestOf: (asked: Pick<Asked, 'scale'>) => DataRequest,
): Case {
  return {
    title,
    steps,
    peers: ['restic', 'borg'],
    needs: (asked) => ({ data: [requestOf(asked)], work: spaceNeeded(requestOf(asked), asked) }),
    run: async (bench, asked) => await saveAndRestore(bench, requestOf(bench), asked),
  }
}

function spaceNeeded(
  request: DataRequest,
  { steps, peers, pairs = pairsDefault, keep }: Asked,
): CaseNeeds['work'] {
  const copy = spaceOf(request)
  const programs = 1 + peers.length
  // A repository has few files, and caches beside it are a small part of it; borg's segments come on top of both.
  const repositories = { bytes: copy.bytes * 1.1 * programs, files: 2000 * programs }
  const restored = steps.has('restore') ? timesSpace(copy, keep ? programs : 1) : noSpace
  const perPair = addSpace(repositories, restored)
  return addSpace(timesSpace(perPair, keep ? pairs : 1), steps.has('changed') ? copy : noSpace)
}

/** Repositories are made anew for each pair where the first save is measured, else once. */
async function saveAndRestore(
  bench: Bench,
  request: DataRequest,
  steps: ReadonlySet<string>,
): Promise<Result[]> {
  const { pairs = pairsDefault, work, peers } = bench
  const name = request.kind === 'home' ? 'small' : request.kind === 'big' ? 'big' : 'million'
  const data = await bench.data(request)
  let { folder } = data
  if (steps.has('changed')) {
    // The data itself stays as it was made.
    folder = join(work, `${name}-changing`)
    const copy = ['cp', '-a', '--reflink=auto', data.folder, folder]
    await run({ command: copy, env: pathOnly(), cwd: work }, bench.signal)
  }
  await warm(bench, folder)
  const first = collect(bench, `${name}-first`)
  const unchanged = collect(bench, `${name}-unchanged`)
  const changed = collect(bench, `${name}-changed`)
  const restore = collect(bench, `${name}-restore`)
  let keepers: Keeper[] = []
  let deletedAtMs = -Infinity
  for (let pair = 1; pair <= pairs; pair++) {
    if (pair === 1 || steps.has('first')) {
      for (const { folder: old } of keepers) await discard(bench, old)
      if (keepers.length > 0 && !bench.keep) deletedAtMs = performance.now()
      keepers = []
      for (const who of ['vml', ...peers] as const)
        keepers.push(await openKeeper(bench, who, `${name}-${pair}`))
      for (const keeper of keepers) {
        if (!steps.has('first')) await run(keeper.save(folder), bench.signal)
        else
          await first.add(keeper.name, pair, keeper.save(folder), { folder: keeper.repository, what: 'all' })
      }
    }
    if (steps.has('unchanged')) await addSaves(unchanged, pair, keepers, folder)
    if (steps.has('changed')) {
      changeFiles(folder, pair)
      await addSaves(changed, pair, keepers, folder)
    }
    if (steps.has('restore')) {
      for (const keeper of keepers) {
        const target = join(work, `${name}-restored-${pair}-${keeper.name}`)
        const back = keeper.restore(folder, target)
        await outliveDeletions(bench, deletedAtMs)
        await restore.add(keeper.name, pair, back.work)
        await compareBytes(bench, folder, back.restored)
        await discard(bench, target)
        if (!bench.keep) deletedAtMs = performance.now()
      }
    }
  }
  const [ours] = keepers
  if (ours) await checkWithRestic(bench, ours)
  for (const { folder: old } of keepers) await discard(bench, old)
  if (folder !== data.folder) await discard(bench, folder)
  return Object.entries({ first, unchanged, changed, restore }).flatMap(([step, collected]) =>
    steps.has(step) ? collected.results(peers) : [],
  )
}

async function addSaves(
  collected: ReturnType<typeof collect>,
  pair: number,
  keepers: readonly Keeper[],
  folder: string,
): Promise<void> {
  for (const keeper of keepers)
    await collected.add(keeper.name, pair, keeper.save(folder), { folder: keeper.repository, what: 'added' })
}
