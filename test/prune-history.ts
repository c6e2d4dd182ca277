// A repository in which a prune has everything to do: packs that an earlier run marked, packs to rewrite, packs that nothing needs, some without index.
import type { Backend } from '../src/backend/backend.ts'
import { silentReporter } from '../src/base/progress.ts'
import type { PruneMarks } from '../src/store/prune-marks.ts'
import { pruneRuleDefault } from '../src/store/prune-plan.ts'
import type { Repository } from '../src/store/store.ts'
import { cheapKey, noise, reopen, save } from './store-fixture.ts'
import { initRepository } from '../src/store/repository.ts'

export const packBytes = 200_000

const partOf = (at: number) => noise(40_000 + at * 1000, `part ${at}`)
const parts = (...numbers: readonly number[]) => numbers.map(partOf)

export async function makePruneHistory(backend: Backend, marks: PruneMarks): Promise<void> {
  const repository = await initRepository({ backend, keys: [cheapKey], packBytes })
  const first = await save(repository, parts(0, 1, 2, 3, 4, 5, 6, 7))
  await save(repository, parts(1, 3, 5, 7, 8))
  const third = await save(repository, parts(9, 10, 11, 12, 13, 14))
  await save(repository, parts(0, 9, 15))
  await forget(repository, first.id)
  await pruneOnce(repository, { marks, now: false })
  await forget(repository, third.id)
  // A killed save: its packs have no index.
  const before = await namesOf(backend, 'index')
  const cut = await save(repository, parts(16, 17))
  await forget(repository, cut.id)
  for (const name of await namesOf(backend, 'index'))
    if (!before.includes(name)) await backend.remove({ kind: 'index', name })
}

export async function pruneOnce(
  repository: Repository,
  { marks, now }: { readonly marks: PruneMarks; readonly now: boolean },
): Promise<void> {
  const rule = { ...pruneRuleDefault, maxUnused: { share: 0 } }
  await using run = await repository.beginPrune({ rule, marks, now, reporter: silentReporter })
  await run.mark()
  if (!(await run.remove())) throw new Error('Another program changed the index')
}

export async function openForPrune(backend: Backend): Promise<Repository> {
  return await reopen(backend, { packBytes })
}

async function forget(
  repository: Repository,
  id: Parameters<Repository['removeSnapshot']>[0],
): Promise<void> {
  await using _lock = await repository.lock('exclusive')
  await repository.removeSnapshot(id)
}

async function namesOf(backend: Backend, kind: 'index' | 'lock'): Promise<string[]> {
  return (await Array.fromAsync(backend.list(kind))).map(({ name }) => name)
}
