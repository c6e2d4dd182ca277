// Saves from a server on the loopback. rsync keeps plain files: no checksums, no compression, no history.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { startSshd, type Sshd } from '../test/sshd.ts'
import { type Asked, type Bench, type Case, collect, discard, pathOnly, scaled, warm } from './case.ts'
import { type DataRequest, spaceOf } from './data.ts'
import { run, type Work } from './measure.ts'
import { checkWithRestic, openKeeper } from './programs.ts'
import type { Result } from './report.ts'
import { mostSpace, timesSpace } from './space.ts'

const pairsDefault = 3

/** The first save is of files with content, the unchanged one of as many files as the goal names. */
const requests = {
  first: ({ scale }: Pick<Asked, 'scale'>): DataRequest => ({ kind: 'home', size: scale }),
  unchanged: (asked: Pick<Asked, 'scale'>): DataRequest => ({ kind: 'tree', size: scaled(100_000, asked) }),
} as const

export const sshCase: Case = {
  title:
    'over ssh: a first save of the home against rsync -a, an unchanged tree of 100,000 files against rsync -an',
  steps: ['first', 'unchanged'],
  needs(asked) {
    const data = (['first', 'unchanged'] as const)
      .filter((step) => asked.steps.has(step))
      .map((step) => requests[step](asked))
    // A logbook and a copy of rsync's.
    const work = mostSpace(data.map((request) => timesSpace(spaceOf(request), 2.1)))
    return { data, work: timesSpace(work, asked.keep ? (asked.pairs ?? pairsDefault) : 1) }
  },
  async run(bench, steps) {
    await using sshd = await startSshd()
    const results: Result[] = []
    if (steps.has('first')) results.push(...(await saveFirst(bench, sshd)))
    if (steps.has('unchanged')) results.push(...(await saveUnchanged(bench, sshd)))
    return results
  },
}

async function saveFirst(bench: Bench, sshd: Sshd): Promise<Result[]> {
  const { pairs = pairsDefault } = bench
  const { folder } = await bench.data(requests.first(bench))
  await warm(bench, folder)
  const first = collect(bench, 'ssh-first', sshd.pid)
  for (let pair = 1; pair <= pairs; pair++) {
    const { vml, copy } = await openPair(bench, sshd, `ssh-first-${pair}`)
    await first.add('vml', pair, vml.save(folder), { folder: vml.repository, what: 'all' })
    await first.add('rsync -a', pair, rsync(bench, sshd, ['-a'], folder, copy), { folder: copy, what: 'all' })
    if (pair === pairs) await checkWithRestic(bench, vml)
    for (const used of [vml.folder, copy]) await discard(bench, used)
  }
  return first.results(['rsync -a'])
}

async function saveUnchanged(bench: Bench, sshd: Sshd): Promise<Result[]> {
  const { pairs = pairsDefault } = bench
  const { folder } = await bench.data(requests.unchanged(bench))
  await warm(bench, folder)
  const unchanged = collect(bench, 'ssh-unchanged', sshd.pid)
  const { vml, copy } = await openPair(bench, sshd, 'ssh-unchanged')
  await run(vml.save(folder), bench.signal)
  await run(rsync(bench, sshd, ['-a'], folder, copy), bench.signal)
  for (let pair = 1; pair <= pairs; pair++) {
    await unchanged.add('vml', pair, vml.save(folder))
    await unchanged.add('rsync -an', pair, rsync(bench, sshd, ['-an'], folder, copy))
  }
  await checkWithRestic(bench, vml)
  for (const used of [vml.folder, copy]) await discard(bench, used)
  return unchanged.results(['rsync -an'])
}

async function openPair(bench: Bench, sshd: Sshd, label: string) {
  const vml = await openKeeper(bench, 'vml', label, {
    name: 'lab',
    address: `ssh://${sshd.user}@127.0.0.1:${sshd.port}`,
    env: { VML_SSH_CONFIG: sshd.sshConfigFile },
  })
  const copy = join(bench.work, `${label}-rsync`)
  mkdirSync(copy)
  return { vml, copy }
}

function rsync(
  { programs, work }: Bench,
  sshd: Sshd,
  flags: readonly string[],
  folder: string,
  copy: string,
): Work {
  return {
    command: [
      programs.rsync,
      ...flags,
      '-e',
      `ssh -F ${sshd.sshConfigFile}`,
      `${sshd.user}@127.0.0.1:${folder}/`,
      `${copy}/`,
    ],
    env: pathOnly(),
    cwd: work,
  }
}
